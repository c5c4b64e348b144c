// SPDX-License-Identifier: GPL-2.0-only
//
// RPCIT, see rpcit.hpp.
#include "rpcit.hpp"

#include "api/handles.hpp"
#include "zpci_events.hpp"
#include "zpci_function.hpp"

namespace kiommu {
namespace {

enum ConditionCode : uint32_t { kOk, kError, kBusy, kInvalidHandle };

// Program interruption codes.
constexpr uint32_t kPrivilegedOperation = 0x02;
constexpr uint32_t kSpecification = 0x06;

// Bits of a function handle.
constexpr uint32_t kEnabled = 0x80000000;
constexpr uint32_t kShm = 0x00ff0000;

// The host is at fault, whatever the guest's tables say.
constexpr bool is_of_host(Status status) {
  switch (status) {
    case Status::kNoMemory:
    case Status::kShadowLimit:
    case Status::kMemlock:
    case Status::kHost:
    case Status::kUnbacked:
    case Status::kPinRefused:
    case Status::kForeignProcess:
      return true;
    default:
      return false;
  }
}

// Errors that idle pins can contribute to.
constexpr bool trimming_helps(Status status) {
  return status == Status::kNoMemory || status == Status::kMemlock;
}

}  // namespace

void Rpcit::done(uint32_t cc) {
  rpcit_.outcome = KIOMMU_RPCIT_DONE;
  rpcit_.cc = cc;
}

void Rpcit::done(Code status) {
  constexpr unsigned kShift = 24;
  done(kError);
  rpcit_.gprs[0] = (rpcit_.gprs[0] & ~(uint64_t{0xff} << kShift)) |
                   static_cast<uint64_t>(status) << kShift;
}

void Rpcit::decode() {
  if (rpcit_.problem_state != 0 || rpcit_.r2 % 2 != 0) {
    rpcit_.outcome = KIOMMU_RPCIT_PROGRAM;
    rpcit_.program_code =
        rpcit_.problem_state != 0 ? kPrivilegedOperation : kSpecification;
    return;
  }
  rpcit_.fh = static_cast<uint32_t>(rpcit_.gprs[0] >> 32);
  if ((rpcit_.fh & kEnabled) != 0) {
    rpcit_.outcome = KIOMMU_RPCIT_LOOK_UP;
  } else if ((rpcit_.fh & kShm) != 0) {
    rpcit_.outcome = KIOMMU_RPCIT_USER_SPACE;
  } else {
    done(kInvalidHandle);
  }
}

// Returns the pages within [PBA, PAL] that the operands designate, if any.
std::optional<IovaRange> Rpcit::designated(
    const kiommu_zpci_function& function) const {
  const Iova first{rpcit_.gprs[1]};
  const Iova last = first.plus(rpcit_.gprs[2] - 1);
  if (last < first) return std::nullopt;
  const IovaRange range =
      IovaRange::of_pages(first.page_number(), last.page_number());
  const IovaRange space = zpci_dma_space(function.ioat);
  if (!range.overlaps(space)) return std::nullopt;
  return intersection(range, space);
}

void Rpcit::step(kiommu_zpci_function& function, Domain& domain) {
  const uint32_t state = zpci_state(function);
  if (rpcit_.fh != function.fh || state == KIOMMU_ZPCI_DISABLED) {
    return done(kInvalidHandle);
  }
  if (state == KIOMMU_ZPCI_ERROR) return done(Code::kRecover);
  kiommu_refresh_result nothing{};
  nothing.stopped_iova = rpcit_.gprs[1];
  const Stage1* stage1 = domain.joined(function.anchor);
  if (stage1 == nullptr) {
    return refuse(function, Status::kNoAnchor, nothing);
  }
  if (rpcit_.gprs[2] == 0) return done(kOk);
  const auto range = designated(function);
  if (!range) return refuse(function, Status::kOutOfRange, nothing);
  if (!range->overlaps(stage1->window)) return done(kOk);
  IovaRange rest = intersection(*range, stage1->window);
  // Earlier rounds got this far.
  if (rest.last.value < rpcit_.next) return done(kOk);
  if (rest.first.value < rpcit_.next) rest.first = {rpcit_.next};
  round(function, domain, rest);
}

void Rpcit::round(kiommu_zpci_function& function, Domain& domain,
                  IovaRange range) {
  kiommu_refresh_result result{};
  result.stopped_iova = range.first.value;
  const auto refreshed = domain.refresh(range, &result);
  rpcit_.changed += result.mapped + result.unmapped;
  if (refreshed) return done(kOk);
  rpcit_.next = result.stopped_iova;
  const Status why = refreshed.error();
  if (why == Status::kInterrupted) {
    rpcit_.outcome = KIOMMU_RPCIT_RETRY;
  } else if (why == Status::kBudget) {
    if (rpcit_.changed > kBusyPages) return done(kBusy);
    rpcit_.outcome = KIOMMU_RPCIT_AGAIN;
  } else if (trimming_helps(why) && rpcit_.made_room == 0 &&
             domain.idle_pages() > 0) {
    rpcit_.made_room = 1;
    rpcit_.outcome = KIOMMU_RPCIT_MAKE_ROOM;
  } else {
    const IovaRange rest{{result.stopped_iova}, range.last};
    domain.drop_stale(rest);
    refuse(function, why, result);
  }
}

void Rpcit::refuse(kiommu_zpci_function& function, Status why,
                   const kiommu_refresh_result& result) {
  if (is_of_host(why)) return done(Code::kInsufficient);
  if (!zpci_enter_error(function)) return done(Code::kRecover);
  rpcit_.event = {.pec = zpci_event_code(why, kNoRights),
                  .fh = function.fh,
                  .status = is_guest_mistake(why) ? status_code(why) : 0,
                  .address = result.stopped_iova,
                  .level = result.level,
                  .gpa = result.gpa,
                  .has_gpa = result.has_gpa};
  done(Code::kInError);
}

}  // namespace kiommu
