// SPDX-License-Identifier: GPL-2.0-only
//
// The door of core.h: from C to the domain and back. The one place where a
// Status becomes an errno or a status code of the user-space interface.
#include "../include/core.h"

#include <new>

#include "domain.hpp"

struct kiommu_domain {
  kiommu::Domain domain;
};

namespace {

using kiommu::Domain;
using kiommu::Result;
using kiommu::Status;

static_assert(sizeof(kiommu_domain) <= KIOMMU_NODE_BYTES);

// Linux errno values that are the same on x86 and s390 (asm-generic).
enum Errno : int {
  kEperm = 1,
  kEintr = 4,
  kEio = 5,
  kEnxio = 6,
  kEagain = 11,
  kEnomem = 12,
  kEbusy = 16,
  kEexist = 17,
  kEnodev = 19,
  kEinval = 22,
  kEnospc = 28,
  kEdom = 33,
  kErange = 34,
  kEoverflow = 75,
  kEprototype = 91,
  kEprotonosupport = 93,
  kEopnotsupp = 95,
  kEaddrnotavail = 99,
  kEremoteio = 121,
  kEdquot = 122,
};

struct Code {
  int error;
  kiommu_u32 status;  // enum kvm_iommu_status; 0: the call was refused
};

constexpr Code code_of(Status status) {
  switch (status) {
    case Status::kEntryType:
      return {kEio, 1};
    case Status::kEntryLength:
      return {kEio, 2};
    case Status::kEntryReserved:
      return {kEio, 3};
    case Status::kNoSlot:
      return {kEio, 4};
    case Status::kUnbacked:
      return {kEio, 5};
    case Status::kReadOnly:
      return {kEio, 6};
    case Status::kMmio:
      return {kEio, 7};
    case Status::kPrivate:
      return {kEio, 8};
    case Status::kPinRefused:
      return {kEio, 9};
    case Status::kReservedIova:
      return {kEio, 10};
    case Status::kNotMapped:
      return {kEio, 11};
    case Status::kNoMemory:
      return {kEnomem, 16};
    case Status::kShadowLimit:
      return {kEnospc, 17};
    case Status::kMemlock:
      return {kEdquot, 18};
    case Status::kBudget:
      return {kEagain, 19};
    case Status::kInterrupted:
      return {kEintr, 20};
    case Status::kHost:
      return {kEremoteio, 24};
    case Status::kNoKvm:
      return {kEnodev, 0};
    case Status::kNoAnchor:
      return {kEnxio, 0};
    case Status::kKvmBusy:
      return {kEbusy, 0};
    case Status::kAnchorBusy:
      return {kEexist, 0};
    case Status::kForeignProcess:
      return {kEperm, 0};
    case Status::kMisaligned:
      return {kEdom, 0};
    case Status::kOverflow:
      return {kEoverflow, 0};
    case Status::kOutOfRange:
      return {kErange, 0};
    case Status::kUnknownFormat:
      return {kEprotonosupport, 0};
    case Status::kBadDesignation:
      return {kEprototype, 0};
    case Status::kBadTable:
      return {kEaddrnotavail, 0};
    case Status::kUnusedField:
      return {kEopnotsupp, 0};
    case Status::kConflict:
      return {kEinval, 0};
  }
  return {kEinval, 0};
}

int to_errno(const Result<void>& result) {
  return result ? 0 : -code_of(result.error()).error;
}

void free_scratch(void* const* nodes) {
  for (unsigned i = 0; i < Domain::kScratchNodes; ++i) {
    if (nodes[i] != nullptr) kiommu_port_free_node(nodes[i]);
  }
}

}  // namespace

int kiommu_core_create(kiommu_hosts* hosts, kiommu_u64 shadow_limit,
                       kiommu_domain** domain) {
  void* scratch[Domain::kScratchNodes];
  void* memory = kiommu_port_alloc_node();
  bool complete = memory != nullptr;
  for (void*& node : scratch) {
    node = kiommu_port_alloc_node();
    complete &= node != nullptr;
  }
  if (!complete) {
    free_scratch(scratch);
    if (memory != nullptr) kiommu_port_free_node(memory);
    return -kEnomem;
  }
  *domain = new (memory) kiommu_domain{Domain(hosts, shadow_limit, scratch)};
  return 0;
}

void kiommu_core_destroy(kiommu_domain* domain) {
  (void)domain->domain.stop();
  void* scratch[Domain::kScratchNodes];
  for (unsigned i = 0; i < Domain::kScratchNodes; ++i) {
    scratch[i] = domain->domain.scratch_nodes()[i];
  }
  domain->~kiommu_domain();
  free_scratch(scratch);
  kiommu_port_free_node(domain);
}

int kiommu_core_set_host_caps(kiommu_domain* domain,
                              const kiommu_host_caps* caps) {
  return to_errno(domain->domain.set_host_caps(*caps));
}

int kiommu_core_replay(kiommu_domain* domain, kiommu_u32 host) {
  return to_errno(domain->domain.replay(host));
}

int kiommu_core_start(kiommu_domain* domain, kiommu_mem* mem) {
  return to_errno(domain->domain.start(mem));
}

int kiommu_core_stop(kiommu_domain* domain) {
  return to_errno(domain->domain.stop());
}

int kiommu_core_register_ioat(kiommu_domain* domain,
                              const kiommu_anchor* anchor) {
  return to_errno(domain->domain.register_ioat(*anchor));
}

int kiommu_core_unregister_ioat(kiommu_domain* domain) {
  return to_errno(domain->domain.unregister_ioat());
}

int kiommu_core_refresh(kiommu_domain* domain, kiommu_u64 iova,
                        kiommu_u64 length, kiommu_refresh_result* result) {
  *result = {};
  auto done = domain->domain.refresh(iova, length, result);
  if (!done) result->status = code_of(done.error()).status;
  return to_errno(done);
}

int kiommu_core_unmap(kiommu_domain* domain, kiommu_u64 iova, kiommu_u64 length,
                      kiommu_u64* unmapped) {
  std::uint64_t pages = 0;
  auto done = domain->domain.unmap(iova, length, &pages);
  *unmapped = pages;
  return to_errno(done);
}

int kiommu_core_unmap_all(kiommu_domain* domain, kiommu_u64* unmapped) {
  std::uint64_t pages = 0;
  auto done = domain->domain.unmap_all(&pages);
  *unmapped = pages;
  return to_errno(done);
}

int kiommu_core_translate(kiommu_domain* domain, kiommu_u64 iova,
                          kiommu_translation* result) {
  *result = {};
  auto found = domain->domain.translate({iova});
  if (found) {
    result->gpa = found->gpa.value;
    result->page_size = found->page_bytes;
    result->rights = found->rights.bits;
  } else if (const Code code = code_of(found.error()); code.status != 0) {
    result->status = code.status;
  } else {
    return -code.error;
  }
  result->shadow_rights = domain->domain.shadow_rights({iova}).bits;
  return 0;
}

void kiommu_core_get_info(const kiommu_domain* domain, kiommu_core_info* info) {
  domain->domain.get_info(info);
}
