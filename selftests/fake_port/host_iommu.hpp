// SPDX-License-Identifier: GPL-2.0-only
//
// A host IOMMU: a table and an IOTLB, as unforgiving as real drivers are. VT-d
// corrupts its table when part of a large page is unmapped, and virtio-iommu
// refuses to unmap part of an interval; here, both are violations.
//
// The IOTLB is assumed to hold whatever the table has held since the last
// flush: what is unmapped stays reachable for devices until the batch that
// unmapped it is flushed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "host_memory.hpp"
#include "port.h"

namespace kiommu::port {

// When a driver frees a table that has become empty, other than with its
// domain.
enum class FreesTables {
  kNoTables,
  kWithOneUnmap,  // one that covers the table's whole span
  kNever,
};

struct HostKind {
  const char* name;
  std::uint64_t page_sizes;
  kiommu_host_split split;
  FreesTables frees;
};

inline constexpr HostKind kVtd{"vtd", 0x40201000, KIOMMU_SPLIT_PAGE,
                               FreesTables::kWithOneUnmap};
inline constexpr HostKind kVtd4K{"vtd-4k", 0x1000, KIOMMU_SPLIT_PAGE,
                                 FreesTables::kWithOneUnmap};
inline constexpr HostKind kAmd{"amd", ~std::uint64_t{0xfff}, KIOMMU_SPLIT_PAGE,
                               FreesTables::kNever};
inline constexpr HostKind kVirtio{"virtio", ~std::uint64_t{0xfff},
                                  KIOMMU_SPLIT_CALL, FreesTables::kNoTables};

// What a device reaches at a page of IOVA.
struct HostPage {
  std::uint64_t pfn = 0;
  unsigned rights = 0;

  friend bool operator==(const HostPage&, const HostPage&) = default;
};

// A page of the host's table, or an interval.
struct HostBlock {
  std::uint64_t pages = 0;
  std::uint64_t pfn = 0;
  unsigned rights = 0;
  bool mmio = false;  // device memory: not pinned
};

class HostIommu {
 public:
  HostIommu(HostMemory& memory, HostKind kind)
      : memory_(&memory), kind_(kind) {}

  // `batch` identifies the caller's batch.
  void map(const void* batch, std::uint64_t page, const HostBlock& run);
  void unmap(const void* batch, std::uint64_t page, std::uint64_t count);
  void flush(const void* batch);
  // Unmaps a page of device memory, and flushes it.
  void unmap_mmio(std::uint64_t page);

  // The table, without the IOTLB.
  std::optional<HostPage> at(std::uint64_t page) const;
  const std::map<std::uint64_t, HostBlock>& blocks() const { return blocks_; }
  // What a device reaches; stale entries of the IOTLB come first.
  std::optional<HostPage> device_sees(std::uint64_t page) const;
  bool iotlb_may_be_stale() const { return !stale_.empty(); }
  std::uint64_t mapped_pages() const { return mapped_pages_; }
  // Number of tables below the root, empty ones included.
  std::uint64_t tables() const { return tables_.size(); }
  // Replaces the domain, in which nothing may be mapped, by a new one.
  void renew();
  const HostKind& kind() const { return kind_; }

 private:
  struct Stale {
    const void* batch;
    std::uint64_t page;
    HostBlock block;
  };

  std::uint64_t block_pages(std::uint64_t page, std::uint64_t pfn,
                            std::uint64_t count) const;

  // A table at `level` spans 512^(level + 1) pages.
  static constexpr unsigned kLevels = 3;
  struct Table {
    unsigned level;
    std::uint64_t index;
    friend auto operator<=>(const Table&, const Table&) = default;
  };
  void add_tables(std::uint64_t page, std::uint64_t pages);
  void free_tables(std::uint64_t page, std::uint64_t pages);

  std::set<Table> tables_;
  HostMemory* memory_;
  HostKind kind_;
  std::map<std::uint64_t, HostBlock> blocks_;  // by IOVA page
  std::vector<Stale> stale_;
  std::uint64_t mapped_pages_ = 0;
};

}  // namespace kiommu::port
