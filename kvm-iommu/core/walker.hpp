// SPDX-License-Identifier: GPL-2.0-only
//
// Walks the guest's tables over a range of IOVA, for any format. Reads each
// entry in the range once, and none below an absent one. What it finds goes
// to a sink, in ascending order, without gaps and within the range.
//
// Tables that point to themselves are no danger: each step goes down one
// level. Work is bounded by a budget of reads.
#pragma once

#include "format.hpp"
#include "page_word.hpp"
#include "stage2.hpp"

namespace kiommu {

// A page of stage 1, or the part of it that is in the walked range.
struct Leaf {
  Iova iova;       // first byte, page-aligned
  Gpa gpa;         // where that byte is mapped to
  uint64_t pages;  // 4 KiB pages from there on
  Rights rights;   // what is left of all levels, never none
  unsigned shift;  // log2 of the size of the whole guest page

  // Whether `next` goes on where this ends, in IOVA and in GPA.
  constexpr bool continued_by(const Leaf& next) const {
    const uint64_t bytes = pages << kPageShift;
    return next.iova == iova.plus(bytes) && next.gpa == gpa.plus(bytes) &&
           next.rights == rights && next.shift == shift;
  }
};

// Each call returns an error to stop the walk with it.
template <class S>
concept WalkSink = requires(S& sink, IovaRange range, const Leaf& leaf, Iova at,
                            Status why, const kiommu_u64* words, unsigned n) {
  // Nothing is mapped in the range.
  { sink.absent(range) } -> std::same_as<Result<void>>;
  { sink.leaf(leaf) } -> std::same_as<Result<void>>;
  // `n` neighbouring pages of 4 KiB from `at` on, of one table: page words or
  // PageWord::kAbsent.
  { sink.pages(at, words, n) } -> std::same_as<Result<void>>;
  // The entry for this range, or the table for it, is unusable.
  { sink.bad(range, why) } -> std::same_as<Result<void>>;
  // The walk ends before `at`: kBudget or kInterrupted.
  { sink.stopped(at, why) } -> std::same_as<Result<void>>;
};

// A sink that has the walk go on behind what is bad. What is told as bad is the
// part of a table that cannot be read then, not all IOVAs for which the table
// is still needed.
template <class S>
concept PassesBad = S::kPassesBad;

// How often a walk may read entries from guest memory, and a buffer for each
// level of the tables.
struct WalkScratch {
  // Entries read at once: a page of them.
  static constexpr unsigned kWindow = 512;
  // Reads of up to kWindow entries in one call: as many as 64 GiB mapped by 4
  // KiB pages take.
  static constexpr unsigned kBudget = 1u << 15;

  kiommu_u64* window[kMaxLevels];
  kiommu_u64* words;  // the page words of a window
};

template <TableFormat F, WalkSink Sink>
class Walker {
 public:
  Walker(Stage2& stage2, const WalkScratch& scratch, Sink& sink)
      : stage2_(stage2), scratch_(scratch), sink_(sink) {}

  Result<void> walk(const Root& root, IovaRange range) {
    return walk_table(root.level, root.table, root.rights, range);
  }

 private:
  // Whether the lowest tables hold pages of 4 KiB.
  static constexpr bool kSmallPages = F::level(0).shift == kPageShift;

  // One table; `range` lies within its reach.
  Result<void> walk_table(unsigned level, Gpa table, Rights rights,
                          IovaRange range) {
    const Level geometry = F::level(level);
    const unsigned last = geometry.index(range.last);
    unsigned index = geometry.index(range.first);
    uint64_t base = range.first.value & ~(geometry.span() - 1);
    while (index <= last) {
      // A window ends where a page of the table does: each page of a table is
      // good or bad by itself.
      unsigned count = WalkScratch::kWindow - index % WalkScratch::kWindow;
      if (count > last - index + 1) count = last - index + 1;
      IovaRange rest{{base > range.first.value ? base : range.first.value},
                     range.last};
      if constexpr (PassesBad<Sink>) {
        const IovaRange window{{base}, {base + (count * geometry.span() - 1)}};
        rest = intersection(rest, window);
      }
      auto has_read =
          read(level, table.plus(uint64_t{index} * kEntryBytes), count, rest);
      if (!has_read) return fail(has_read.error());
      if (!*has_read) {
        // The sink knows that it is bad.
      } else if (kSmallPages && level == 0) {
        KIOMMU_TRY(visit_pages(base, count, rights));
      } else {
        KIOMMU_TRY(visit_entries(level, base, 0, count, rights, range));
      }
      base += count * geometry.span();
      index += count;
    }
    return {};
  }

  // Entries [from, to) of a window whose first entry is for `base`.
  Result<void> visit_entries(unsigned level, uint64_t base, unsigned from,
                             unsigned to, Rights rights, IovaRange range) {
    const uint64_t bytes = F::level(level).span();
    for (unsigned i = from; i < to; ++i) {
      const uint64_t first = base + i * bytes;
      const IovaRange span{{first}, {first + (bytes - 1)}};
      KIOMMU_TRY(visit(level, from_guest<F>(scratch_.window[level][i]), rights,
                       span, intersection(span, range)));
    }
    return {};
  }

  // A window of a table of 4 KiB pages: as page words, many at once.
  Result<void> visit_pages(uint64_t base, unsigned count, Rights rights) {
    const kiommu_u64* raw = scratch_.window[0];
    kiommu_u64* words = scratch_.words;
    uint64_t all = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; ++i) {
      words[i] = page_word(from_guest<F>(raw[i]), rights);
      all |= words[i];
    }
    unsigned done = 0;
    while (done < count) {
      unsigned end = count;
      if ((all & PageWord::kOther) != 0) {
        end = done;
        while (end < count && words[end] != PageWord::kOther) ++end;
      }
      const Iova at{base + (uint64_t{done} << kPageShift)};
      if (end > done) KIOMMU_TRY(sink_.pages(at, words + done, end - done));
      if (end < count) {
        const Iova other{base + (uint64_t{end} << kPageShift)};
        KIOMMU_TRY(visit_entries(
            0, base, end, end + 1, rights,
            {other, {base + (uint64_t{count} << kPageShift) - 1}}));
        ++end;
      }
      done = end;
    }
    return {};
  }

  static uint64_t page_word(uint64_t entry, Rights rights) {
    if constexpr (requires { F::page_word(entry); }) {
      const uint64_t word =
          F::page_word(entry) & (~PageWord::kRightsMask | rights.bits);
      return (word & PageWord::kRightsMask) != 0 ? word
                                                 : word & PageWord::kOther;
    }
    const Entry e = F::decode(0, entry);
    if (e.kind == Entry::Kind::kAbsent) return PageWord::kAbsent;
    if (e.kind != Entry::Kind::kLeaf || e.shift != kPageShift ||
        !PageWord::fits(e.address)) {
      return PageWord::kOther;
    }
    rights = rights & e.rights;
    return rights.any() ? PageWord::of(e.address, rights) : PageWord::kAbsent;
  }

  // Fills the window of this level; `rest` is what it, or the table, is still
  // needed for. False: it could not be read, and the sink wants to go on.
  Result<bool> read(unsigned level, Gpa gpa, unsigned count, IovaRange rest) {
    if (++reads_ > WalkScratch::kBudget) {
      KIOMMU_TRY(sink_.stopped(rest.first, Status::kBudget));
    }
    if (kiommu_port_interrupted() != 0) {
      KIOMMU_TRY(sink_.stopped(rest.first, Status::kInterrupted));
    }
    auto done = stage2_.read_entries(gpa, scratch_.window[level], count);
    if (done) return true;
    // The caller may not read at all: that is no mistake of the guest.
    if (done.error() == Status::kForeignProcess) return fail(done.error());
    KIOMMU_TRY(sink_.bad(rest, done.error()));
    return false;
  }

  // One entry: `span` is all that it covers, `part` what is walked of it.
  Result<void> visit(unsigned level, uint64_t raw, Rights rights,
                     IovaRange span, IovaRange part) {
    const Entry entry = F::decode(level, raw);
    if (entry.kind == Entry::Kind::kMalformed)
      return sink_.bad(part, entry.why);
    rights = rights & entry.rights;
    if (entry.kind == Entry::Kind::kAbsent || !rights.any()) {
      return sink_.absent(part);
    }
    if (entry.kind == Entry::Kind::kLeaf) {
      const uint64_t in_page =
          part.first.value & ((uint64_t{1} << entry.shift) - 1);
      return sink_.leaf({.iova = part.first,
                         .gpa = entry.address.plus(in_page),
                         .pages = part.pages(),
                         .rights = rights,
                         .shift = entry.shift});
    }
    if (level == 0 || entry.level >= level) {
      return sink_.bad(part, Status::kEntryType);
    }
    return descend(entry, rights, span, part);
  }

  // A table below. Levels between are left out if it reaches less than the
  // entry spans: the IOVAs beyond are not mapped.
  Result<void> descend(const Entry& entry, Rights rights, IovaRange span,
                       IovaRange part) {
    const Iova reach_last{span.first.value |
                          F::level(entry.level).reach_last()};
    if (part.first <= reach_last) {
      KIOMMU_TRY(walk_table(entry.level, entry.address, rights,
                            intersection(part, {span.first, reach_last})));
    }
    if (part.last <= reach_last) return {};
    const Iova beyond = reach_last.plus(1);
    return sink_.absent({beyond > part.first ? beyond : part.first, part.last});
  }

  Stage2& stage2_;
  const WalkScratch& scratch_;
  Sink& sink_;
  unsigned reads_ = 0;
};

}  // namespace kiommu
