// SPDX-License-Identifier: GPL-2.0-only
//
// The faults of a domain that wait to be read: a bounded ring of complete
// records, in the order of arrival.
//
// Faults are reported in interrupts, too: nothing here sleeps or allocates
// while the reader's lock is held, and a report looks at no more than kRecords
// records. A fault like one in the ring is counted in that record. A fault that
// does not fit is lost, and is counted in the next record that is read. There
// is one, for the ring is full then, and a read takes at most half of it.
//
// The queue outlives the domain, because its reader may.
#pragma once

#include <utility>

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

// Values of kiommu_fault::reason (enum kvm_iommu_fault_reason), bits of
// ::flags.
enum class FaultReason : uint32_t {
  kDma = 1,
  kEntry = 2,
  kRange = 3,
  kState = 4,
  kResources = 5,
  kHost = 6,
  kRing = 7,
  kSync = 8,
  kLost = 9,
};

struct FaultFlags {
  static constexpr uint32_t kHasIova = 1 << 0;
  static constexpr uint32_t kHasGpa = 1 << 1;
  static constexpr uint32_t kHasFormat = 1 << 2;
  static constexpr uint32_t kPci = 1 << 3;
  static constexpr uint32_t kZpci = 1 << 4;
};

class FaultQueue {
 public:
  static constexpr uint32_t kRecords = 128;

  // What is needed of the anchor to describe an access that a host blocked.
  struct Anchor {
    uint32_t format;
    IovaRange window;
  };

  explicit FaultQueue(kiommu_fault_reader* reader) : reader_(reader) {}
  ~FaultQueue() { close(); }
  FaultQueue(const FaultQueue&) = delete;
  FaultQueue& operator=(const FaultQueue&) = delete;

  // Called by the reader. Between peek() and drop(), nobody else may call
  // either of them.
  Result<void> open();
  void close();
  bool readable() const;
  uint32_t peek(kiommu_fault* records, uint32_t max);
  void drop(uint32_t count);

  // Called in any context but NMI. Returns whether the queue is open.
  bool report(const kiommu_fault& fault);
  bool report_dma(const kiommu_fault& fault);
  // Counts faults as lost that are not reported one by one.
  void count_lost(uint64_t count);

  // Called by the domain when its anchor changes.
  void set_anchor(const std::optional<Anchor>& anchor);

 private:
  class Lock;

  kiommu_fault& at(uint32_t i) { return ring_[(first_ + i) % kRecords]; }
  // The caller holds the reader's lock. Returns whether there is a new record.
  bool enter(const kiommu_fault& fault);
  // Wakes the reader, which may run at once: called without the reader's lock.
  bool tell(bool is_open, bool is_new);

  kiommu_fault_reader* reader_;   // its lock protects all below
  kiommu_fault* ring_ = nullptr;  // set: the queue is open
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  uint32_t peeked_ = 0;  // oldest ones, seen by the reader: do not change
  uint64_t sequence_ = 0;
  uint64_t lost_ = 0;
  uint64_t lost_told_ = 0;  // of these, those that the reader has seen
  std::optional<Anchor> anchor_;
};

}  // namespace kiommu
