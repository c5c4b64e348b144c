// SPDX-License-Identifier: GPL-2.0-only
//
// The host's physical memory: what each page frame holds, its pins, and whether
// a device can reach it, through a host table or through an IOTLB that is not
// flushed yet. Invariant 2 of the design is enforced here: a frame that a
// device can reach is pinned.
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

  // Allocates contiguous frames for an area, aligned to 1 GiB, with a gap
  // behind them.
  std::uint64_t take_frames(std::uint64_t count);
  // bytes() returns the contents of a frame, zeroed at first; read() and
  // write() are safe while other threads access it.
  std::byte* bytes(std::uint64_t pfn);
  void read(std::uint64_t pfn, std::uint64_t offset, void* to,
            std::uint64_t size);
  void write(std::uint64_t pfn, std::uint64_t offset, const void* from,
             std::uint64_t size);

  void pin(std::uint64_t pfn, bool writable);
  void unpin(std::uint64_t pfn, std::uint64_t count, bool dirty);
  // Adds a way by which a device can reach the frames, with these rights, or
  // removes one.
  void add_reach(std::uint64_t pfn, std::uint64_t count, unsigned rights);
  void drop_reach(std::uint64_t pfn, std::uint64_t count);

  bool is_pinned(std::uint64_t pfn) const;
  // The number of pins, and of pages that have any: a page that two slots hold,
  // or that two threads pin at once, has two pins.
  std::uint64_t pins() const;
  std::uint64_t pinned() const;

  // Blocks of 512 frames that one call has pinned and that may be kept as one,
  // by their first frame.
  void pinned_as_one(std::uint64_t pfn);
  std::set<std::uint64_t> kept_as_one() const;

 private:
  struct Frame {
    bool writable = false;
    bool was_writable = false;  // for a device, at some time while pinned
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
