// SPDX-License-Identifier: GPL-2.0-only
//
// The ring of a domain, used by threads: one is the guest's driver, and also
// the VMM that sets another ring up at times; the others serve the doorbell.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "unit/lib/guest_ring.hpp"
#include "unit/lib/tracked_world.hpp"

namespace kiommu::test::stress {

using Random = std::mt19937_64;
using F = VtdSsFormat;
using S = Spec<F>;

inline constexpr u64 kBase = kGiB;  // first IOVA

inline u64 pick(Random& random, u64 below) { return random() % below; }

// As with a real guest, memory comes first, then the report.
void guest_store(TrackedWorld<F>& world, u64 gpa, u64 entry);

// Arms what may fail in the next call of this thread: nothing unless `fails`.
void arm_some(Random& random, bool fails);

class RingPart {
 public:
  static constexpr u64 kPages = 512;

  // The pages from `iova` on are the driver's own: no other thread changes what
  // the tables say of them, nor the memory that they name.
  RingPart(TrackedWorld<F>& world, port::DmaDomain& domain, u64 iova,
           bool fails);

  void begin();
  void end();

  // Steps of threads: drive() is for one, serve() for any.
  void drive(Random& random);
  void serve(Random& random);

  // After the threads have ended: each entry must have its status, although
  // nobody looks at the ring unasked.
  void rest();
  // Brings all of the range to what the tables say, by entries.
  void bring(u64 iova, u64 pages);

 private:
  // An entry that was posted and has not been looked at since.
  struct Posted {
    u64 iova;
    u64 pages;
    u32 status;  // that it must end with; kAny: not known
  };
  // A page of the driver's own.
  struct Own {
    std::optional<HostPage> wanted{};
    u32 posted = 0;      // the last entry that names it
    bool known = false;  // that one is done: a device sees this or nothing
  };
  static constexpr u32 kAny = ~u32{0} - 1;

  void exchange(Random& random);
  void set_up(u32 entries);
  u32 call(const std::function<u32(kiommu_domain*)>& function);
  void drain();
  bool has_room() const;
  void put(const Posted& posted, u64 length, u32 flags = 0);
  void put_some(Random& random);
  void put_own(Random& random);
  void tell(u32 before);
  void wait_for_some(Random& random);
  void look();
  void look_at(u32 index, const Posted& posted);
  u64 own_page(const Posted& posted) const {
    return (posted.iova - iova_) / kPage;
  }
  void expect_own(u64 page);
  void expect_notified();

  TrackedWorld<F>& world_;
  port::DmaDomain& domain_;
  const u64 iova_;
  const bool fails_;

  // The host's part: under D, and by one thread at a time, under the lock.
  std::mutex lock_;
  kiommu_ring* ring_ = nullptr;
  bool notified_ = false;
  std::atomic<bool> rung_{false};
  std::atomic<bool> unasked_{false};

  // The driver's part.
  std::unique_ptr<GuestRing> guest_ring_;
  u64 places_ = 0;
  std::deque<Posted> posted_;  // up to avail
  u32 looked_at_ = 0;          // entries
  std::optional<u32> waits_for_;
  std::vector<Own> own_{kPages};
  u64 own_entries_ = 0;  // GPA of the entry for the first of them
};

}  // namespace kiommu::test::stress
