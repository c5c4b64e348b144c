// SPDX-License-Identifier: GPL-2.0-only
//
// The host's physical memory: what each page frame holds, who pins it, and
// whether a device can reach it, through a host table or through an IOTLB
// that was not flushed yet. This is where invariant 2 of the design is
// enforced: a frame that a device can reach is pinned.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

namespace kiommu::port {

inline constexpr std::uint64_t kPageBytes = 4096;

class HostMemory {
 public:
  using Page = std::array<std::byte, kPageBytes>;

  // Frames for an area, contiguous, aligned to 1 GiB, with a gap behind them.
  std::uint64_t take_frames(std::uint64_t count);
  // The bytes of a frame, zeroed when first seen; the same, safely while others
  // use them.
  std::byte* bytes(std::uint64_t pfn);
  void read(std::uint64_t pfn, std::uint64_t offset, void* to,
            std::uint64_t size);
  void write(std::uint64_t pfn, std::uint64_t offset, const void* from,
             std::uint64_t size);

  void pin(std::uint64_t pfn, bool writable);
  void unpin(std::uint64_t pfn, std::uint64_t count, bool dirty);
  // A device can reach the frames from now on, with these rights, or in one
  // way less.
  void add_reach(std::uint64_t pfn, std::uint64_t count, unsigned rights);
  void drop_reach(std::uint64_t pfn, std::uint64_t count);

  bool is_pinned(std::uint64_t pfn) const;
  // Pins, and pages that have some: a page that two slots hold, or that two
  // threads pin at once, has two.
  std::uint64_t pins() const;
  std::uint64_t pinned() const;

  // Frames that one call has pinned and that may be kept as one: 512, by the
  // first.
  void pinned_as_one(std::uint64_t pfn);
  std::set<std::uint64_t> kept_as_one() const;

 private:
  struct Frame {
    bool writable = false;
    bool was_writable = false;  // for a device, at some time of this pin
    bool told_dirty = false;
    unsigned pins = 0;
    std::uint32_t reach = 0;
  };

  void unpin_one(std::uint64_t pfn, bool dirty);

  mutable std::recursive_mutex mutex_;
  std::uint64_t next_pfn_ = std::uint64_t{1} << 20;
  std::unordered_map<std::uint64_t, Frame> frames_;  // pinned ones
  std::uint64_t pins_ = 0;
  std::set<std::uint64_t> as_one_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
};

}  // namespace kiommu::port
