// SPDX-License-Identifier: GPL-2.0-only
//
// A domain: its state, its anchor, and the shadow that belongs to them.
//
//   created --start--> started --register_ioat--> anchored
//          <--stop---         <--unregister_ioat--
//
// It knows nothing of its front. Calls on one domain are serialised by the
// caller; there is no lock in the core.
#pragma once

#include "format.hpp"
#include "hosts.hpp"
#include "pins.hpp"
#include "shadow.hpp"
#include "walker.hpp"

namespace kiommu {

// Stage 1: what an anchor says, checked.
struct Stage1 {
  kiommu_anchor anchor{};
  Root root;         // not for the identity format
  IovaRange window;  // that the guest may use
};

// What the guest's tables say of one IOVA.
struct Translation {
  Gpa gpa;
  uint64_t page_bytes = 0;
  Rights rights;
};

class Domain {
 public:
  // Node memory that a domain holds for its life: itself and scratch space.
  static constexpr unsigned kScratchNodes = kMaxLevels + 2;

  Domain(kiommu_hosts* hosts, uint64_t shadow_limit,
         void* const (&scratch)[kScratchNodes]);
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  Result<void> set_host_caps(const kiommu_host_caps& caps);
  Result<void> replay(uint32_t host) { return shadow_.replay(host); }

  Result<void> start(kiommu_mem* mem);
  Result<void> stop();
  Result<void> register_ioat(const kiommu_anchor& anchor);
  Result<void> unregister_ioat();

  // The result's stopped_iova, mapped and unmapped are set unless the error
  // says that nothing has changed.
  Result<void> refresh(uint64_t iova, uint64_t length,
                       kiommu_refresh_result* result);
  // *unmapped is set, also with kNoMemory.
  Result<void> unmap(uint64_t iova, uint64_t length, uint64_t* unmapped);
  Result<void> unmap_all(uint64_t* unmapped);

  // The error is kNotMapped or what is wrong with the guest's tables.
  Result<Translation> translate(Iova iova);
  // Whether `iova` may be asked for; the errors of a refused call.
  Result<void> check_iova(Iova iova) const;
  Rights shadow_rights(Iova iova) const {
    return shadow_.rights_at(iova.page_number());
  }

  void get_info(kiommu_core_info* info) const;
  void* const* scratch_nodes() const { return nodes_; }

 private:
  Result<void> require_anchor() const;
  // [iova, iova + length), checked against aperture and window.
  Result<IovaRange> checked_range(uint64_t iova, uint64_t length) const;
  Result<void> unmap_range(IovaRange range, uint64_t* unmapped);
  void clear();

  void* nodes_[kScratchNodes];
  WalkScratch walk_scratch_;
  NodePool pool_;
  Hosts hosts_;
  Pins pins_;
  Shadow shadow_;
  kiommu_mem* mem_ = nullptr;     // set: at least started
  std::optional<Stage1> stage1_;  // set: anchored
};

}  // namespace kiommu
