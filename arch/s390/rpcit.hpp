// SPDX-License-Identifier: GPL-2.0-only
//
// RPCIT (refresh PCI translations, B9D3): the answers that a guest gets. zPCI
// has no public architecture document; the source of each decision is given:
//   [L] what Linux 6.12 does as a guest (arch/s390/pci/pci_insn.c,
//       drivers/iommu/s390-iommu.c)
//   [Q] what QEMU answers (rpcit_service_call() in hw/s390x/s390-pci-inst.c)
//   [A] follows from what else is known of the architecture
//   [O] our own choice, and why
//
// Operands: r1: function handle in bits 0-31, status byte out in bits 32-39;
// r2: IOVA; r2 + 1: length in bytes.
//
// Checked in this order:
//   problem state                  privileged-operation exception         [Q]
//   r2 is odd                      specification exception                [Q]
//   handle that is not enabled     CC 3                                   [Q]
//   the same, with SHM bits        user space: emulated by the VMM        [Q]
//     (enabled handles with these bits are looked up like any other: a host
//     that is itself a guest has them in its functions' handles)         [A]
//   unknown handle                 user space: the VMM may have the
//                                  function in a container of type1; if it
//                                  does not, it answers CC 3              [O]
//   changed between lookup and lock, or function disabled: CC 3        [A][Q]
//   function in state ERROR        CC 1, status 40                        [Q]
//   BLOCKED                        as ENABLED                             [Q]
//   no IOAT registered             CC 1, status 8, event 1                [Q]
//   length 0                       CC 0, without further checks           [O]
//     (it designates nothing; QEMU does check the address)
//   low 12 bits of IOVA and end    ignored: rounded out to pages       [A][O]
//     (QEMU takes such operands, but may leave out the last page)
//   range above 2^64, or all of it outside of [PBA, PAL]
//                                  CC 1, status 8, event 2                [Q]
//   partly outside                 the part inside is refreshed           [Q]
//     (nothing can be mapped outside, so all of that is up to date)
//   inside, but beyond the tables  likewise: nothing can be mapped there  [A]
//
// Then the range is refreshed in rounds, in ascending order, up to the first
// page that fails. By Status:
//   none                           CC 0
//   kBudget                        another round; CC 2 once more than
//                                  kBusyPages have changed            [L][O]
//   kInterrupted                   the instruction is executed again      [O]
//   kEntryType                     CC 1, status 8, event 9                [Q]
//   kEntryLength                   CC 1, status 8, event 8                [Q]
//   kEntryReserved, kNoSlot, kReadOnly, kMmio, kPrivate: an entry points to
//     what cannot be used          CC 1, status 8, event 7             [Q][O]
//     (QEMU: event 7 for tables; it maps nothing for other pages, and the DMA
//     fails later)
//   kReservedIova, kOutOfRange: not for this guest on this host
//                                  CC 1, status 8, event 2                [O]
//   kNoAnchor, kNoKvm: the VMM took it away
//                                  CC 1, status 8, event 1                [O]
//   kNoMemory, kShadowLimit, kMemlock
//                                  make room, see below; CC 1, status 16
//                                                                      [L][Q]
//   kHost, kUnbacked, kPinRefused, kForeignProcess: the host is at fault
//                                  CC 1, status 16                        [O]
//     (not the guest's fault; Linux fails the one map with ENOMEM, and the
//     function goes on)
//
// Status 8 puts the function into state ERROR, once; a second RPCIT at the same
// time gets status 40 and no event. The mappings stay, as QEMU's do: a guest
// that recovers with MPCIFC 7 does not register again.
//
// When a round ends with CC 1, all below the failing page is done. Above it
// nothing new is mapped, but what the guest has given up is unmapped in the
// whole range, because the guest may rely on that [O]. CC 2 leaves the rest of
// the range to the repetition.
//
// Make room: on status 16 (and 4) Linux executes an RPCIT over all of its DMA
// space, "to let the hypervisor discover invalidated entries", and fails if
// that fails [L]. So stale mappings further on must go before the answer: a
// refresh that runs short drops them and tries once more (Domain::refresh()).
// Pages that are idle then, or were before, still count for RLIMIT_MEMLOCK; the
// caller trims them between two rounds, once per instruction [O]. Of the
// shadow's limit, this makes room only for IOVAs near those that were mapped
// before: the page tables that a host keeps stay counted until the IOAT is
// registered again.
//
// CC 2 makes Linux repeat the instruction after 1 us [L]. A repetition cannot
// be told from another RPCIT with the same operands, which must not leave out
// any page, so each begins at the start of the range. What was mapped stays
// mapped and is only compared the next time, and a repetition that ends with CC
// 2 has changed more than kBusyPages again. So the repetitions come to an end.
// Rounds that change nothing never end with CC 2: they would do so forever.
#pragma once

#include "domain/domain.hpp"
#include "zpci.h"

namespace kiommu {

class Rpcit {
 public:
  // Once an instruction has mapped and unmapped more pages than this, 4 GiB, a
  // round that is not the last ends it with CC 2.
  static constexpr uint64_t kBusyPages = uint64_t{1} << 20;

  explicit Rpcit(kiommu_rpcit& rpcit) : rpcit_(rpcit) {}

  // See zpci.h.
  void decode();
  void unknown() { rpcit_.outcome = KIOMMU_RPCIT_USER_SPACE; }
  void step(kiommu_zpci_function& function, Domain& domain);

 private:
  // The status byte, with CC 1.
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
