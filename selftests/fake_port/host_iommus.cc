// SPDX-License-Identifier: GPL-2.0-only
//
// See host_iommus.hpp.
#include "host_iommus.hpp"

#include <cerrno>

#include "faults.hpp"
#include "violation.hpp"

namespace kiommu::port {
namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;
constexpr std::uint32_t kMostMmio = 512;

using Locked = std::lock_guard<std::mutex>;

bool misaligned(std::uint64_t address) { return address % kPageBytes != 0; }

}  // namespace

std::uint32_t HostIommus::add(HostKind kind) {
  const Locked locked(mutex_);
  HostIommu& iommu = iommus_.emplace_back(memory_, kind);
  for (const auto& [page, mmio] : mmio_) iommu.map(nullptr, page, mmio.block);
  return static_cast<std::uint32_t>(iommus_.size() - 1);
}

void HostIommus::drop_last() {
  const Locked locked(mutex_);
  HostIommu& iommu = iommus_.back();
  while (!iommu.blocks().empty()) {
    const auto& [page, block] = *iommu.blocks().begin();
    if (block.mmio) {
      iommu.unmap_mmio(page);
    } else {
      iommu.unmap(nullptr, page, block.pages);
    }
  }
  iommu.flush(nullptr);
  iommus_.pop_back();
}

std::optional<HostPage> HostIommus::device_sees(std::size_t host,
                                                std::uint64_t page) {
  const Locked locked(mutex_);
  return iommus_[host].device_sees(page);
}

kiommu_host_caps HostIommus::caps() const {
  const Locked locked(mutex_);
  kiommu_host_caps caps{};
  for (const HostIommu& iommu : iommus_) {
    caps.page_sizes |= iommu.kind().page_sizes;
    if (iommu.kind().split > caps.split) caps.split = iommu.kind().split;
    if (iommu.kind().frees != FreesTables::kNoTables) caps.keep_tables = 1;
  }
  return caps;
}

int HostIommus::renew() {
  const Locked locked(mutex_);
  if (renew_error != 0) return renew_error;
  for (HostIommu& iommu : iommus_) iommu.renew();
  ++renewals;
  return 0;
}

void HostIommus::check_runs(std::uint64_t iova, const kiommu_run* runs,
                            std::uint32_t count) {
  if (misaligned(iova)) violation("map at ", iova);
  if (count == 0 || count > KIOMMU_MAX_RUNS) violation("map of runs: ", count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const kiommu_run& run = runs[i];
    if (misaligned(run.hpa) || misaligned(run.bytes) || run.bytes == 0 ||
        run.bytes > kGiB) {
      violation("run to ", run.hpa, " of bytes ", run.bytes);
    }
    if (i > 0 && runs[i - 1].hpa + runs[i - 1].bytes == run.hpa) {
      violation("runs that are one, at HPA ", run.hpa);
    }
  }
}

int HostIommus::map(kiommu_batch* batch, std::uint32_t host, std::uint64_t iova,
                    const kiommu_run* runs, std::uint32_t count,
                    std::uint32_t rights) {
  check_runs(iova, runs, count);
  const Locked locked(mutex_);
  ++map_lists;
  map_calls += count;
  bool refused = false;
  for (std::uint32_t i = 0; i < count; ++i) {
    refused |= faults().map.fires();
    if (runs[i].bytes / kPageBytes > longest_map) {
      longest_map = runs[i].bytes / kPageBytes;
    }
  }
  if (refused) return map_error;
  for (std::uint32_t i = 0; i < count; ++i) {
    const HostBlock run{runs[i].bytes / kPageBytes, runs[i].hpa / kPageBytes,
                        rights};
    for (std::size_t j = 0; j < iommus_.size(); ++j) {
      if (host != KIOMMU_ALL_HOSTS && host != j) continue;
      iommus_[j].map(batch, iova / kPageBytes, run);
    }
    iova += runs[i].bytes;
  }
  return 0;
}

void HostIommus::unmap(kiommu_batch* batch, std::uint64_t iova,
                       std::uint64_t bytes) {
  if (misaligned(iova) || misaligned(bytes) || bytes == 0) {
    violation("unmap at ", iova, " of ", bytes);
  }
  const Locked locked(mutex_);
  ++unmap_calls;
  for (HostIommu& iommu : iommus_) {
    iommu.unmap(batch, iova / kPageBytes, bytes / kPageBytes);
  }
}

void HostIommus::flush(kiommu_batch* batch) {
  const Locked locked(mutex_);
  ++flush_calls;
  for (HostIommu& iommu : iommus_) iommu.flush(batch);
}

int HostIommus::mmio_map(kiommu_batch* batch, GuestMemory& guest,
                         std::uint64_t iova, std::uint64_t hva,
                         std::uint32_t pages, std::uint32_t rights) {
  if (misaligned(iova) || misaligned(hva) || pages == 0 || pages > kMostMmio ||
      rights == 0 || !guest.in_one_slot(hva, pages)) {
    violation("device memory of ", pages, " pages at HVA ", hva);
  }
  const Backing first = guest.page_at(hva).backing;
  const Locked locked(mutex_);
  ++mmio_map_calls;
  if (first != Backing::kDevice && first != Backing::kReadOnlyDevice) {
    return -EFAULT;
  }
  if (first == Backing::kReadOnlyDevice && (rights & KIOMMU_WRITE) != 0) {
    return -EACCES;
  }
  if (faults().mmio.fires()) return map_error;
  if (mmio_error != 0) return mmio_error;
  std::uint32_t done = 0;
  for (; done < pages && done < mmio_batch; ++done) {
    const HvaPage page = guest.page_at(hva + done * kPageBytes);
    if (page.backing != first) break;
    const HostBlock block{1, page.pfn, rights, true};
    const std::uint64_t at = iova / kPageBytes + done;
    mmio_[at] = {hva + done * kPageBytes, block};
    for (HostIommu& iommu : iommus_) iommu.map(batch, at, block);
  }
  return static_cast<int>(done);
}

// Advances `at` to the next page.
void HostIommus::drop_mmio(std::map<std::uint64_t, Mmio>::iterator& at) {
  for (HostIommu& iommu : iommus_) iommu.unmap_mmio(at->first);
  at = mmio_.erase(at);
}

void HostIommus::mmio_unmap(kiommu_batch*, std::uint64_t iova,
                            std::uint64_t bytes) {
  if (misaligned(iova) || misaligned(bytes)) {
    violation("unmap of device memory at ", iova, " of ", bytes);
  }
  const Locked locked(mutex_);
  const std::uint64_t first = iova / kPageBytes;
  auto at = mmio_.lower_bound(first);
  while (at != mmio_.end() && at->first - first < bytes / kPageBytes) {
    drop_mmio(at);
  }
}

bool HostIommus::mmio_mapped(std::uint64_t iova) {
  if (misaligned(iova)) violation("question for device memory at ", iova);
  const Locked locked(mutex_);
  return mmio_.contains(iova / kPageBytes);
}

std::uint64_t HostIommus::revoke_mmio(std::uint64_t hva, std::uint64_t pages) {
  const Locked locked(mutex_);
  std::uint64_t revoked = 0;
  for (auto at = mmio_.begin(); at != mmio_.end();) {
    if (at->second.hva - hva < pages * kPageBytes) {
      drop_mmio(at);
      ++revoked;
    } else {
      ++at;
    }
  }
  return revoked;
}

std::uint64_t HostIommus::mmio_pages() {
  const Locked locked(mutex_);
  return mmio_.size();
}

}  // namespace kiommu::port
