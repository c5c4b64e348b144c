// SPDX-License-Identifier: GPL-2.0-only
//
// The ring of a guest, see ring.hpp.
#include "domain/ring.hpp"

#include <bit>

#include "faults/codes.hpp"

namespace kiommu {
namespace {

// Values from linux/kvm_iommu_ring.h and linux/kvm_iommu.h.
constexpr uint64_t kAlign = 64;
constexpr uint32_t kMinEntries = 2;
constexpr uint32_t kMaxEntries = 32768;
constexpr uint32_t kUnmapFlag = 1 << 0;
constexpr uint32_t kBrokenFlag = 1 << 0;
constexpr uint32_t kFlagsStatus = 34;

constexpr kiommu_u64 little_endian(kiommu_u64 word) {
  if constexpr (std::endian::native == std::endian::big) {
    return __builtin_bswap64(word);
  }
  return word;
}

// Two fields of 4 bytes, as a word of guest memory.
constexpr kiommu_u64 fields(uint32_t first, uint32_t second) {
  return little_endian(first | uint64_t{second} << 32);
}

constexpr uint32_t first_field(kiommu_u64 word) {
  return static_cast<uint32_t>(little_endian(word));
}

constexpr uint32_t second_field(kiommu_u64 word) {
  return static_cast<uint32_t>(little_endian(word) >> 32);
}

// Same as kvm_iommu_ring_passed().
constexpr bool passed(uint32_t event, uint32_t now, uint32_t before) {
  return now - event - 1 < now - before;
}

// The status of an entry: it has flags where a call has unused fields.
uint32_t ring_status(Status status) {
  return status == Status::kUnusedField ? kFlagsStatus : status_code(status);
}

// Whether memory that could not be accessed may be accessible later.
bool passes(Status why) {
  return why == Status::kNoMemory || why == Status::kBudget;
}

}  // namespace

Result<void> Ring::check(Gpa gpa, uint32_t entries) {
  if (entries < kMinEntries || entries > kMaxEntries ||
      (entries & (entries - 1)) != 0) {
    return fail(Status::kOutOfRange);
  }
  if (!gpa.aligned(kAlign)) return fail(Status::kMisaligned);
  const uint64_t bytes = kEntriesOffset + uint64_t{entries} * sizeof(Entry);
  if (gpa.value + (bytes - 1) < gpa.value) return fail(Status::kOverflow);
  return {};
}

// The cached slots are valid until a slot is removed.
void Ring::use_memory(Domain& domain) {
  if (guest_memory_ && guest_memory_->is_current()) return;
  guest_memory_.emplace(domain.pins()->guest(), domain.pins()->slots());
}

Result<Ring::Indices> Ring::read_indices() {
  kiommu_u64 word;
  KIOMMU_TRY(guest_memory_->read_entry(gpa_, &word));
  // Entries are read after avail: pairs with the guest's write barrier.
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return Indices{first_field(word), second_field(word)};
}

// Calls transfer() once, or twice if the entries wrap around.
template <class Transfer>
Result<void> Ring::for_entries(unsigned n, Transfer transfer) {
  auto* words = reinterpret_cast<kiommu_u64*>(entries_);
  const uint32_t at = done_ & (size_ - 1);
  const unsigned straight = n < size_ - at ? n : size_ - at;
  const Gpa base = gpa_.plus(kEntriesOffset);
  KIOMMU_TRY(transfer(base.plus(uint64_t{at} * sizeof(Entry)), words,
                      straight * kEntryWords));
  if (straight == n) return {};
  return transfer(base, words + straight * kEntryWords,
                  (n - straight) * kEntryWords);
}

Result<void> Ring::read_entries(unsigned n) {
  return for_entries(n, [&](Gpa gpa, kiommu_u64* words, unsigned count) {
    return guest_memory_->read_entries(gpa, words, count);
  });
}

// Writes whole entries: one transfer, instead of one for each status.
Result<void> Ring::write_entries(unsigned n) {
  return for_entries(n, [&](Gpa gpa, const kiommu_u64* words, unsigned count) {
    return guest_memory_->write_entries(gpa, words, count);
  });
}

Result<void> Ring::write_state(bool and_flags) {
  const kiommu_u64 words[] = {fields(done_, kick_),
                              fields(broken_ ? kBrokenFlag : 0, 0)};
  return guest_memory_->write_entries(gpa_.plus(kDoneOffset), words,
                                      and_flags ? 2 : 1);
}

// Gives the ring up. If its memory is what is wrong with it, the guest cannot
// be told: the result of the write is ignored.
void Ring::give_up(Domain& domain) {
  broken_ = true;
  (void)write_state(true);
  kiommu_fault fault{};
  fault.reason = static_cast<uint32_t>(FaultReason::kRing);
  fault.flags = FaultFlags::kHasGpa;
  fault.gpa = gpa_.value;
  domain.parts().faults->report(fault);
}

Result<void> Ring::begin(Domain& domain) {
  use_memory(domain);
  const auto written = write_state(true);
  if (written || passes(written.error())) return written;
  // A killed process may have lost its memory: the ring is not to blame.
  if (kiommu_port_interrupted() != 0) return fail(Status::kInterrupted);
  give_up(domain);
  return {};
}

Result<Domain::Change> Ring::parse(const Domain& domain, const Entry& entry) {
  const uint32_t flags = first_field(entry.flags_status);
  if ((flags & ~kUnmapFlag) != 0) return fail(Status::kUnusedField);
  auto range = domain.checked_range(little_endian(entry.iova),
                                    little_endian(entry.length));
  if (!range) return fail(range.error());
  return Change{*range, (flags & kUnmapFlag) != 0};
}

unsigned Ring::begin_batch(const Domain& domain, unsigned n) {
  changes_count_ = 0;
  uint64_t pages = 0;
  unsigned i = 0;
  for (; i < n; ++i) {
    // A refused entry costs nothing, whatever its length.
    const auto change = parse(domain, entries_[i]);
    if (!change) {
      refused_[i] = change.error();
      continue;
    }
    refused_[i].reset();
    pages += change->range.page_count();
    if (pages > kBatchPages) break;
    add_change(*change);
  }
  return i;
}

// Insertion sort, because most entries come in ascending order.
void Ring::add_change(Change change) {
  unsigned at = changes_count_++;
  for (; at > 0 && changes_[at - 1].range.first > change.range.first; --at) {
    changes_[at] = changes_[at - 1];
  }
  changes_[at] = change;
}

// Merges changes that overlap, and adjacent ones of the same kind. Where an
// unmap overlaps a refresh, both become a refresh: the tables decide.
unsigned Ring::merge() {
  unsigned last = 0;
  for (unsigned i = 1; i < changes_count_; ++i) {
    const Change& next = changes_[i];
    Change& to = changes_[last];
    const bool overlap = next.range.first <= to.range.last;
    if (!overlap &&
        (next.range.first != to.range.last.plus(1) || next.drop != to.drop)) {
      changes_[++last] = next;
      continue;
    }
    if (to.range.last < next.range.last) to.range.last = next.range.last;
    to.drop = to.drop && next.drop;
  }
  return last + 1;
}

unsigned Ring::do_batch(Domain& domain, unsigned n) {
  Result<void> all;
  bool lost = false;
  if (changes_count_ > 0) all = domain.refresh_all(changes_, merge(), &lost);
  if (!all && (!lost || is_progress(all.error()))) {
    return do_one_by_one(domain, n);
  }
  for (unsigned i = 0; i < n; ++i) {
    Outcome outcome{all, little_endian(entries_[i].iova)};
    if (refused_[i]) outcome.done = fail(*refused_[i]);
    if (outcome.done) outcome.stopped_iova += little_endian(entries_[i].length);
    set_outcome(domain, entries_[i], outcome);
  }
  return n;
}

unsigned Ring::do_one_by_one(Domain& domain, unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    const auto change = parse(domain, entries_[i]);
    Outcome outcome{{}, little_endian(entries_[i].iova)};
    if (change) {
      outcome = do_one(domain, *change);
    } else {
      outcome.done = fail(change.error());
    }
    // The process was killed, or the slots have changed and slots_changed() is
    // due: leave this entry to a later call.
    if (!outcome.done && is_progress(outcome.done.error())) return i;
    set_outcome(domain, entries_[i], outcome);
  }
  return n;
}

Ring::Outcome Ring::do_one(Domain& domain, const Change& change) {
  const IovaRange range = change.range;
  if (change.drop) {
    uint64_t unmapped = 0;
    const auto done = domain.unmap(range.first.value,
                                   range.page_count() << kPageShift, &unmapped);
    return {done, done ? range.last.value + 1 : range.first.value};
  }
  kiommu_refresh_result result{};
  result.stopped_iova = range.first.value;
  const auto done = domain.refresh(range, &result);
  Outcome outcome{done, result.stopped_iova};
  if (!done && is_guest_mistake(done.error())) {
    outcome.blame.level = result.level;
    if (result.has_gpa != 0) outcome.blame.names = Gpa{result.gpa};
  }
  return outcome;
}

// Does a part of the large entry, entries_[0]. Returns whether it is done and
// has its status.
bool Ring::do_large(Domain& domain) {
  Entry& entry = entries_[0];
  auto change = parse(domain, entry);
  if (!change) {  // the anchor has changed since
    set_outcome(domain, entry,
                {fail(change.error()), little_endian(entry.iova)});
    return true;
  }
  // After a change of the anchor the entry starts over.
  if (large_anchor_ != domain.anchor_number()) large_next_.reset();
  large_anchor_ = domain.anchor_number();
  if (large_next_) change->range.first = {*large_next_};
  const Outcome outcome = do_one(domain, *change);
  if (!outcome.done && is_progress(outcome.done.error())) {
    large_next_ = outcome.stopped_iova;
    return false;
  }
  set_outcome(domain, entry, outcome);
  return true;
}

void Ring::set_outcome(Domain& domain, Entry& entry, const Outcome& outcome) {
  uint32_t status = 0;
  if (!outcome.done) {
    status = ring_status(outcome.done.error());
    report(domain, outcome.done.error(), outcome);
  }
  entry.flags_status = fields(first_field(entry.flags_status), status);
  entry.stopped_iova = little_endian(outcome.stopped_iova);
}

void Ring::report(Domain& domain, Status why, const Outcome& outcome) const {
  kiommu_fault fault{};
  fault.reason = static_cast<uint32_t>(fault_reason(why));
  fault.flags = FaultFlags::kHasIova;
  fault.iova = outcome.stopped_iova;
  fault.level = outcome.blame.level;
  if (outcome.blame.names) {
    fault.flags |= FaultFlags::kHasGpa;
    fault.gpa = outcome.blame.names->value;
  }
  fault.status = ring_status(why);
  if (why == Status::kUnusedField) {
    fault.reason = static_cast<uint32_t>(FaultReason::kRing);
    fault.flags |= FaultFlags::kHasGpa;
    fault.gpa = gpa_.value;
  }
  if (const Stage1* stage1 = domain.anchored()) {
    fault.flags |= FaultFlags::kHasFormat;
    fault.format = stage1->anchor.format;
    fault.code = fault_code(fault.format, why, kNoRights);
  }
  domain.parts().faults->report(fault);
}

// The ring's memory could not be accessed. If that may pass, asks the caller to
// come back; else gives the ring up.
kiommu_u32 Ring::failed(Domain& domain, Status why) {
  if (kiommu_port_interrupted() != 0) return 0;
  if (passes(why)) return KIOMMU_RING_MORE;
  give_up(domain);
  return 0;
}

// Publishes `n` entries, then reads the guest's indices again. The full barrier
// pairs with the guest's: either it sees done and kick, or the host sees avail
// and notify.
kiommu_u32 Ring::publish(Domain& domain, unsigned n, uint32_t avail) {
  if (n > 0) {
    if (auto written = write_entries(n); !written) {
      return failed(domain, written.error());
    }
  }
  const uint32_t before = done_;
  const uint32_t kick_before = kick_;
  done_ += n;
  if (done_ == avail) kick_ = done_;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  if (auto written = write_state(false); !written) {
    // These entries will be done again.
    done_ = before;
    kick_ = kick_before;
    return failed(domain, written.error());
  }
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const auto now = read_indices();
  // It is unknown whether the guest waits, so notify it.
  if (!now) return failed(domain, now.error()) | KIOMMU_RING_NOTIFY;
  kiommu_u32 answer = 0;
  if (now->avail != done_) answer |= KIOMMU_RING_MORE;
  if (passed(now->notify, done_, before)) answer |= KIOMMU_RING_NOTIFY;
  return answer;
}

kiommu_u32 Ring::consume(Domain& domain, kiommu_ring_large large) {
  if (broken_) return 0;
  use_memory(domain);
  const auto indices = read_indices();
  if (!indices) return failed(domain, indices.error());
  const uint32_t waiting = indices->avail - done_;
  if (waiting > size_) {
    give_up(domain);
    return 0;
  }
  if (!large_next_) {
    unsigned n = waiting < kBatch ? waiting : kBatch;
    if (n == 0 && kick_ == done_) return 0;
    if (n > 0) {
      if (auto read = read_entries(n); !read) {
        return failed(domain, read.error());
      }
    }
    n = begin_batch(domain, n);
    if (n > 0 || waiting == 0) {
      const unsigned done = do_batch(domain, n);
      const kiommu_u32 answer = publish(domain, done, indices->avail);
      return kiommu_port_interrupted() != 0 ? answer & ~KIOMMU_RING_MORE
                                            : answer;
    }
  }
  if (large == KIOMMU_RING_LARGE_LATER) return KIOMMU_RING_MORE;
  if (!do_large(domain)) {
    return kiommu_port_interrupted() != 0 ? 0 : KIOMMU_RING_MORE;
  }
  large_next_.reset();
  return publish(domain, 1, indices->avail);
}

kiommu_u32 Ring::drain(Domain& domain, kiommu_ring_drain& until) {
  if (broken_) return 0;
  if (until.begun == 0) {
    use_memory(domain);
    const auto indices = read_indices();
    if (!indices) return failed(domain, indices.error());
    until = {1, indices->avail};
  }
  // done_ may be beyond until.avail: a batch includes entries that came later.
  const uint32_t left = until.avail - done_;
  if (left == 0 || left > size_) return 0;
  return consume(domain, KIOMMU_RING_LARGE_NOW);
}

}  // namespace kiommu
