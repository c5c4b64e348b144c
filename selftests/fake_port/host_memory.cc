// SPDX-License-Identifier: GPL-2.0-only
//
// See host_memory.hpp.
#include "host_memory.hpp"

#include <cstring>

#include "port.h"
#include "violation.hpp"

namespace kiommu::port {

std::uint64_t HostMemory::take_frames(std::uint64_t count) {
  const std::lock_guard locked(mutex_);
  const std::uint64_t gib = (std::uint64_t{1} << 30) / kPageBytes;
  const std::uint64_t first = next_pfn_;
  next_pfn_ += ((count + gib) & ~(gib - 1)) + gib;
  return first;
}

std::byte* HostMemory::bytes(std::uint64_t pfn) {
  const std::lock_guard locked(mutex_);
  auto& page = pages_[pfn];
  if (!page) page = std::make_unique<Page>();
  return page->data();
}

void HostMemory::read(std::uint64_t pfn, std::uint64_t offset, void* to,
                      std::uint64_t size) {
  const std::lock_guard locked(mutex_);
  std::memcpy(to, bytes(pfn) + offset, size);
}

void HostMemory::write(std::uint64_t pfn, std::uint64_t offset,
                       const void* from, std::uint64_t size) {
  const std::lock_guard locked(mutex_);
  std::memcpy(bytes(pfn) + offset, from, size);
}

void HostMemory::pin(std::uint64_t pfn, bool writable) {
  const std::lock_guard locked(mutex_);
  Frame& frame = frames_[pfn];
  ++frame.pins;
  ++pins_;
  if (writable) frame.writable = true;
}

void HostMemory::unpin(std::uint64_t pfn, std::uint64_t count, bool dirty) {
  const std::lock_guard locked(mutex_);
  for (std::uint64_t i = 0; i < count; ++i) unpin_one(pfn + i, dirty);
}

void HostMemory::unpin_one(std::uint64_t pfn, bool dirty) {
  const auto found = frames_.find(pfn);
  if (found == frames_.end()) {
    violation("unpin of pfn ", pfn, ", which is not pinned");
    return;
  }
  Frame& frame = found->second;
  --pins_;
  frame.told_dirty |= dirty;
  if (dirty && !frame.writable) {
    violation("unpin of pfn ", pfn, " as dirty, it was pinned for reading");
  }
  if (--frame.pins > 0) return;
  if (frame.reach > 0) {
    violation("unpin of pfn ", pfn, ", which a device can still reach");
    return;
  }
  if (frame.was_writable && !frame.told_dirty) {
    violation("unpin of pfn ", pfn, " as clean, a device could write to it");
  }
  frames_.erase(found);
  as_one_.erase(pfn);
}

void HostMemory::add_reach(std::uint64_t pfn, std::uint64_t count,
                           unsigned rights) {
  const std::lock_guard locked(mutex_);
  for (std::uint64_t end = pfn + count; pfn < end; ++pfn) {
    const auto frame = frames_.find(pfn);
    if (frame == frames_.end()) {
      violation("pfn ", pfn, " is mapped for a device but not pinned");
      continue;
    }
    if ((rights & KIOMMU_WRITE) != 0) {
      if (!frame->second.writable) {
        violation("pfn ", pfn, " is mapped for writing, pinned for reading");
      }
      frame->second.was_writable = true;
    }
    ++frame->second.reach;
  }
}

void HostMemory::drop_reach(std::uint64_t pfn, std::uint64_t count) {
  const std::lock_guard locked(mutex_);
  for (std::uint64_t end = pfn + count; pfn < end; ++pfn) {
    const auto frame = frames_.find(pfn);
    if (frame != frames_.end()) --frame->second.reach;
  }
}

bool HostMemory::is_pinned(std::uint64_t pfn) const {
  const std::lock_guard locked(mutex_);
  return frames_.contains(pfn);
}

std::uint64_t HostMemory::pins() const {
  const std::lock_guard locked(mutex_);
  return pins_;
}

std::uint64_t HostMemory::pinned() const {
  const std::lock_guard locked(mutex_);
  return frames_.size();
}

void HostMemory::pinned_as_one(std::uint64_t pfn) {
  const std::lock_guard locked(mutex_);
  as_one_.insert(pfn);
}

std::set<std::uint64_t> HostMemory::kept_as_one() const {
  const std::lock_guard locked(mutex_);
  return as_one_;
}

}  // namespace kiommu::port
