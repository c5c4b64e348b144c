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
#include <unordered_map>

namespace kiommu::port {

inline constexpr std::uint64_t kPageBytes = 4096;

class HostMemory {
 public:
  using Page = std::array<std::byte, kPageBytes>;

  // The bytes of a frame, zeroed when first seen.
  std::byte* bytes(std::uint64_t pfn);

  void pin(std::uint64_t pfn, bool writable);
  void unpin(std::uint64_t pfn, bool dirty);
  // A device can reach the frame from now on, with these rights, or in one
  // way less.
  void add_reach(std::uint64_t pfn, unsigned rights);
  void drop_reach(std::uint64_t pfn);

  bool is_pinned(std::uint64_t pfn) const { return frames_.contains(pfn); }
  // Pins, and pages that have some: a page can be pinned twice for a moment.
  std::uint64_t pins() const { return pins_; }
  std::uint64_t pinned() const { return frames_.size(); }

 private:
  struct Frame {
    bool writable = false;
    unsigned pins = 0;
    bool was_writable = false;  // for a device, at some time of this pin
    std::uint32_t reach = 0;
  };

  std::unordered_map<std::uint64_t, Frame> frames_;  // pinned ones
  std::uint64_t pins_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
};

}  // namespace kiommu::port
