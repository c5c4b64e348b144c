// SPDX-License-Identifier: GPL-2.0-only
//
// See host_memory.hpp.
#include "host_memory.hpp"

#include "../../kvm-iommu/include/port.h"
#include "violation.hpp"

namespace kiommu::port {

std::byte* HostMemory::bytes(std::uint64_t pfn) {
  auto& page = pages_[pfn];
  if (!page) page = std::make_unique<Page>();
  return page->data();
}

void HostMemory::pin(std::uint64_t pfn, bool writable) {
  Frame& frame = frames_[pfn];
  ++frame.pins;
  ++pins_;
  if (writable) frame.writable = true;
}

void HostMemory::unpin(std::uint64_t pfn, bool dirty) {
  const auto frame = frames_.find(pfn);
  if (frame == frames_.end()) {
    violation("unpin of pfn ", pfn, ", which is not pinned");
    return;
  }
  --pins_;
  if (--frame->second.pins > 0) return;
  if (frame->second.reach > 0) {
    violation("unpin of pfn ", pfn, ", which a device can still reach");
    return;
  }
  if (frame->second.was_writable && !dirty) {
    violation("unpin of pfn ", pfn, " as clean, a device could write to it");
  }
  if (!frame->second.writable && dirty) {
    violation("unpin of pfn ", pfn, " as dirty, it was pinned for reading");
  }
  frames_.erase(frame);
}

void HostMemory::add_reach(std::uint64_t pfn, unsigned rights) {
  const auto frame = frames_.find(pfn);
  if (frame == frames_.end()) {
    violation("pfn ", pfn, " is mapped for a device but not pinned");
    return;
  }
  if ((rights & KIOMMU_WRITE) != 0) {
    if (!frame->second.writable) {
      violation("pfn ", pfn, " is mapped for writing, pinned for reading");
    }
    frame->second.was_writable = true;
  }
  ++frame->second.reach;
}

void HostMemory::drop_reach(std::uint64_t pfn) {
  const auto frame = frames_.find(pfn);
  if (frame != frames_.end()) --frame->second.reach;
}

}  // namespace kiommu::port
