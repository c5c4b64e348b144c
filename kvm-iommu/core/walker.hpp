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
  Iova iova;           // first byte, page-aligned
  Gpa gpa;             // where that byte is mapped to
  uint64_t pages;      // 4 KiB pages from there on
  Rights rights;       // what is left of all levels, never none
  unsigned shift;      // log2 of the size of the whole guest page
  unsigned level = 0;  // of the table that it is in, from 1

  // Whether `next` goes on where this ends, in IOVA and in GPA.
  constexpr bool continued_by(const Leaf& next) const {
    const uint64_t bytes = pages << kPageShift;
    return next.iova == iova.plus(bytes) && next.gpa == gpa.plus(bytes) &&
           next.rights == rights && next.shift == shift;
  }
};

// The entry that is to blame for what cannot be mapped, as far as it is known.
struct Blame {
  unsigned level = 0;          // of its table, from 1; 0: not known
  std::optional<Gpa> names{};  // where it points to
};

struct TableUse;

// A page of a table at one place, as it is read: entries of one window.
struct TableWindow {
  TableUse* parent = nullptr;  // what is known of the table above, if it is
  bool top = false;            // there is none above
  uint8_t above = 0;           // level of that one, from 1
  uint16_t slot = 0;           // the entry above, within its window
  uint16_t entries = 0;
  uint8_t level = 0;
  uint8_t shift = 0;  // of the span of an entry
  Rights rights{};    // what the levels above leave
  Gpa table{};        // the whole of it
  Gpa gpa{};          // of the first entry
  Iova base{};        // that this entry is for

  constexpr IovaRange span() const {
    return {base, base.plus((uint64_t{entries} << shift) - 1)};
  }
  constexpr bool same_table(const TableWindow& other) const {
    return level == other.level && table == other.table && gpa == other.gpa;
  }
  // What the entries in [at, at + bytes) span.
  constexpr std::optional<IovaRange> spanned(Gpa at, uint64_t bytes) const {
    const Gpa end = gpa.plus(uint64_t{entries} * kEntryBytes);
    if (at >= end || at.plus(bytes) <= gpa) return std::nullopt;
    const uint64_t first = at > gpa ? at.value - gpa.value : 0;
    const uint64_t last =
        (at.plus(bytes) < end ? at.plus(bytes) : end).value - gpa.value - 1;
    return IovaRange{base.plus((first / kEntryBytes) << shift),
                     base.plus(((last / kEntryBytes + 1) << shift) - 1)};
  }
};

// A sink that keeps what it is told can follow the tables. Then bad() may
// return without an error: the walk goes on.
template <class S>
concept FollowingSink = requires(S& sink, const TableWindow& window,
                                 TableUse* use, unsigned slot,
                                 const Entry* table) {
  // Whether it wants to be told at all.
  { sink.follows() } -> std::same_as<bool>;
  // The page is about to be read, as far as the walk comes to it. What is known
  // of it comes back as the parent of those below.
  { sink.meet(window) } -> std::same_as<Result<TableUse*>>;
  // What an entry of it says: a table, or nullptr.
  { sink.meet_entry(use, slot, table) } -> std::same_as<void>;
};

// Each call returns an error to stop the walk with it.
template <class S>
concept WalkSink = requires(S& sink, IovaRange range, const Leaf& leaf, Iova at,
                            Status why, const Blame& blame,
                            const kiommu_u64* words, unsigned n) {
  // Nothing is mapped in the range.
  { sink.absent(range) } -> std::same_as<Result<void>>;
  { sink.leaf(leaf) } -> std::same_as<Result<void>>;
  // `n` neighbouring pages of 4 KiB from `at` on, of one table: page words or
  // PageWord::kAbsent.
  { sink.pages(at, words, n) } -> std::same_as<Result<void>>;
  // The entry for this range, or the table for it, is unusable.
  { sink.bad(range, why, blame) } -> std::same_as<Result<void>>;
  // The walk ends before `at`: kBudget or kInterrupted.
  { sink.stopped(at, why) } -> std::same_as<Result<void>>;
};

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
    return walk_path({.top = true,
                      .level = static_cast<uint8_t>(root.level),
                      .rights = root.rights,
                      .table = root.table},
                     range);
  }

  // The same from a table on, for who knows that the walk would come to it.
  // What follows tables is not told of this one, nor of those below.
  Result<void> walk_below(const Root& known, IovaRange range) {
    return walk_path({.level = static_cast<uint8_t>(known.level),
                      .rights = known.rights,
                      .table = known.table},
                     range);
  }

 private:
  // Whether the lowest tables hold pages of 4 KiB.
  static constexpr bool kSmallPages = F::level(0).shift == kPageShift;

  static constexpr bool kFollows = FollowingSink<Sink>;

  // One table; `range` lies within its reach. Down to where the range has more
  // than one entry this is a path, an entry of each table.
  Result<void> walk_path(TableWindow window, IovaRange range) {
    for (;;) {
      const unsigned level = window.level;
      const Level geometry = F::level(level);
      const unsigned index = geometry.index(range.first);
      if (index != geometry.index(range.last)) return walk_table(window, range);
      const Gpa gpa = window.table.plus(uint64_t{index} * kEntryBytes);
      const unsigned slot = index % WalkScratch::kWindow;
      const uint64_t base = range.first.value & ~(geometry.span() - 1);
      auto use = meet(window, geometry, gpa, slot, base);
      if (!use) return sink_.stopped(range.first, use.error());
      ++reads_;
      kiommu_u64* raw = scratch_.window[level];
      if (auto done = stage2_.read_entry(gpa, raw); !done) {
        KIOMMU_TRY(unreadable(done.error(), range, window, gpa));
        meet_entry(*use, slot, level, nullptr);
        return {};
      }
      if (kSmallPages && level == 0) return visit_pages(base, 1, window.rights);
      const Entry entry = F::decode(level, from_guest<F>(*raw));
      const Rights rights = window.rights & entry.rights;
      const Iova reach_last{base | F::level(entry.level).reach_last()};
      if (entry.kind != Entry::Kind::kTable || !rights.any() ||
          entry.level >= level || range.last > reach_last) {
        return visit_entries(window, *use, slot, base, 0, 1, range);
      }
      meet_entry(*use, slot, level, &entry);
      window = {.parent = *use,
                .above = static_cast<uint8_t>(level + 1),
                .slot = static_cast<uint16_t>(slot),
                .level = static_cast<uint8_t>(entry.level),
                .rights = rights,
                .table = entry.address};
    }
  }

  // The same for a table that has more of the range than one entry.
  Result<void> walk_table(TableWindow window, IovaRange range) {
    const unsigned level = window.level;
    const Level geometry = F::level(level);
    const unsigned last = geometry.index(range.last);
    unsigned index = geometry.index(range.first);
    uint64_t base = range.first.value & ~(geometry.span() - 1);
    while (index <= last) {
      // A window ends where a page of the table does: each page of a table is
      // good or bad by itself.
      unsigned count = WalkScratch::kWindow - index % WalkScratch::kWindow;
      if (count > last - index + 1) count = last - index + 1;
      const Gpa gpa = window.table.plus(uint64_t{index} * kEntryBytes);
      const unsigned first = index % WalkScratch::kWindow;
      const IovaRange part =
          intersection({{base}, {base + (count * geometry.span() - 1)}}, range);
      auto met = meet(window, geometry, gpa, first, base);
      if (!met) return sink_.stopped(part.first, met.error());
      TableUse* use = *met;
      auto readable = read(window, gpa, count, part);
      if (!readable) return fail(readable.error());
      if (!*readable) {
        for (unsigned i = 0; i < count; ++i) {
          meet_entry(use, first + i, level, nullptr);
        }
      } else if (kSmallPages && level == 0) {
        KIOMMU_TRY(visit_pages(base, count, window.rights));
      } else {
        KIOMMU_TRY(visit_entries(window, use, first, base, 0, count, range));
      }
      base += count * geometry.span();
      index += count;
    }
    return {};
  }

  // Tells that the window that holds the entry at `gpa`, its entry `first`, for
  // `base`, is about to be read.
  Result<TableUse*> meet(TableWindow& window, const Level& geometry, Gpa gpa,
                         unsigned first, uint64_t base) {
    if constexpr (kFollows) {
      // Below a page that is not known nothing is.
      const bool may_be_known = window.top || window.parent != nullptr;
      if (may_be_known && sink_.follows()) {
        locate(window, geometry, gpa, first, base);
        return sink_.meet(window);
      }
    }
    return nullptr;
  }

  // What is not known yet of that window.
  static void locate(TableWindow& window, const Level& geometry, Gpa gpa,
                     unsigned first, uint64_t base) {
    window.shift = static_cast<uint8_t>(geometry.shift);
    window.gpa = {gpa.value - uint64_t{first} * kEntryBytes};
    window.base = {base - first * geometry.span()};
    uint64_t entries = WalkScratch::kWindow;
    if (geometry.table_bytes() / kEntryBytes < entries) {
      entries = geometry.table_bytes() / kEntryBytes;
    }
    // Where the top table is shorter than its level.
    const uint64_t room =
        (kPageBytes - (window.gpa.value & ~kPageMask)) / kEntryBytes;
    window.entries = static_cast<uint16_t>(room < entries ? room : entries);
  }

  // Tells what is below entry `slot`.
  void meet_entry(TableUse* use, unsigned slot, unsigned level,
                  const Entry* table) {
    if constexpr (kFollows) {
      if (use == nullptr || level == 0) return;
      sink_.meet_entry(use, slot, table);
    }
  }

  Entry entry_at(unsigned level, unsigned i) const {
    return F::decode(level, from_guest<F>(scratch_.window[level][i]));
  }

  // Whether an entry of the window names a table that can map something.
  static bool is_below(const TableWindow& window, const Entry& entry) {
    return entry.kind == Entry::Kind::kTable &&
           (window.rights & entry.rights).any() && window.level > 0 &&
           entry.level < window.level;
  }

  // Entries [from, to) of those read, the first of which is for `base` and
  // entry `slot` of its window.
  Result<void> visit_entries(const TableWindow& window, TableUse* use,
                             unsigned slot, uint64_t base, unsigned from,
                             unsigned to, IovaRange range) {
    const unsigned level = window.level;
    const uint64_t bytes = F::level(level).span();
    // First what is gone: a page that moves within this window has no more
    // places for it.
    if constexpr (kFollows) {
      for (unsigned i = from; use != nullptr && level > 0 && i < to; ++i) {
        const Entry entry = entry_at(level, i);
        meet_entry(use, slot + i, level,
                   is_below(window, entry) ? &entry : nullptr);
      }
    }
    for (unsigned i = from; i < to; ++i) {
      const uint64_t first = base + i * bytes;
      const IovaRange span{{first}, {first + (bytes - 1)}};
      const Entry entry = entry_at(level, i);
      const Rights rights = window.rights & entry.rights;
      const IovaRange part = intersection(span, range);
      if (is_below(window, entry)) {
        KIOMMU_TRY(descend({.parent = use,
                            .above = static_cast<uint8_t>(level + 1),
                            .slot = static_cast<uint16_t>(slot + i),
                            .level = static_cast<uint8_t>(entry.level),
                            .rights = rights,
                            .table = entry.address},
                           span, part));
      } else {
        KIOMMU_TRY(visit(entry, level, rights, part));
      }
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
            {.rights = rights}, nullptr, 0, base, end, end + 1,
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

  // Fills the window of this level, for `part`. Whether it could be read.
  Result<bool> read(const TableWindow& window, Gpa gpa, unsigned count,
                    IovaRange part) {
    if (++reads_ > WalkScratch::kBudget) {
      return failed(sink_.stopped(part.first, Status::kBudget));
    }
    if (kiommu_port_interrupted() != 0) {
      return failed(sink_.stopped(part.first, Status::kInterrupted));
    }
    auto done = stage2_.read_entries(gpa, scratch_.window[window.level], count);
    if (done) return true;
    return failed(unreadable(done.error(), part, window, gpa));
  }

  Result<void> unreadable(Status why, IovaRange part, const TableWindow& window,
                          Gpa gpa) {
    // The caller may not read at all: that is no mistake of the guest.
    if (why == Status::kForeignProcess) return fail(why);
    // Nor is it if the process is killed: it gets no memory any more.
    if (kiommu_port_interrupted() != 0) {
      return sink_.stopped(part.first, Status::kInterrupted);
    }
    return sink_.bad(part, why, {window.above, gpa.page()});
  }

  static Result<bool> failed(const Result<void>& told) {
    if (!told) return fail(told.error());
    return false;
  }

  // An entry of a table of `level` that names no table: `part` is what is
  // walked of it.
  Result<void> visit(const Entry& entry, unsigned level, Rights rights,
                     IovaRange part) {
    if (entry.kind == Entry::Kind::kMalformed) {
      return sink_.bad(part, entry.why, {.level = level + 1});
    }
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
                         .shift = entry.shift,
                         .level = level + 1});
    }
    return sink_.bad(part, Status::kEntryType, {level + 1, entry.address});
  }

  // A table below, at `window`. Levels between are left out if it reaches less
  // than the entry spans: the IOVAs beyond are not mapped.
  Result<void> descend(const TableWindow& window, IovaRange span,
                       IovaRange part) {
    const Iova reach_last{span.first.value |
                          F::level(window.level).reach_last()};
    if (part.first <= reach_last) {
      KIOMMU_TRY(
          walk_path(window, intersection(part, {span.first, reach_last})));
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
