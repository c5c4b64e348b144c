// SPDX-License-Identifier: GPL-2.0-only
//
// The C entry points of zpci.h.
#include "api/handles.hpp"
#include "rpcit.hpp"
#include "zpci_function.hpp"

using kiommu::Rpcit;
using kiommu::to_errno;

void kiommu_rpcit_decode(kiommu_rpcit* rpcit) { Rpcit(*rpcit).decode(); }

void kiommu_rpcit_unknown(kiommu_rpcit* rpcit) { Rpcit(*rpcit).unknown(); }

void kiommu_rpcit_step(kiommu_rpcit* rpcit, kiommu_zpci_function* function,
                       kiommu_domain* domain) {
  Rpcit(*rpcit).step(*function, domain->domain);
}

int kiommu_zpci_reg_ioat(kiommu_zpci_function* function, kiommu_domain* domain,
                         const kiommu_zpci_ioat* ioat) {
  return to_errno(kiommu::zpci_reg_ioat(*function, domain->domain, *ioat));
}

int kiommu_zpci_shadow_ioat(const kiommu_zpci_function* function,
                            kiommu_domain* domain, kiommu_u64* next) {
  return to_errno(kiommu::zpci_shadow_ioat(*function, domain->domain, next));
}

int kiommu_zpci_dereg_ioat(kiommu_zpci_function* function,
                           kiommu_domain* domain) {
  return to_errno(kiommu::zpci_dereg_ioat(*function, domain->domain));
}

int kiommu_zpci_set_state(kiommu_zpci_function* function, kiommu_domain* domain,
                          kiommu_u32 state) {
  return to_errno(kiommu::zpci_set_state(*function, domain->domain, state));
}

void kiommu_zpci_reset(kiommu_zpci_function* function, kiommu_domain* domain) {
  (void)kiommu::zpci_set_state(*function, domain->domain, KIOMMU_ZPCI_DISABLED);
}

void kiommu_zpci_set_handle(kiommu_zpci_function* function, kiommu_u32 fh) {
  function->fh = fh;
}
