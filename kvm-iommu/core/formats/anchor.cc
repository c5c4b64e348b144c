// SPDX-License-Identifier: GPL-2.0-only
//
// Checks an anchor, see anchor.hpp.
#include "formats/anchor.hpp"

#include "formats/list.hpp"

namespace kiommu {
namespace {

// The IOVAs that the guest may use: all that the tables reach, unless the
// anchor limits them.
Result<IovaRange> checked_window(const kiommu_anchor& anchor, IovaRange reach) {
  if (anchor.first == 0 && anchor.last == 0) return reach;
  const IovaRange window{{anchor.first}, {anchor.last}};
  if (!window.first.aligned(kPageBytes) ||
      !window.last.plus(1).aligned(kPageBytes)) {
    return fail(Status::kMisaligned);
  }
  if (window.first > window.last || !reach.contains(window)) {
    return fail(Status::kOutOfRange);
  }
  return window;
}

constexpr Rights anchor_rights(const kiommu_anchor& anchor) {
  return {anchor.rights};
}

Result<Stage1> check_identity(const kiommu_anchor& anchor) {
  if (anchor.iota != 0 || anchor.levels != 0) {
    return fail(Status::kUnusedField);
  }
  const Iova offset{anchor.offset};
  if (!offset.aligned(kPageBytes)) return fail(Status::kMisaligned);
  auto window = checked_window(anchor, {offset, {~uint64_t{0}}});
  if (!window) return fail(window.error());
  Root root;
  root.rights = anchor_rights(anchor);
  return Stage1{anchor, root, *window};
}

}  // namespace

Result<Stage1> check_anchor(const kiommu_anchor& anchor,
                            GuestMemory& guest_memory) {
  if (!anchor_rights(anchor).any() || (anchor.rights & ~kReadWrite.bits) != 0) {
    return fail(Status::kBadRights);
  }
  if (anchor.format == kIdentityFormatId) return check_identity(anchor);
  return FormatList::dispatch<Stage1>(
      anchor.format, [&]<TableFormat F>() -> Result<Stage1> {
        if (anchor.offset != 0) return fail(Status::kUnusedField);
        auto root = F::root(anchor);
        if (!root) return fail(root.error());
        root->rights = root->rights & anchor_rights(anchor);
        const Level top = F::level(root->level);
        auto window = checked_window(anchor, {{0}, {root->reach_last}});
        if (!window) return fail(window.error());
        const uint64_t used = top.index(window->last) + 1;
        if (auto fit =
                guest_memory.check_table(root->table, used * kEntryBytes);
            !fit) {
          // A lookup that failed is not the guest's mistake.
          const Status why = fit.error();
          const bool unknown =
              why == Status::kNoMemory || why == Status::kBudget;
          return fail(unknown ? why : Status::kBadTable);
        }
        return Stage1{anchor, *root, *window};
      });
}

}  // namespace kiommu
