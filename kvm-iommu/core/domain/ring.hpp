// SPDX-License-Identifier: GPL-2.0-only
//
// The ring of a guest, as linux/kvm_iommu_ring.h describes it: the guest enters
// the IOVAs that it has changed, and gets a status for each entry.
//
// The guest may change anything in the ring at any moment. So a word is read
// once, and only the copy is checked and used; what the host wrote is never
// read back. The guest's indices are used only as numbers of entries, never as
// addresses; a number that is too large means that the ring is broken.
//
// A call does a batch: the entries that are available, up to kBatch entries and
// kBatchPages pages. Their ranges are sorted and merged, and done by one
// operation with one flush. If anything in it fails, the entries are done one
// by one, so that each gets its own status. An entry of more than kBatchPages
// is done alone, a walk's budget at a time.
#pragma once

#include "domain/domain.hpp"

namespace kiommu {

class Ring {
 public:
  // One page of entries, which have 32 bytes.
  static constexpr unsigned kBatch = 128;
  static constexpr uint64_t kBatchPages = 1u << 15;

  static Result<void> check(Gpa gpa, uint32_t entries);

  Ring(Gpa gpa, uint32_t entries) : gpa_(gpa), size_(entries) {}
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // See core_sync.h. The domain must be started, with the same guest each time.
  Result<void> begin(Domain& domain);
  kiommu_u32 consume(Domain& domain, kiommu_ring_large large);
  kiommu_u32 drain(Domain& domain, kiommu_ring_drain& until);

 private:
  using Change = Domain::Change;

  // As in guest memory, little-endian.
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
  // The outcome of an entry.
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
  // Transfers entries [done_, done_ + n) between the ring and entries_.
  template <class Transfer>
  Result<void> for_entries(unsigned n, Transfer transfer);
  Result<void> read_entries(unsigned n);
  Result<void> write_entries(unsigned n);
  Result<void> write_state(bool and_flags);
  void give_up(Domain& domain);
  kiommu_u32 failed(Domain& domain, Status why);

  // Sets up the batch from the `n` entries that were read. Returns how many of
  // them are done together; 0 if the first is a large one.
  unsigned begin_batch(const Domain& domain, unsigned n);
  static Result<Change> parse(const Domain& domain, const Entry& entry);
  unsigned merge();
  void add_change(Change change);

  // Both return how many entries got their status.
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
  uint32_t kick_ = 0;  // the guest rings the doorbell for this entry
  bool broken_ = false;
  // Set if a large entry, entries_[0], is in progress: the IOVAs below are
  // done.
  std::optional<uint64_t> large_next_;
  uint64_t large_anchor_ = 0;  // anchor_number() for which that was done
  // The batch: the entries as they were read, and why they were refused; the
  // changes that the others ask for, sorted by IOVA.
  Entry entries_[kBatch];
  std::optional<Status> refused_[kBatch];
  unsigned changes_count_ = 0;
  Change changes_[kBatch];
};

}  // namespace kiommu
