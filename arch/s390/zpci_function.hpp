// SPDX-License-Identifier: GPL-2.0-only
//
// The zPCI functions that KVM handles: their state, their handle, and the I/O
// address translation (IOAT) that the guest registers by MPCIFC. Sources are
// marked as in rpcit.hpp.
//
//   DISABLED --CLP enable--> ENABLED --RPCIT, VMM--> ERROR
//            <--CLP disable, reset--                   | MPCIFC 9
//              (from all)    <--MPCIFC 7-- BLOCKED <---'
//                            <--MPCIFC 7-- ERROR
//                                BLOCKED --RPCIT, VMM--> ERROR
//
// All other transitions are out of sequence: status 24 [Q].
//
// REG_IOAT (MPCIFC 4; [Q] unless stated otherwise)
//   disabled                       -ESHUTDOWN     CC 3
//   ERROR, BLOCKED                 as ENABLED
//   registered already             -EPROTO        CC 1, status 24
//   low 12 bits of PBA and PAL     ignored: rounded out to whole pages
//   PBA above PAL, PBA below SDMA, or not all within the host's aperture
//                                  -EINVAL        operand exception
//   T = 1 and designation type 4 to 7, FS not 0, or bit 0x400
//                                  -EINVAL        operand exception
//   origin misaligned              -EINVAL        operand exception [O]
//   PAL beyond what the tables reach: cut to what they reach [A]; PBA, too:
//                                  -EINVAL        operand exception [O]
//   tables not in guest memory     -EIO           CC 1, status 16 [O]
//   another anchor in the domain   -EEXIST        CC 1, status 16 [O]
//   no KVM                         -ENODEV        CC 1, status 16 [O]
// The DMA address space of the operands must be 0, else status 28; the VMM
// checks that.
//
// After a registration, kiommu_zpci_shadow_ioat() shadows what the tables hold
// already: Linux registers tables that are filled again after CLP disable and
// enable, and when a second function joins, without an RPCIT [L]. (QEMU does
// not shadow them.) Bad entries are not an error then, because no RPCIT has
// asked for them yet; from the first one on, the tables are left to RPCIT [O].
//
// T = 0: there are no tables and the rest of the IOTA has no meaning; IOVA =
// GPA + SDMA for all of memory, within [PBA, PAL] [Q]. Linux never executes
// RPCIT then [L], so memory that cannot be mapped is an error of the
// registration [O].
//
// Functions in one VFIO container share a domain. The first one's anchor is the
// domain's; others join with the same anchor; it is unset with the last one
// [O]. So a function that deregisters keeps its access for as long as another
// one has the anchor registered; to avoid that, give each a container.
//
// DEREG_IOAT: if nothing is registered, -EPROTO, status 24. With the last
// function, everything is unmapped, flushed and unpinned on return, so that
// REREG (MPCIFC 6), which is DEREG and REG, keeps no old mapping. A
// registration also ends by CLP disable, reset, STOP, or when user space unsets
// the anchor; an RPCIT finds none then.
#pragma once

#include "domain/domain.hpp"
#include "zpci.h"

namespace kiommu {

// [PBA, PAL], rounded out to whole pages.
constexpr IovaRange zpci_dma_space(const kiommu_zpci_ioat& ioat) {
  return {Iova{ioat.pba}.page(), {ioat.pal | ~kPageMask}};
}

inline uint32_t zpci_state(const kiommu_zpci_function& function) {
  return __atomic_load_n(&function.state, __ATOMIC_RELAXED);
}

// Moves the function from ENABLED or BLOCKED to ERROR. The caller holds D for
// reading. Returns false if the function is in ERROR already.
bool zpci_enter_error(kiommu_zpci_function& function);

// See zpci.h.
Result<void> zpci_reg_ioat(kiommu_zpci_function& function, Domain& domain,
                           const kiommu_zpci_ioat& ioat);
Result<void> zpci_shadow_ioat(const kiommu_zpci_function& function,
                              Domain& domain, kiommu_u64* next);
Result<void> zpci_dereg_ioat(kiommu_zpci_function& function, Domain& domain);
Result<void> zpci_set_state(kiommu_zpci_function& function, Domain& domain,
                            uint32_t state);

}  // namespace kiommu
