// SPDX-License-Identifier: GPL-2.0-only
//
// See host_iommu.hpp.
#include "host_iommu.hpp"

#include <bit>

#include "faults.hpp"
#include "violation.hpp"

namespace kiommu::port {

// As iommu_map() does: the largest page that fits here.
std::uint64_t HostIommu::block_pages(std::uint64_t page, std::uint64_t pfn,
                                     std::uint64_t count) const {
  if (kind_.split == KIOMMU_SPLIT_CALL) return count;
  for (int shift = 62; shift > 12; --shift) {
    const std::uint64_t pages = std::uint64_t{1} << (shift - 12);
    const bool has_size = (kind_.page_sizes >> shift & 1) != 0;
    if (has_size && pages <= count && ((page | pfn) & (pages - 1)) == 0) {
      return pages;
    }
  }
  return 1;
}

void HostIommu::map(std::uint64_t page, std::uint64_t pfn, std::uint64_t count,
                    unsigned rights) {
  const auto next = blocks_.lower_bound(page);
  if (at(page) || (next != blocks_.end() && next->first < page + count)) {
    violation(kind_.name, ": map over what is mapped, page ", page, " + ",
              count);
    return;
  }
  if (rights == 0 || count == 0) violation(kind_.name, ": map of nothing");
  for (std::uint64_t i = 0; i < count; ++i) memory_->add_reach(pfn + i, rights);
  mapped_pages_ += count;
  while (count > 0) {
    const std::uint64_t pages = block_pages(page, pfn, count);
    blocks_[page] = {pages, pfn, rights};
    page += pages;
    pfn += pages;
    count -= pages;
  }
}

void HostIommu::unmap(std::uint64_t page, std::uint64_t count) {
  const std::uint64_t end = page + count;
  while (page < end) {
    const auto block = blocks_.find(page);
    if (block == blocks_.end()) {
      violation(kind_.name,
                at(page) ? ": unmap starts inside of a block, page "
                         : ": unmap of what is not mapped, page ",
                page);
      return;
    }
    const HostBlock gone = block->second;
    if (gone.pages > end - page) {
      violation(kind_.name, ": unmap ends inside of a block, page ", page,
                ", pages ", gone.pages, ", unmapped ", end - page);
      return;
    }
    blocks_.erase(block);
    stale_.push_back({page, gone});
    mapped_pages_ -= gone.pages;
    page += gone.pages;
  }
}

void HostIommu::flush() {
  for (const Stale& stale : stale_) {
    for (std::uint64_t i = 0; i < stale.block.pages; ++i) {
      memory_->drop_reach(stale.block.pfn + i);
    }
  }
  stale_.clear();
}

std::optional<HostPage> HostIommu::at(std::uint64_t page) const {
  auto block = blocks_.upper_bound(page);
  if (block == blocks_.begin()) return std::nullopt;
  --block;
  const std::uint64_t offset = page - block->first;
  if (offset >= block->second.pages) return std::nullopt;
  return HostPage{block->second.pfn + offset, block->second.rights};
}

std::optional<HostPage> HostIommu::device_sees(std::uint64_t page) const {
  for (const Stale& stale : stale_) {
    const std::uint64_t offset = page - stale.page;
    if (offset < stale.block.pages) {
      return HostPage{stale.block.pfn + offset, stale.block.rights};
    }
  }
  return at(page);
}

std::uint32_t HostIommus::add(HostKind kind) {
  iommus_.emplace_back(memory_, kind);
  return static_cast<std::uint32_t>(iommus_.size() - 1);
}

void HostIommus::drop_last() {
  HostIommu& iommu = iommus_.back();
  while (!iommu.blocks().empty()) {
    const auto& [page, block] = *iommu.blocks().begin();
    iommu.unmap(page, block.pages);
  }
  iommu.flush();
  iommus_.pop_back();
}

kiommu_host_caps HostIommus::caps() const {
  kiommu_host_caps caps{};
  for (const HostIommu& iommu : iommus_) {
    caps.page_sizes |= iommu.kind().page_sizes;
    if (iommu.kind().split > caps.split) caps.split = iommu.kind().split;
  }
  return caps;
}

int HostIommus::map(std::uint32_t host, std::uint64_t iova, std::uint64_t hpa,
                    std::uint64_t bytes, std::uint32_t rights) {
  ++map_calls;
  if (((iova | hpa | bytes) & (kPageBytes - 1)) != 0) {
    violation("misaligned map at ", iova, " to ", hpa, " of ", bytes);
  }
  if (bytes / kPageBytes > longest_map) longest_map = bytes / kPageBytes;
  if (faults().map.fires()) return map_error;
  for (std::size_t i = 0; i < iommus_.size(); ++i) {
    if (host != KIOMMU_ALL_HOSTS && host != i) continue;
    iommus_[i].map(iova / kPageBytes, hpa / kPageBytes, bytes / kPageBytes,
                   rights);
  }
  return 0;
}

void HostIommus::unmap(std::uint64_t iova, std::uint64_t bytes) {
  ++unmap_calls;
  for (HostIommu& iommu : iommus_) {
    iommu.unmap(iova / kPageBytes, bytes / kPageBytes);
  }
}

void HostIommus::flush() {
  ++flush_calls;
  for (HostIommu& iommu : iommus_) iommu.flush();
}

}  // namespace kiommu::port

int kiommu_port_host_map(kiommu_hosts* hosts, kiommu_u32 host, kiommu_u64 iova,
                         kiommu_u64 hpa, kiommu_u64 bytes, kiommu_u32 rights) {
  return hosts->iommus->map(host, iova, hpa, bytes, rights);
}

void kiommu_port_host_unmap(kiommu_hosts* hosts, kiommu_u64 iova,
                            kiommu_u64 bytes) {
  hosts->iommus->unmap(iova, bytes);
}

void kiommu_port_host_flush(kiommu_hosts* hosts) { hosts->iommus->flush(); }
