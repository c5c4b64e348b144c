// SPDX-License-Identifier: GPL-2.0-only
//
// What walks tell a tracker, see follow.hpp.
#include "follow.hpp"

#include "door.hpp"
#include "fault_codes.hpp"

namespace kiommu {

Result<TableUse*> Follow::meet(const TableWindow& window, IovaRange walked,
                               Stage2& stage2) {
  const IovaRange span = window.span();
  if (!follows || !whole(span, walked)) {
    std::optional<IovaRange> met;
    TableUse* use = tracker.meet(window, for_refresh, &met);
    if (met && !follows) {
      const IovaRange part = intersection(*met, limit);
      unsynced = unsynced ? hull(*unsynced, part) : part;
    }
    return use;
  }
  // Slots that are about to go can still be tracked; here they are not found.
  auto region = stage2.region(window.gpa.page_number());
  // That it could not be found out does not mean that there is none.
  if (!region && !is_guest_mistake(region.error())) {
    return fail(region.error());
  }
  if (!region || (*region)->read_only) {
    tracker.drop_window(window);
    return nullptr;
  }
  bool crowded = false;
  auto use = tracker.enter(window, {walk, pass, covered(walked)}, &crowded);
  if (crowded) report_unsynced(window.base, window.gpa);
  return use;
}

void Follow::meet_entry(TableUse* use, unsigned slot, IovaRange walked,
                        const Entry* table) {
  if (!follows) return;
  const TableUse* child = use->child(slot);
  if (child == nullptr) return;
  const TableWindow& window = use->window;
  const Iova first = window.base.plus(uint64_t{slot} << window.shift);
  const Iova last = first.plus((uint64_t{1} << window.shift) - 1);
  if (!whole({first, last}, walked)) return;
  if (table == nullptr || child->sibling != nullptr ||
      child->window.table != table->address ||
      child->window.level != table->level) {
    tracker.drop(use, slot, table);
  }
}

void Follow::finish_reports() {
  if (reports > FaultQueue::kRecords) {
    faults.count_lost(reports - FaultQueue::kRecords);
  }
  reports = 0;
}

void Follow::report(IovaRange range, Status why, const Blame& blame) {
  if (++reports > FaultQueue::kRecords) return;
  kiommu_fault fault{};
  fault.iova = range.first.value;
  fault.reason = static_cast<uint32_t>(fault_reason(why));
  fault.flags = FaultFlags::kHasIova | FaultFlags::kHasFormat;
  fault.code = fault_code(format, why, kNoRights);
  fault.status = status_code(why);
  fault.format = format;
  fault.level = blame.level;
  if (blame.names) {
    fault.flags |= FaultFlags::kHasGpa;
    fault.gpa = blame.names->value;
  }
  faults.report(fault);
}

void Follow::report_unsynced(std::optional<Iova> iova, Gpa gpa) const {
  kiommu_fault fault{};
  fault.gpa = gpa.page().value;
  fault.reason = static_cast<uint32_t>(FaultReason::kSync);
  fault.flags = FaultFlags::kHasGpa | FaultFlags::kHasFormat;
  if (iova) {
    fault.flags |= FaultFlags::kHasIova;
    fault.iova = iova->value;
  }
  fault.format = format;
  faults.report(fault);
}

}  // namespace kiommu
