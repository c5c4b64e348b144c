// SPDX-License-Identifier: GPL-2.0-only
//
// See plain_port.hpp.
#include "plain_port.hpp"

#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <mutex>

struct kiommu_mutex {
  std::mutex mutex;
  std::condition_variable changed;
};

struct kiommu_batch {};

void* kiommu_port_alloc_node() {
  void* node = std::aligned_alloc(KIOMMU_NODE_BYTES, KIOMMU_NODE_BYTES);
  if (node != nullptr) std::memset(node, 0, KIOMMU_NODE_BYTES);
  return node;
}

void kiommu_port_free_node(void* node) { std::free(node); }

void* kiommu_port_alloc_array(kiommu_u64 bytes) {
  return std::calloc(1, bytes);
}

void kiommu_port_free_array(void* array) { std::free(array); }

kiommu_mutex* kiommu_port_mutex_create() { return new kiommu_mutex; }
void kiommu_port_mutex_destroy(kiommu_mutex* monitor) { delete monitor; }
void kiommu_port_lock(kiommu_mutex* monitor) { monitor->mutex.lock(); }
void kiommu_port_unlock(kiommu_mutex* monitor) { monitor->mutex.unlock(); }

int kiommu_port_wait(kiommu_mutex* monitor) {
  std::unique_lock<std::mutex> lock(monitor->mutex, std::adopt_lock);
  monitor->changed.wait(lock);
  lock.release();
}

void kiommu_port_wake(kiommu_mutex* monitor) { monitor->changed.notify_all(); }

void kiommu_port_faults_lock(kiommu_fault_reader*) {}
void kiommu_port_faults_unlock(kiommu_fault_reader*) {}
void kiommu_port_faults_ready(kiommu_fault_reader*) {}

int kiommu_port_find_slot(kiommu_guest* mem, kiommu_u64 gfn,
                          kiommu_slot* slot) {
  // The slot of the tables lies below that of the data.
  for (const kiommu_slot& one : {mem->tables, mem->data}) {
    if (gfn < one.first_gfn + one.pages) {
      *slot = one;
      return 0;
    }
  }
  return -ENOENT;
}

int kiommu_port_read_entries(kiommu_guest*, kiommu_u64 hva, kiommu_u64* entries,
                             kiommu_u32 count) {
  std::memcpy(entries, reinterpret_cast<const void*>(hva), 8 * count);
  return 0;
}

int kiommu_port_read_entry(kiommu_guest* mem, kiommu_u64 hva,
                           kiommu_u64* entry) {
  return kiommu_port_read_entries(mem, hva, entry, 1);
}

// There is no ring.
int kiommu_port_write_entries(kiommu_guest*, kiommu_u64, const kiommu_u64*,
                              kiommu_u32) {
  return -EFAULT;
}

kiommu_u32 kiommu_port_pin(kiommu_guest* mem, kiommu_u64 hva, kiommu_u32 count,
                           int write, kiommu_u64* pfns,
                           kiommu_pin_result* result) {
  const kiommu_u64 first = ((hva - mem->data.hva) >> 12) + (1u << 20);
  for (kiommu_u32 i = 0; i < count; ++i) pfns[i] = first + i;
  result->writable = write != 0;
  return count;
}

int kiommu_port_look_up(kiommu_guest*, kiommu_u64, kiommu_u32, kiommu_u64*) {}
void kiommu_port_unpin(kiommu_guest*, kiommu_u64, kiommu_u64, kiommu_u64, int) {
}
int kiommu_port_account(kiommu_guest*, kiommu_u64) { return 0; }
void kiommu_port_unaccount(kiommu_guest*, kiommu_u64) {}

int kiommu_port_track(kiommu_guest*, kiommu_u64) { return 0; }
void kiommu_port_untrack(kiommu_guest*, kiommu_u64) {}

kiommu_batch* kiommu_port_batch_create(kiommu_hosts*) {
  return new kiommu_batch;
}
void kiommu_port_batch_destroy(kiommu_batch* batch) { delete batch; }
int kiommu_port_host_map(kiommu_batch*, kiommu_u32, kiommu_u64,
                         const kiommu_run*, kiommu_u32, kiommu_u32) {
  return 0;
}
void kiommu_port_host_unmap(kiommu_batch*, kiommu_u64, kiommu_u64) {}
void kiommu_port_host_flush(kiommu_batch*) {}
int kiommu_port_hosts_renew(kiommu_hosts*) { return 0; }

int kiommu_port_mmio_map(kiommu_batch*, kiommu_guest*, kiommu_u64, kiommu_u64,
                         kiommu_u32, kiommu_u32) {
  return -EFAULT;
}
void kiommu_port_mmio_unmap(kiommu_batch*, kiommu_guest*, kiommu_u64,
                            kiommu_u64) {}
int kiommu_port_mmio_mapped(kiommu_batch*, kiommu_guest*, kiommu_u64) {
  return 0;
}

void kiommu_port_yield() {}
int kiommu_port_interrupted() { return 0; }
