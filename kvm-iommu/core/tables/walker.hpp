// SPDX-License-Identifier: GPL-2.0-only
//
// The walk of the guest's tables over a range of IOVA, for any format. It reads
// each entry of the range once, and none below an absent one. A sink is given
// what it finds, in ascending order, without gaps and clipped to the range.
//
// Tables that point to themselves do no harm: each step goes down at least one
// level. A budget of reads bounds the work.
#pragma once

#include "base/page_word.hpp"
#include "memory/guest_memory.hpp"
#include "tables/format.hpp"

namespace kiommu {

// A page that stage 1 maps, or the part of it in the walked range.
struct Leaf {
  Iova iova;           // first byte, page-aligned
  Gpa gpa;             // what `iova` is mapped to
  uint64_t pages;      // 4 KiB pages from `iova` on
  Rights rights;       // granted by all levels, never none
  unsigned shift;      // log2 of the size of the whole guest page
  unsigned level = 0;  // of the table that maps it, from 1

  // Whether `next` continues this leaf, in IOVA and in GPA, with the same
  // rights.
  constexpr bool continued_by(const Leaf& next) const {
    const uint64_t bytes = pages << kPageShift;
    return next.iova == iova.plus(bytes) && next.gpa == gpa.plus(bytes) &&
           next.rights == rights && next.shift == shift;
  }
};

// The entry to blame for what cannot be mapped, as far as it is known.
struct Blame {
  unsigned level = 0;          // of its table, from 1; 0: not known
  std::optional<Gpa> names{};  // where it points to
};

struct TableUse;

// A window: the entries of a table that are in one page of guest memory, at one
// place in the tree of tables. It tells a following sink what the walk is about
// to read; the tracker keeps a copy for each place of a page (TableUse). Fields
// set by locate() are valid only if the sink follows.
struct TableWindow {
  // The sink's record of the window above, from meet(). The tracker hangs this
  // window below it. nullptr: there is none above, or the sink does not know
  // it.
  TableUse* parent = nullptr;
  // Tells the top table, which has no parent either, from a table whose parent
  // is unknown: below an unknown page the sink is told of nothing.
  bool top = false;
  // The level of the table above, from 1: its entry is blamed if this window
  // cannot be read. 0: this is the top table, or walk_below() began here.
  uint8_t above = 0;
  // The index, within its window, of the entry above that points here: the
  // tracker finds this window by it among the children of `parent`.
  uint16_t slot = 0;
  // The number of entries, set by locate(): how far stores to this page matter,
  // and how much IOVA it maps. Tables smaller than a page have fewer than
  // kWindow.
  uint16_t entries = 0;
  // The level of the table, from 0: how its entries are decoded, and which
  // buffer they are read to.
  uint8_t level = 0;
  // log2 of the bytes of IOVA that an entry spans, set by locate(): the tracker
  // turns offsets in the page into IOVAs without knowing the format.
  uint8_t shift = 0;
  // The rights that all levels above grant: the walk intersects them with those
  // of the entries here, also if it begins at this table (walk_below()).
  Rights rights{};
  // The start of the table, which can have several windows: the walk addresses
  // entries from here (walk_below(), too), and the tracker tells by it whether
  // the entry above still points to the same table.
  Gpa table{};
  // The first entry of the window, set by locate(): its GFN is the page that is
  // tracked, and stores are located relative to it.
  Gpa gpa{};
  // The IOVA that this first entry maps, set by locate(): tells the windows of
  // one table apart, and is where span() begins.
  Iova base{};

  constexpr IovaRange span() const {
    return {base, base.plus((uint64_t{entries} << shift) - 1)};
  }
  constexpr bool same_table(const TableWindow& other) const {
    return level == other.level && table == other.table && gpa == other.gpa;
  }
  // The IOVAs that the entries in [at, at + bytes) map; none if these are
  // elsewhere.
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

// A sink that also follows the tables themselves.
template <class S>
concept FollowingSink = requires(S& sink, const TableWindow& window,
                                 TableUse* use, unsigned slot,
                                 const Entry* table) {
  // Whether the sink follows the tables of this walk.
  { sink.follows() } -> std::same_as<bool>;
  // The walk is about to read those entries of `window` that are in its range:
  // the sink can have the page tracked first. Returns the sink's record of the
  // window, which is the `parent` of those below; nullptr if it has none. An
  // error ends the walk through stopped().
  { sink.meet(window) } -> std::same_as<Result<TableUse*>>;
  // What entry `slot` of that window holds: a table that the walk can go down
  // to, or nullptr.
  { sink.meet_entry(use, slot, table) } -> std::same_as<void>;
};

// If a call returns an error, the walk stops with it.
template <class S>
concept WalkSink = requires(S& sink, IovaRange range, const Leaf& leaf, Iova at,
                            Status why, const Blame& blame,
                            const kiommu_u64* words, unsigned n) {
  // Nothing is mapped in the range.
  { sink.absent(range) } -> std::same_as<Result<void>>;
  { sink.leaf(leaf) } -> std::same_as<Result<void>>;
  // `n` consecutive pages of 4 KiB from `at` on, of one table: page words or
  // PageWord::kAbsent.
  { sink.pages(at, words, n) } -> std::same_as<Result<void>>;
  // The entry for this range, or the table for it, is unusable. If this returns
  // no error, the walk continues after the range.
  { sink.bad(range, why, blame) } -> std::same_as<Result<void>>;
  // The walk ends before `at`: kBudget, kInterrupted, or the error of meet().
  // Must return an error.
  { sink.stopped(at, why) } -> std::same_as<Result<void>>;
};

// The budget of a walk and its buffers, one for each level of the tables.
struct WalkScratch {
  // Entries read at once: one page.
  static constexpr unsigned kWindow = 512;
  // Reads of up to kWindow entries that one walk may make: as many as 64 GiB
  // mapped by 4 KiB pages take.
  static constexpr unsigned kBudget = 1u << 15;

  kiommu_u64* window[kMaxLevels];
  kiommu_u64* words;  // the page words of a window
};

template <TableFormat F, WalkSink Sink>
class Walker {
 public:
  Walker(GuestMemory& guest_memory, const WalkScratch& scratch, Sink& sink)
      : guest_memory_(guest_memory), scratch_(scratch), sink_(sink) {}

  Result<void> walk(const Root& root, IovaRange range) {
    return walk_path({.top = true,
                      .level = static_cast<uint8_t>(root.level),
                      .rights = root.rights,
                      .table = root.table},
                     range);
  }

  // Same as walk(), but begins at a table that the caller knows the walk would
  // reach. A following sink is told neither of this table nor of those below
  // it.
  Result<void> walk_below(const Root& known, IovaRange range) {
    return walk_path({.level = static_cast<uint8_t>(known.level),
                      .rights = known.rights,
                      .table = known.table},
                     range);
  }

 private:
  // Whether the lowest tables map pages of 4 KiB.
  static constexpr bool kSmallPages = F::level(0).shift == kPageShift;

  static constexpr bool kFollows = FollowingSink<Sink>;

  // Walks a table; `range` must be within its reach. As long as the range is in
  // one entry, there is a single path: only that entry of each table is read.
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
      if (auto done = guest_memory_.read_entry(gpa, raw); !done) {
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

  // Same as walk_path(), for a table in which the range has more than one
  // entry.
  Result<void> walk_table(TableWindow window, IovaRange range) {
    const unsigned level = window.level;
    const Level geometry = F::level(level);
    const unsigned last = geometry.index(range.last);
    unsigned index = geometry.index(range.first);
    uint64_t base = range.first.value & ~(geometry.span() - 1);
    while (index <= last) {
      // End a window with its page: each page of a table can be read or not by
      // itself.
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

  // Tells a following sink that a window is about to be read. Its entry `first`
  // is at `gpa`, maps `base`, and is the first one to be read.
  Result<TableUse*> meet(TableWindow& window, const Level& geometry, Gpa gpa,
                         unsigned first, uint64_t base) {
    if constexpr (kFollows) {
      // The sink knows nothing below a page that it does not know.
      const bool may_be_known = window.top || window.parent != nullptr;
      if (may_be_known && sink_.follows()) {
        locate(window, geometry, gpa, first, base);
        return sink_.meet(window);
      }
    }
    return nullptr;
  }

  // Completes the window for a following sink.
  static void locate(TableWindow& window, const Level& geometry, Gpa gpa,
                     unsigned first, uint64_t base) {
    window.shift = static_cast<uint8_t>(geometry.shift);
    window.gpa = {gpa.value - uint64_t{first} * kEntryBytes};
    window.base = {base - first * geometry.span()};
    uint64_t entries = WalkScratch::kWindow;
    if (geometry.table_bytes() / kEntryBytes < entries) {
      entries = geometry.table_bytes() / kEntryBytes;
    }
    // The top table may be shorter than its level: stay within the page.
    const uint64_t room =
        (kPageBytes - (window.gpa.value & ~kPageMask)) / kEntryBytes;
    window.entries = static_cast<uint16_t>(room < entries ? room : entries);
  }

  // Tells a following sink what entry `slot` holds.
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

  // Visits entries [from, to) of those that were read. The first one that was
  // read maps `base` and is entry `slot` of its window.
  Result<void> visit_entries(const TableWindow& window, TableUse* use,
                             unsigned slot, uint64_t base, unsigned from,
                             unsigned to, IovaRange range) {
    const unsigned level = window.level;
    const uint64_t bytes = F::level(level).span();
    // Drop what is gone before anything is added: a page of tables that moves
    // within the window must not count twice.
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

  // Visits a window of a table of 4 KiB pages as page words, many at once.
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

  // Reads a window into the buffer of its level; `part` is what it maps of the
  // range. Returns false if it cannot be read but the sink lets the walk go on.
  Result<bool> read(const TableWindow& window, Gpa gpa, unsigned count,
                    IovaRange part) {
    if (++reads_ > WalkScratch::kBudget) {
      return failed(sink_.stopped(part.first, Status::kBudget));
    }
    if (kiommu_port_interrupted() != 0) {
      return failed(sink_.stopped(part.first, Status::kInterrupted));
    }
    auto done =
        guest_memory_.read_entries(gpa, scratch_.window[window.level], count);
    if (done) return true;
    return failed(unreadable(done.error(), part, window, gpa));
  }

  Result<void> unreadable(Status why, IovaRange part, const TableWindow& window,
                          Gpa gpa) {
    // The calling process may not read at all: not the guest's mistake.
    if (why == Status::kForeignProcess) return fail(why);
    // Nor is it one if the process is killed: it gets no more memory.
    if (kiommu_port_interrupted() != 0) {
      return sink_.stopped(part.first, Status::kInterrupted);
    }
    return sink_.bad(part, why, {window.above, gpa.page()});
  }

  static Result<bool> failed(const Result<void>& told) {
    if (!told) return fail(told.error());
    return false;
  }

  // Visits an entry of a table of `level` below which the walk does not go;
  // `part` is what it maps of the range.
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
                         .pages = part.page_count(),
                         .rights = rights,
                         .shift = entry.shift,
                         .level = level + 1});
    }
    return sink_.bad(part, Status::kEntryType, {level + 1, entry.address});
  }

  // Walks the table of `window`, below an entry that maps `span`. If levels
  // were skipped and the table reaches less than that, the IOVAs beyond are not
  // mapped.
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

  GuestMemory& guest_memory_;
  const WalkScratch& scratch_;
  Sink& sink_;
  unsigned reads_ = 0;
};

}  // namespace kiommu
