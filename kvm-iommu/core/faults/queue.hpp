// SPDX-License-Identifier: GPL-2.0-only
//
// The faults of a domain that wait to be read: a ring of whole records, as the
// reader gets them, bounded, in the order in which they came.
//
// Who meets a fault may be in an interrupt: nothing here sleeps or allocates
// while the reader's lock is held, and a report looks at kRecords records at
// most. A fault like one in the ring is counted in that record; one that finds
// no place is lost, and counted in the next record that is read: there is one,
// for the ring is full then and a reader takes at most half of it at a time.
//
// The queue outlives the domain, for its reader may.
#pragma once

#include <utility>

#include "base/types.hpp"
#include "port.h"

namespace kiommu {

// Of kiommu_fault::reason and ::flags: enum kvm_iommu_fault_reason and so on.
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

  // What an anchor says of accesses that a host blocked.
  struct Anchor {
    uint32_t format;
    IovaRange window;
  };

  explicit FaultQueue(kiommu_fault_reader* reader) : reader_(reader) {}
  ~FaultQueue() { close(); }
  FaultQueue(const FaultQueue&) = delete;
  FaultQueue& operator=(const FaultQueue&) = delete;

  // The reader's. peek() and drop() take turns.
  Result<void> open();
  void close();
  bool readable() const;
  uint32_t peek(kiommu_fault* records, uint32_t max);
  void drop(uint32_t count);

  // Anybody's: whether somebody reads.
  bool report(const kiommu_fault& fault);
  bool report_dma(const kiommu_fault& fault);
  // Faults that nobody looks at one by one.
  void count_lost(uint64_t count);

  // The domain's.
  void set_anchor(const std::optional<Anchor>& anchor);

 private:
  class Lock;

  kiommu_fault& at(uint32_t i) { return ring_[(first_ + i) % kRecords]; }
  // ScopedLock: whether there is a new record.
  bool enter(const kiommu_fault& fault);
  // Tells the reader, who may run at once: not locked.
  bool tell(bool is_open, bool is_new);

  kiommu_fault_reader* reader_;   // and its lock, of all below
  kiommu_fault* ring_ = nullptr;  // set: somebody reads
  uint32_t first_ = 0;
  uint32_t count_ = 0;
  uint32_t peeked_ = 0;  // the oldest, which the reader has seen: as they are
  uint64_t sequence_ = 0;
  uint64_t lost_ = 0;
  uint64_t lost_told_ = 0;  // of these, what the reader has seen
  std::optional<Anchor> anchor_;
};

}  // namespace kiommu
