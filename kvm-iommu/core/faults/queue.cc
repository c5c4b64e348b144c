// SPDX-License-Identifier: GPL-2.0-only
//
// The queue of faults, see queue.hpp.
#include "faults/queue.hpp"

#include "faults/codes.hpp"

namespace kiommu {
namespace {

// Whether two faults differ at most in the offset in the page, in the count,
// and in what the queue sets itself.
bool alike(const kiommu_fault& a, const kiommu_fault& b) {
  return ((a.iova ^ b.iova) & kPageMask) == 0 && a.gpa == b.gpa &&
         a.reason == b.reason && a.flags == b.flags && a.code == b.code &&
         a.status == b.status && a.format == b.format && a.access == b.access &&
         a.level == b.level && a.device == b.device && a.length == b.length;
}

}  // namespace

class FaultQueue::Lock {
 public:
  explicit Lock(const FaultQueue& queue) : reader_(queue.reader_) {
    kiommu_port_faults_lock(reader_);
  }
  ~Lock() { kiommu_port_faults_unlock(reader_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  kiommu_fault_reader* reader_;
};

Result<void> FaultQueue::open() {
  void* memory = kiommu_port_alloc_array(kRecords * sizeof(kiommu_fault));
  if (memory == nullptr) return fail(Status::kNoMemory);
  {
    const Lock lock(*this);
    if (ring_ == nullptr) {
      ring_ = static_cast<kiommu_fault*>(memory);
      first_ = count_ = peeked_ = 0;
      sequence_ = lost_ = lost_told_ = 0;
      return {};
    }
  }
  kiommu_port_free_array(memory);
  return fail(Status::kReaderBusy);
}

void FaultQueue::close() {
  kiommu_fault* ring = nullptr;
  {
    const Lock lock(*this);
    std::swap(ring, ring_);
    count_ = 0;
  }
  if (ring != nullptr) kiommu_port_free_array(ring);
}

bool FaultQueue::readable() const {
  const Lock lock(*this);
  return count_ > 0;
}

uint32_t FaultQueue::peek(kiommu_fault* records, uint32_t max) {
  const Lock lock(*this);
  if (max > kRecords / 2) max = kRecords / 2;
  peeked_ = count_ < max ? count_ : max;
  for (uint32_t i = 0; i < peeked_; ++i) records[i] = at(i);
  if (peeked_ > 0) records[0].lost = lost_told_ = lost_;
  return peeked_;
}

void FaultQueue::drop(uint32_t count) {
  const Lock lock(*this);
  if (count > peeked_) count = peeked_;
  peeked_ = 0;
  if (count == 0) return;
  first_ = (first_ + count) % kRecords;
  count_ -= count;
  lost_ -= lost_told_;
  lost_told_ = 0;
}

bool FaultQueue::enter(const kiommu_fault& fault) {
  for (uint32_t i = count_; i > peeked_; --i) {
    kiommu_fault& queued = at(i - 1);
    if (alike(queued, fault)) {
      ++queued.count;
      return false;
    }
  }
  const uint64_t sequence = sequence_++;
  if (count_ == kRecords) {
    ++lost_;
    return false;
  }
  kiommu_fault& queued = at(count_++);
  queued = fault;
  queued.sequence = sequence;
  queued.count = 1;
  queued.lost = 0;
  // No source of faults knows these yet; no flag says that they are valid.
  queued.pasid = queued.group = 0;
  queued.cookie = 0;
  return true;
}

bool FaultQueue::tell(bool is_open, bool is_new) {
  if (is_new) kiommu_port_faults_ready(reader_);
  return is_open;
}

bool FaultQueue::report(const kiommu_fault& fault) {
  bool is_open, is_new;
  {
    const Lock lock(*this);
    is_open = ring_ != nullptr;
    is_new = is_open && enter(fault);
  }
  return tell(is_open, is_new);
}

bool FaultQueue::report_dma(const kiommu_fault& dma) {
  kiommu_fault fault{};
  fault.reason = static_cast<uint32_t>(FaultReason::kDma);
  fault.flags = dma.flags;
  fault.iova = dma.iova;
  fault.access = dma.access;
  fault.device = dma.device;
  bool is_open, is_new;
  {
    const Lock lock(*this);
    if (anchor_) {
      const bool inside = anchor_->window.contains({{dma.iova}, {dma.iova}});
      fault.flags |= FaultFlags::kHasFormat;
      fault.format = anchor_->format;
      fault.code = fault_code(anchor_->format,
                              inside ? Status::kNotMapped : Status::kOutOfRange,
                              {dma.access});
    }
    is_open = ring_ != nullptr;
    is_new = is_open && enter(fault);
  }
  return tell(is_open, is_new);
}

void FaultQueue::count_lost(uint64_t count) {
  const Lock lock(*this);
  if (ring_ == nullptr) return;
  sequence_ += count;
  lost_ += count;
}

void FaultQueue::set_anchor(const std::optional<Anchor>& anchor) {
  const Lock lock(*this);
  anchor_ = anchor;
}

}  // namespace kiommu
