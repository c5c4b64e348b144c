// SPDX-License-Identifier: GPL-2.0-only
//
// The life of a zPCI function in KVM's hands: its state, its handle, and the
// I/O address translation that the guest registers by MPCIFC. Sources are
// named as in rpcit.hpp.
//
//   DISABLED --CLP enable--> ENABLED --RPCIT, VMM--> ERROR
//            <--CLP disable, reset--                   | MPCIFC 9
//              (from all)    <--MPCIFC 7-- BLOCKED <---'
//                            <--MPCIFC 7-- ERROR
//
// All other transitions are out of sequence: status 24 [Q].
//
// REG_IOAT (MPCIFC 4; [Q] unless said otherwise)
//   disabled                       -ESHUTDOWN     CC 3
//   ERROR, BLOCKED                 as ENABLED
//   registered already             -EPROTO        CC 1, status 24
//   low 12 bits of PBA and PAL     ignored: whole pages around
//   PBA above PAL, or not in [SDMA, ...], or out of the host's aperture
//                                  -EINVAL        operand exception
//   T, designation type 4 to 7, FS or bit 0x400 of an IOTA with tables
//                                  -EINVAL        operand exception
//   origin misaligned              -EINVAL        operand exception [O]
//   PAL beyond what the tables reach: they end where they do [A]; PBA, too:
//                                  -EINVAL        operand exception [O]
//   tables out of guest memory     -EIO           CC 1, status 16 [O]
//   another anchor in the domain   -EEXIST        CC 1, status 16 [O]
//   no KVM                         -ENODEV        CC 1, status 16 [O]
// The DMA address space of the operands must be 0, else status 28: the VMM
// looks at that.
//
// What the tables hold already is shadowed after registration, by
// kiommu_zpci_shadow_ioat(): Linux registers filled tables anew after CLP
// disable and enable, and when a second function joins, without an RPCIT [L].
// (QEMU does not do that.) Bad entries are no error then: nobody asked for
// them yet; what comes after the first is left to RPCIT [O].
//
// T = 0: no tables, the rest of the IOTA has no meaning; IOVA = GPA + SDMA for
// all of memory, within [PBA, PAL] [Q]. Linux never executes RPCIT then [L];
// what cannot be mapped is an error of the registration [O].
//
// Functions in one VFIO container share a domain. The first one's anchor is
// the domain's; others join with the same; it goes with the last [O]. So a
// function that deregisters can reach what it could for as long as another one
// has it registered: who does not want that gives each a container.
//
// DEREG_IOAT: nothing registered: -EPROTO, status 24. Everything is unmapped,
// flushed and unpinned on return, so that REREG (6), which is DEREG and REG,
// keeps no old mapping. A registration also ends by CLP disable, reset, STOP,
// or when user space takes the anchor away; an RPCIT then finds none.
#pragma once

#include "domain/domain.hpp"
#include "zpci.h"

namespace kiommu {

// [PBA, PAL].
constexpr IovaRange zpci_dma_space(const kiommu_zpci_ioat& ioat) {
  return {Iova{ioat.pba}.page(), {ioat.pal | ~kPageMask}};
}

inline uint32_t zpci_state(const kiommu_zpci_function& function) {
  return __atomic_load_n(&function.state, __ATOMIC_RELAXED);
}

// ENABLED or BLOCKED -> ERROR, with D shared; false if somebody else did that.
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
