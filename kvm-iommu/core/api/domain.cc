// SPDX-License-Identifier: GPL-2.0-only
//
// The functions of core.h for domains, their faults and pin tables: they
// convert between C and C++.
#include "api/handles.hpp"

#include <new>

#include "domain/domain.hpp"
#include "domain/guest_changes.hpp"
#include "faults/queue.hpp"

struct kiommu_faults {
  kiommu::FaultQueue queue;
};

namespace {

using kiommu::answer;
using kiommu::Domain;
using kiommu::DomainParts;
using kiommu::PinTable;
using kiommu::Result;
using kiommu::Status;
using kiommu::status_code;
using kiommu::to_errno;

static_assert(sizeof(kiommu_domain) <= KIOMMU_NODE_BYTES);
static_assert(sizeof(kiommu_pins) <= KIOMMU_NODE_BYTES);

void free_parts(const DomainParts& parts) {
  if (parts.tree_mutex != nullptr) {
    kiommu_port_mutex_destroy(parts.tree_mutex);
  }
  if (parts.workspace_mutex != nullptr) {
    kiommu_port_mutex_destroy(parts.workspace_mutex);
  }
}

}  // namespace

int kiommu::to_errno(const Result<void>& result) {
  return result ? 0 : -kiommu::errno_code(result.error());
}

int kiommu::answer(const Result<void>& result, kiommu_u32* status) {
  *status = result ? 0 : status_code(result.error());
  return to_errno(result);
}

int kiommu_core_faults_create(kiommu_fault_reader* reader,
                              kiommu_faults** faults) {
  void* memory = kiommu_port_alloc_array(sizeof(kiommu_faults));
  if (memory == nullptr) return -kiommu::kEnomem;
  *faults = new (memory) kiommu_faults{kiommu::FaultQueue(reader)};
  return 0;
}

void kiommu_core_faults_destroy(kiommu_faults* faults) {
  faults->~kiommu_faults();
  kiommu_port_free_array(faults);
}

int kiommu_core_faults_open(kiommu_faults* faults) {
  return to_errno(faults->queue.open());
}

void kiommu_core_faults_close(kiommu_faults* faults) { faults->queue.close(); }

int kiommu_core_faults_readable(kiommu_faults* faults) {
  return faults->queue.readable() ? 1 : 0;
}

kiommu_u32 kiommu_core_faults_peek(kiommu_faults* faults, kiommu_fault* records,
                                   kiommu_u32 max) {
  return faults->queue.peek(records, max);
}

void kiommu_core_faults_drop(kiommu_faults* faults, kiommu_u32 count) {
  faults->queue.drop(count);
}

int kiommu_core_report_fault(kiommu_faults* faults, const kiommu_fault* fault) {
  return faults->queue.report(*fault) ? 1 : 0;
}

int kiommu_core_report_dma_fault(kiommu_faults* faults,
                                 const kiommu_fault* fault) {
  return faults->queue.report_dma(*fault) ? 1 : 0;
}

int kiommu_core_create(kiommu_hosts* hosts, kiommu_faults* faults,
                       kiommu_u64 shadow_limit, kiommu_domain** domain) {
  void* memory = kiommu_port_alloc_node();
  DomainParts parts;
  parts.faults = &faults->queue;
  parts.tree_mutex = kiommu_port_mutex_create();
  parts.workspace_mutex = kiommu_port_mutex_create();
  if (memory != nullptr && parts.tree_mutex != nullptr &&
      parts.workspace_mutex != nullptr) {
    parts.workspace = kiommu::Workspace::create(hosts);
  }
  if (parts.workspace == nullptr) {
    free_parts(parts);
    if (memory != nullptr) kiommu_port_free_node(memory);
    return -kiommu::kEnomem;
  }
  *domain = new (memory) kiommu_domain{Domain(hosts, shadow_limit, parts)};
  return 0;
}

void kiommu_core_destroy(kiommu_domain* domain) {
  kiommu_core_tracking_stop(domain);
  (void)domain->domain.stop();
  const DomainParts parts = domain->domain.parts();
  domain->~kiommu_domain();
  free_parts(parts);
  kiommu_port_free_node(domain);
}

int kiommu_core_pins_create(kiommu_guest* guest, kiommu_u64 idle_limit,
                            kiommu_pins** pins) {
  kiommu_mutex* mutex = kiommu_port_mutex_create();
  void* memory = mutex != nullptr ? kiommu_port_alloc_node() : nullptr;
  if (memory == nullptr) {
    if (mutex != nullptr) kiommu_port_mutex_destroy(mutex);
    return -kiommu::kEnomem;
  }
  *pins = new (memory) kiommu_pins{PinTable(guest, mutex, idle_limit), mutex};
  return 0;
}

void kiommu_core_pins_destroy(kiommu_pins* pins) {
  kiommu_mutex* mutex = pins->mutex;
  pins->~kiommu_pins();
  kiommu_port_mutex_destroy(mutex);
  kiommu_port_free_node(pins);
}

void kiommu_core_pins_set_idle_limit(kiommu_pins* pins, kiommu_u64 pages) {
  pins->pins.set_idle_limit(pages);
}

kiommu_u64 kiommu_core_pins_idle(const kiommu_pins* pins) {
  return pins->pins.idle();
}

int kiommu_core_pins_trim_due(const kiommu_pins* pins) {
  return pins->pins.trim_due() ? 1 : 0;
}

kiommu_u64 kiommu_core_pins_trim(kiommu_pins* pins, kiommu_u64 keep) {
  return pins->pins.trim(keep);
}

void kiommu_core_pins_trim_to_limit(kiommu_pins* pins) {
  pins->pins.trim_to_limit();
}

int kiommu_core_pins_preregister(kiommu_pins* pins, kiommu_u64 gpa,
                                 kiommu_u64 length, kiommu_u32* status) {
  return answer(pins->pins.preregister(gpa, length), status);
}

int kiommu_core_pins_unregister(kiommu_pins* pins, kiommu_u64 gpa,
                                kiommu_u64 length, kiommu_u32* status) {
  return answer(pins->pins.unregister(gpa, length), status);
}

void kiommu_core_pins_release(kiommu_pins* pins, kiommu_u64 first_gfn,
                              kiommu_u64 last_gfn) {
  pins->pins.release_idle(first_gfn, last_gfn);
}

kiommu_u64 kiommu_core_pins_slots(const kiommu_pins* pins) {
  return pins->pins.slot_count();
}

void kiommu_core_pins_forget_slots(kiommu_pins* pins) {
  pins->pins.forget_slots();
}

void kiommu_core_slots_changed(kiommu_pins* pins, kiommu_u64 first_gfn,
                               kiommu_u64 last_gfn) {
  kiommu::slots_changed(pins->pins, first_gfn, last_gfn);
}

void kiommu_core_tables_gone(kiommu_pins* pins, kiommu_u64 first_gfn,
                             kiommu_u64 last_gfn) {
  kiommu::tables_gone(pins->pins, first_gfn, last_gfn);
}

int kiommu_core_stores_missed(kiommu_pins* pins) {
  return to_errno(kiommu::stores_missed(pins->pins));
}

kiommu_u32 kiommu_core_memory_changed(kiommu_pins* pins, kiommu_window* ranges,
                                      kiommu_u32 count) {
  return kiommu::memory_changed(pins->pins, ranges, count);
}

void kiommu_core_mmio_revoked(kiommu_pins* pins) {
  kiommu::mmio_revoked(pins->pins);
}

int kiommu_core_set_host_caps(kiommu_domain* domain,
                              const kiommu_host_caps* caps) {
  return to_errno(domain->domain.set_host_caps(*caps));
}

int kiommu_core_replay(kiommu_domain* domain, kiommu_u32 host,
                       kiommu_u32 killable) {
  return to_errno(domain->domain.replay(host, killable != 0));
}

int kiommu_core_start(kiommu_domain* domain, kiommu_pins* pins) {
  return to_errno(domain->domain.start(&pins->pins));
}

int kiommu_core_stop(kiommu_domain* domain) {
  kiommu_core_tracking_stop(domain);
  return to_errno(domain->domain.stop());
}

int kiommu_core_register_ioat(kiommu_domain* domain,
                              const kiommu_anchor* anchor, kiommu_u32* status) {
  return answer(domain->domain.register_ioat(*anchor), status);
}

int kiommu_core_unregister_ioat(kiommu_domain* domain) {
  return to_errno(domain->domain.unregister_ioat());
}

int kiommu_core_refresh(kiommu_domain* domain, kiommu_u64 iova,
                        kiommu_u64 length, kiommu_refresh_result* result) {
  *result = {};
  auto done = domain->domain.refresh(iova, length, result);
  if (!done) result->status = status_code(done.error());
  return to_errno(done);
}

int kiommu_core_map(kiommu_domain* domain, kiommu_u64 iova, kiommu_u64 length,
                    kiommu_u32 rights, kiommu_u32* status) {
  return answer(domain->domain.map(iova, length, {rights}), status);
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
  kiommu::Rights shadow_rights;
  auto found = domain->domain.translate({iova}, &shadow_rights);
  result->shadow_rights = shadow_rights.bits;
  if (found) {
    result->gpa = found->gpa.value;
    result->page_size = found->page_bytes;
    result->rights = found->rights.bits;
    return 0;
  }
  const Status why = found.error();
  result->status = status_code(why);
  // What is wrong with the tables is an answer, and so is that they could not
  // be read.
  if (kiommu::is_answer(why) && why != Status::kInterrupted) return 0;
  return -kiommu::errno_code(why);
}

void kiommu_core_get_info(const kiommu_domain* domain, kiommu_core_info* info) {
  domain->domain.get_info(info);
}
