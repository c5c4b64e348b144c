// SPDX-License-Identifier: GPL-2.0-only
//
// The walker of the core, as it is, over a port that has one memory slot: all
// addresses, by the caller's reader. See walk.h.
#include "walk.h"

#include <cerrno>
#include <cstdlib>

#include "formats/list.hpp"
#include "tables/walker.hpp"

struct kiommu_guest {
  const walk_tables* tables;
};

int kiommu_port_find_slot(kiommu_guest*, kiommu_u64, kiommu_slot* slot) {
  *slot = {.first_gfn = 0,
           .pages = ~kiommu_u64{0} >> kiommu::kPageShift,
           .hva = 0,
           .flags = 0};
  return 0;
}

int kiommu_port_read_entries(kiommu_guest* guest, kiommu_u64 hva,
                             kiommu_u64* entries, kiommu_u32 count) {
  const std::size_t size = count * sizeof(*entries);
  return guest->tables->read(hva, entries, size) == 0 ? 0 : -EFAULT;
}

int kiommu_port_read_entry(kiommu_guest* guest, kiommu_u64 hva,
                           kiommu_u64* entry) {
  return kiommu_port_read_entries(guest, hva, entry, 1);
}

// There is no ring.
int kiommu_port_write_entries(kiommu_guest*, kiommu_u64, const kiommu_u64*,
                              kiommu_u32) {
  return -EFAULT;
}

void kiommu_port_yield() {}
int kiommu_port_interrupted() { return 0; }

// What the slot is kept in; there is one thread.
void* kiommu_port_alloc_array(kiommu_u64 bytes) {
  return std::calloc(1, bytes);
}
void kiommu_port_free_array(void* array) { std::free(array); }
void kiommu_port_lock(kiommu_mutex*) {}
void kiommu_port_unlock(kiommu_mutex*) {}

namespace kiommu {
namespace {

class Collect {
 public:
  using Found = void (*)(const walk_leaf*, void*);

  Collect(Found found, void* data) : found_(found), data_(data) {}

  Result<void> absent(IovaRange) { return {}; }
  Result<void> leaf(const Leaf& leaf) {
    const walk_leaf out{leaf.iova.value, leaf.gpa.value, leaf.pages,
                        leaf.rights.bits, leaf.shift};
    found_(&out, data_);
    return {};
  }
  Result<void> pages(Iova at, const kiommu_u64* words, unsigned n) {
    for (unsigned i = 0; i < n; ++i, at = at.plus(kPageBytes)) {
      if (words[i] == PageWord::kAbsent) continue;
      (void)leaf({.iova = at,
                  .gpa = Gpa::of_page(PageWord::gfn(words[i])),
                  .pages = 1,
                  .rights = PageWord::rights(words[i]),
                  .shift = kPageShift});
    }
    return {};
  }
  Result<void> bad(IovaRange, Status why, const Blame&) { return fail(why); }
  Result<void> stopped(Iova at, Status why) {
    stopped_at = at;
    return fail(why);
  }

  Iova stopped_at;

 private:
  Found found_;
  void* data_;
};

// Errors of entries are the first of both enumerations, in the same order.
int status_of(Status why) { return static_cast<int>(why) + 1; }

template <TableFormat F>
int walk(kiommu_guest* guest, const Root& root, IovaRange range,
         Collect& sink) {
  kiommu_u64 windows[kMaxLevels][WalkScratch::kWindow];
  kiommu_u64 words[WalkScratch::kWindow];
  SlotTable slots(guest, nullptr);
  WalkScratch scratch;
  scratch.words = words;
  for (unsigned i = 0; i < kMaxLevels; ++i) scratch.window[i] = windows[i];
  for (;;) {
    GuestMemory memory(guest, slots);
    auto done = Walker<F, Collect>(memory, scratch, sink).walk(root, range);
    if (done) return 0;
    if (done.error() != Status::kBudget) return status_of(done.error());
    range.first = sink.stopped_at;
  }
}

}  // namespace
}  // namespace kiommu

int walk_range(const struct walk_tables* tables, uint64_t first, uint64_t last,
               void (*found)(const walk_leaf*, void*), void* data) {
  kiommu_guest guest{tables};
  kiommu_anchor anchor{};
  anchor.rights = 3;
  anchor.format = tables->format;
  anchor.levels = tables->levels;
  anchor.iota = tables->iota;
  kiommu::Collect sink(found, data);
  auto status = kiommu::FormatList::dispatch<int>(
      tables->format, [&]<kiommu::TableFormat F>() -> kiommu::Result<int> {
        auto root = F::root(anchor);
        if (!root) return kiommu::fail(root.error());
        if (last > root->reach_last) last = root->reach_last;
        if (first > last) return 0;
        return kiommu::walk<F>(&guest, *root, {{first}, {last}}, sink);
      });
  return status ? *status : -EINVAL;
}
