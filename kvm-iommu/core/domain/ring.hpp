// SPDX-License-Identifier: GPL-2.0-only
//
// The ring of a guest, as linux/kvm_iommu_ring.h describes it: the guest puts
// in which IOVAs it has changed, and is told what came of each.
//
// All that lies in the ring is the guest's, and may change at any moment: a
// word is read once, and only the copy is looked at. What the host wrote, it
// never reads. An index of the guest's is taken for a number of entries, up to
// as many as there are, or for a broken ring; it is never an address.
//
// A call does a batch: entries that are there together, up to a bound of
// entries and of pages. Their ranges, sorted and merged, are one operation with
// one flush. If anything fails in it, each entry is done by itself, so that
// it gets its own status. An entry with more pages than a batch may have is
// done alone, a refresh's budget at a time.
#pragma once

#include "domain/domain.hpp"

namespace kiommu {

class Ring {
 public:
  // Entries of 32 bytes: a page of them at most.
  static constexpr unsigned kBatch = 128;
  static constexpr uint64_t kBatchPages = 1u << 15;

  static Result<void> check(Gpa gpa, uint32_t entries);

  Ring(Gpa gpa, uint32_t entries) : gpa_(gpa), size_(entries) {}
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // See core.h. The domain is started, with the same guest each time.
  Result<void> begin(Domain& domain);
  kiommu_u32 consume(Domain& domain, kiommu_ring_large large);
  kiommu_u32 drain(Domain& domain, kiommu_ring_drain& until);

 private:
  using Change = Domain::Change;

  // As it is in memory, little-endian.
  struct Entry {
    kiommu_u64 iova;
    kiommu_u64 length;
    kiommu_u64 flags_status;
    kiommu_u64 stopped_iova;
  };
  struct Indices {
    uint32_t avail;
    uint32_t notify;
  };
  // What came of an entry.
  struct Outcome {
    Result<void> done;
    uint64_t stopped_iova;
    Blame blame{};
  };

  static constexpr unsigned kEntryWords = sizeof(Entry) / sizeof(kiommu_u64);
  // Where the host's fields are: done and kick in one word, then flags.
  static constexpr uint64_t kDoneOffset = 64;
  static constexpr uint64_t kEntriesOffset = 128;
  void use_memory(Domain& domain);
  Result<Indices> read_indices();
  // Transfers entries [done_, done_ + n) and the copy of them.
  template <class Transfer>
  Result<void> for_entries(unsigned n, Transfer transfer);
  Result<void> read_entries(unsigned n);
  Result<void> write_entries(unsigned n);
  Result<void> write_state(bool and_flags);
  void give_up(Domain& domain);
  kiommu_u32 failed(Domain& domain, Status why);

  // How many of the `n` entries that were read are done together, and what
  // they ask for; 0: the first is a large one.
  unsigned begin_batch(const Domain& domain, unsigned n);
  static Result<Change> parse(const Domain& domain, const Entry& entry);
  unsigned merge();
  void add_change(Change change);

  // Both: how many entries have their status.
  unsigned do_batch(Domain& domain, unsigned n);
  unsigned do_one_by_one(Domain& domain, unsigned n);
  Outcome do_one(Domain& domain, const Change& change);
  bool do_large(Domain& domain);
  void set_outcome(Domain& domain, Entry& entry, const Outcome& outcome);
  void report(Domain& domain, Status why, const Outcome& outcome) const;
  kiommu_u32 publish(Domain& domain, unsigned n, uint32_t avail);

  const Gpa gpa_;
  const uint32_t size_;
  std::optional<GuestMemory> guest_memory_;
  uint32_t done_ = 0;  // entries that have their status
  uint32_t kick_ = 0;  // that the guest rings the doorbell for
  bool broken_ = false;
  // A large entry, entries_[0], is under way: it is done below this.
  std::optional<uint64_t> large_next_;
  uint64_t large_anchor_ = 0;  // of which it was begun
  // The batch: entries as they were read, what is wrong with each; what the
  // others ask for, sorted.
  Entry entries_[kBatch];
  std::optional<Status> refused_[kBatch];
  unsigned changes_count_ = 0;
  Change changes_[kBatch];
};

}  // namespace kiommu
