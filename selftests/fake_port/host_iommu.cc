// SPDX-License-Identifier: GPL-2.0-only
//
// See host_iommu.hpp.
#include "host_iommu.hpp"

#include "violation.hpp"

namespace kiommu::port {

// Returns the size of the largest page that fits here, in 4 KiB pages, as
// iommu_map() chooses it.
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

void HostIommu::map(const void* batch, std::uint64_t page,
                    const HostBlock& run) {
  HostBlock left = run;
  const std::uint64_t end = page + left.pages;
  const auto next = blocks_.lower_bound(page);
  if (at(page) || (next != blocks_.end() && next->first < end)) {
    violation(kind_.name, ": map over what is mapped, page ", page, " + ",
              left.pages);
    return;
  }
  if (left.rights == 0 || left.pages == 0) {
    violation(kind_.name, ": map of nothing");
    return;
  }
  for (const Stale& stale : stale_) {
    if (stale.batch != batch && stale.page < end &&
        page < stale.page + stale.block.pages) {
      violation(kind_.name, ": map of page ", page,
                ", which another request has unmapped and not flushed");
    }
  }
  if (!left.mmio) memory_->add_reach(left.pfn, left.pages, left.rights);
  mapped_pages_ += left.pages;
  while (left.pages > 0) {
    HostBlock block = left;
    block.pages = left.mmio ? 1 : block_pages(page, left.pfn, left.pages);
    blocks_[page] = block;
    add_tables(page, block.pages);
    page += block.pages;
    left.pfn += block.pages;
    left.pages -= block.pages;
  }
}

void HostIommu::unmap(const void* batch, std::uint64_t page,
                      std::uint64_t count) {
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
    if (gone.mmio) {
      violation(kind_.name, ": unmap of device memory, page ", page);
      return;
    }
    blocks_.erase(block);
    stale_.push_back({batch, page, gone});
    mapped_pages_ -= gone.pages;
    page += gone.pages;
  }
  free_tables(end - count, count);
}

void HostIommu::renew() {
  if (!blocks_.empty() || !stale_.empty()) {
    violation(kind_.name, ": another domain, but something is mapped");
  }
  tables_.clear();
}

// Adds the tables above a block. Tables below a large page are freed when it is
// mapped.
void HostIommu::add_tables(std::uint64_t page, std::uint64_t pages) {
  if (kind_.frees == FreesTables::kNoTables) return;
  for (unsigned level = 0; level < kLevels; ++level) {
    const std::uint64_t span = std::uint64_t{512} << (9 * level);
    if (pages < span) {
      tables_.insert({level, page / span});
    } else {
      tables_.erase(tables_.lower_bound({level, page / span}),
                    tables_.lower_bound({level, (page + pages) / span}));
    }
  }
}

void HostIommu::free_tables(std::uint64_t page, std::uint64_t pages) {
  if (kind_.frees != FreesTables::kWithOneUnmap) return;
  for (unsigned level = 0; level < kLevels; ++level) {
    const std::uint64_t span = std::uint64_t{512} << (9 * level);
    const auto from = tables_.lower_bound({level, (page + span - 1) / span});
    const std::uint64_t end = (page + pages) / span;
    if (end * span > page) {
      tables_.erase(from, tables_.lower_bound({level, end}));
    }
  }
}

void HostIommu::flush(const void* batch) {
  std::erase_if(stale_, [&](const Stale& stale) {
    if (stale.batch != batch) return false;
    memory_->drop_reach(stale.block.pfn, stale.block.pages);
    return true;
  });
}

void HostIommu::unmap_mmio(std::uint64_t page) {
  const auto block = blocks_.find(page);
  if (block == blocks_.end() || !block->second.mmio) {
    violation(kind_.name, ": device memory that is not mapped, page ", page);
    return;
  }
  blocks_.erase(block);
  --mapped_pages_;
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

}  // namespace kiommu::port
