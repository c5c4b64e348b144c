// SPDX-License-Identifier: GPL-2.0-only
//
// The batches of port.h and their rules: only one thread at a time uses a
// batch, and one that has unmapped something is flushed before the call ends.
#include <atomic>
#include <cstdint>

#include "allocations.hpp"
#include "caller.hpp"
#include "host_iommus.hpp"
#include "violation.hpp"

struct kiommu_batch {
  kiommu::port::HostIommus* iommus;
  std::atomic<bool> in_use{false};
  std::uint64_t unflushed_in = 0;  // number of the call; 0: all is flushed
};

namespace kiommu::port {
namespace {

// Number of batches that wait for a flush in this thread's call.
thread_local int unflushed = 0;

// The use of a batch by one thread.
class Use {
 public:
  Use(kiommu_batch* batch, const char* function) : batch_(batch) {
    entered(function);
    if (batch_->in_use.exchange(true)) {
      violation(function, ": two threads use one batch");
    }
    if (batch_->unflushed_in != 0 &&
        batch_->unflushed_in != CallScope::number()) {
      violation(function, ": another call has not flushed this batch");
    }
  }
  ~Use() { batch_->in_use = false; }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

  HostIommus& hosts() const { return *batch_->iommus; }
  void unmapped() const {
    if (batch_->unflushed_in == 0) ++unflushed;
    batch_->unflushed_in = CallScope::number();
  }
  void flushed() const {
    if (batch_->unflushed_in != 0) --unflushed;
    batch_->unflushed_in = 0;
  }

 private:
  kiommu_batch* batch_;
};

}  // namespace

bool waits_for_flush() { return unflushed != 0; }

}  // namespace kiommu::port

using kiommu::port::Use;

kiommu_batch* kiommu_port_batch_create(kiommu_hosts* hosts) {
  if (kiommu::port::allocation_fails("batch")) return nullptr;
  auto* batch = new kiommu_batch{hosts->iommus};
  kiommu::port::note_allocation(kiommu::port::Kind::kBatch, batch,
                                sizeof(*batch));
  return batch;
}

void kiommu_port_batch_destroy(kiommu_batch* batch) {
  if (!kiommu::port::note_free(kiommu::port::Kind::kBatch, batch)) return;
  if (batch->in_use || batch->unflushed_in != 0) {
    kiommu::port::violation("a batch is destroyed while it is used");
  }
  delete batch;
}

int kiommu_port_host_map(kiommu_batch* batch, kiommu_u32 host, kiommu_u64 iova,
                         const kiommu_run* runs, kiommu_u32 count,
                         kiommu_u32 rights) {
  const Use use(batch, "host_map");
  return use.hosts().map(batch, host, iova, runs, count, rights);
}

void kiommu_port_host_unmap(kiommu_batch* batch, kiommu_u64 iova,
                            kiommu_u64 bytes) {
  const Use use(batch, "host_unmap");
  use.hosts().unmap(batch, iova, bytes);
  use.unmapped();
}

void kiommu_port_host_flush(kiommu_batch* batch) {
  const Use use(batch, "host_flush");
  use.hosts().flush(batch);
  use.flushed();
}

int kiommu_port_hosts_renew(kiommu_hosts* hosts) {
  kiommu::port::entered("hosts_renew");
  return hosts->iommus->renew();
}

int kiommu_port_mmio_map(kiommu_batch* batch, kiommu_guest* mem,
                         kiommu_u64 iova, kiommu_u64 hva, kiommu_u32 pages,
                         kiommu_u32 rights) {
  const Use use(batch, "mmio_map");
  return use.hosts().mmio_map(batch, *mem->memory, iova, hva, pages, rights);
}

void kiommu_port_mmio_unmap(kiommu_batch* batch, kiommu_guest*, kiommu_u64 iova,
                            kiommu_u64 bytes) {
  const Use use(batch, "mmio_unmap");
  use.hosts().mmio_unmap(batch, iova, bytes);
}

int kiommu_port_mmio_mapped(kiommu_batch* batch, kiommu_guest*,
                            kiommu_u64 iova) {
  const Use use(batch, "mmio_mapped");
  return use.hosts().mmio_mapped(iova) ? 1 : 0;
}
