// SPDX-License-Identifier: GPL-2.0-only
//
// What walks tell the tracker, see table_follower.hpp.
#include "sync/table_follower.hpp"

#include "faults/codes.hpp"

namespace kiommu {

Result<TableUse*> TableFollower::meet(const TableWindow& window,
                                      IovaRange walked,
                                      GuestMemory& guest_memory) {
  const IovaRange span = window.span();
  std::optional<IovaRange> met;
  if (!follows || !whole(span, walked)) {
    TableUse* use = tracker.meet(window, for_refresh, &met);
    note(met);
    return use;
  }
  // KVM still tracks pages of a slot that is about to go; the lookup does not
  // find such a slot any more.
  auto slot = guest_memory.slot(window.gpa.page_number());
  // A failed lookup does not mean that there is no slot.
  if (!slot && !is_guest_mistake(slot.error())) {
    return fail(slot.error());
  }
  if (!slot || (*slot)->read_only) {
    tracker.drop_window(window);
    return nullptr;
  }
  bool unfollowed = false;
  auto use =
      tracker.enter(window, {walk, pass, covered(walked)}, &unfollowed, &met);
  note(met);
  if (unfollowed) report_unsync(window.base, window.gpa);
  return use;
}

void TableFollower::note(std::optional<IovaRange> met) {
  if (!met) return;
  const IovaRange part = intersection(*met, limit);
  unsynced = unsynced ? hull(*unsynced, part) : part;
}

void TableFollower::meet_entry(TableUse* use, unsigned slot, IovaRange walked,
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

void TableFollower::finish_reports() {
  if (reports > FaultQueue::kRecords) {
    faults.count_lost(reports - FaultQueue::kRecords);
  }
  reports = 0;
}

void TableFollower::report(IovaRange range, Status why, const Blame& blame) {
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

void TableFollower::report_unsync(std::optional<Iova> iova, Gpa gpa) const {
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
