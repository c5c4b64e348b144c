// SPDX-License-Identifier: GPL-2.0-only
//
// RPCIT (refresh PCI translations, B9D3): which answer a guest gets. zPCI has
// no public architecture document; the source of each decision is given:
//   [L] what Linux 6.12 does as a guest (arch/s390/pci/pci_insn.c,
//       drivers/iommu/s390-iommu.c)
//   [Q] what QEMU answers (rpcit_service_call() in hw/s390x/s390-pci-inst.c)
//   [A] follows from what else is known of the architecture
//   [O] our own, and why
//
// Operands: r1: function handle in bits 0-31, status byte out in bits 32-39;
// r2: IOVA; r2 + 1: length in bytes.
//
// In this order:
//   problem state                  privileged-operation exception         [Q]
//   r2 is odd                      specification exception                [Q]
//   handle that is not enabled     CC 3                                   [Q]
//   the same, with SHM bits        user space: emulated by the VMM        [Q]
//     (others with these bits are looked up as any: a host that is itself a
//     guest has them in its functions' handles)                          [A]
//   unknown handle                 user space: the function can be the
//                                  VMM's, in a container of type1; who
//                                  knows it neither answers CC 3          [O]
//   changed between look-up and lock, or function disabled: CC 3        [A][Q]
//   function in state ERROR        CC 1, status 40                        [Q]
//   BLOCKED                        as ENABLED                             [Q]
//   no IOAT registered             CC 1, status 8, event 1                [Q]
//   length 0                       CC 0, and nothing else is looked at    [O]
//     (it designates nothing; QEMU does look at the address)
//   low 12 bits of IOVA and end    ignored: whole pages around        [A][O]
//     (QEMU takes such operands, but may leave out the last page)
//   range above 2^64, or all of it outside of [PBA, PAL]
//                                  CC 1, status 8, event 2                [Q]
//   partly outside                 the part inside is refreshed           [Q]
//     (nothing can be mapped outside, so that all of it is up to date)
//   inside, but beyond the tables  likewise: nothing can be mapped there  [A]
//
// Then the range is refreshed in rounds, from below, up to the first page for
// which that fails. By Status:
//   none                           CC 0
//   kBudget                        another round; CC 2 once more than
//                                  kBusyPages have changed            [L][O]
//   kInterrupted                   the instruction is executed anew       [O]
//   kEntryType                     CC 1, status 8, event 9                [Q]
//   kEntryLength                   CC 1, status 8, event 8                [Q]
//   kEntryReserved, kNoSlot, kReadOnly, kMmio, kPrivate: an entry names what
//     cannot be used               CC 1, status 8, event 7             [Q][O]
//     (QEMU: event 7 for tables; it maps nothing for other pages, and the DMA
//     fails later)
//   kReservedIova, kOutOfRange: not for this guest on this host
//                                  CC 1, status 8, event 2                [O]
//   kNoAnchor, kNoKvm: the VMM took it away
//                                  CC 1, status 8, event 1                [O]
//   kNoMemory, kShadowLimit, kMemlock
//                                  make room, see below; CC 1, status 16
//                                                                      [L][Q]
//   kHost, kUnbacked, kPinRefused, kForeignProcess: the host cannot
//                                  CC 1, status 16                        [O]
//     (no fault of the guest; Linux fails the one map with ENOMEM, and the
//     function goes on)
//
// Status 8 puts the function into state ERROR, once; who comes second gets
// status 40 and no event. Its mappings stay, as QEMU's do: a guest that
// recovers with MPCIFC 7 does not register anew.
//
// An answer other than CC 0 leaves all below the failing page done. Above it
// nothing is mapped anew, but what the guest has given up is unmapped in the
// whole range: the guest may think so [O].
//
// Make room: Linux answers status 16 (and 4) with an RPCIT over all of its DMA
// space, "to let the hypervisor discover invalidated entries", and fails if
// that fails [L]. So what is stale further on must go before the answer: a
// refresh that runs short does that and tries once more (Domain::refresh());
// pins that are idle then, or were before, still count for RLIMIT_MEMLOCK, and
// are trimmed by the caller between two rounds, once an instruction [O]. Of the
// shadow's limit it makes room only for IOVAs near those that were mapped
// before: what a host keeps of its tables stays counted until the IOAT is
// registered anew.
//
// CC 2 makes Linux repeat the instruction after 1 us [L]. Nothing tells a
// repetition from another RPCIT of the same operands, whose sender must not
// find pages left out: so each begins at the start of the range. What was
// mapped stays mapped, and is only compared the next time; a repetition that
// ends with CC 2 has changed kBusyPages more. So repetitions come to an end.
// Rounds that change nothing never end with CC 2: they would, again and again.
#pragma once

#include "domain/domain.hpp"
#include "zpci.h"

namespace kiommu {

class Rpcit {
 public:
  // Pages that an instruction may map and unmap in rounds that are not the
  // last: 4 GiB.
  static constexpr uint64_t kBusyPages = uint64_t{1} << 20;

  explicit Rpcit(kiommu_rpcit& rpcit) : rpcit_(rpcit) {}

  // See zpci.h.
  void decode();
  void unknown() { rpcit_.outcome = KIOMMU_RPCIT_USER_SPACE; }
  void step(kiommu_zpci_function& function, Domain& domain);

 private:
  // Of the status byte, with CC 1.
  enum class Code : uint32_t {
    kInError = 8,
    kInsufficient = 16,
    kRecover = 40,
  };

  std::optional<IovaRange> designated(const kiommu_zpci_function& f) const;
  void round(kiommu_zpci_function& function, Domain& domain, IovaRange range);
  void refuse(kiommu_zpci_function& function, Status why,
              const kiommu_refresh_result& result);
  void done(uint32_t cc);
  void done(Code status);

  kiommu_rpcit& rpcit_;
};

}  // namespace kiommu
