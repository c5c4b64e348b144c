// SPDX-License-Identifier: GPL-2.0-only
//
// See ring_part.hpp.
#include "ring_part.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace kiommu::test::stress {
namespace {

// Two places take turns, so that a new ring is never where the old one was.
constexpr u64 kRing = kDataGpa + 66 * kGiB;
constexpr u32 kMostEntries = 512;
constexpr u64 kPlacePages = 8;
constexpr u64 kOwnData = kDataGpa + 67 * kGiB;
constexpr u64 kOwnDataPages = 1024;
// More than a batch takes.
constexpr u64 kLargeLength = kGiB;

}  // namespace

void guest_store(TrackedWorld<F>& world, u64 gpa, u64 entry) {
  u8 bytes[8];
  S::store(entry, bytes);
  world.guest.write(gpa, bytes, sizeof(bytes));
  if (world.guest.is_tracked(gpa / kPage)) world.stored(gpa, sizeof(bytes));
}

void arm_some(Random& random, bool fails) {
  faults() = {};
  if (!fails || pick(random, 2) == 0) return;
  port::Fault port::Faults::*const kinds[] = {
      &port::Faults::node, &port::Faults::pin,  &port::Faults::account,
      &port::Faults::map,  &port::Faults::mmio, &port::Faults::track};
  const u64 nth = 1 + pick(random, 12);
  (faults().*kinds[pick(random, 6)]).arm(nth, 1 + pick(random, 3));
}

RingPart::RingPart(TrackedWorld<F>& world, port::DmaDomain& domain, u64 iova,
                   bool fails)
    : world_(world), domain_(domain), iova_(iova), fails_(fails) {
  world_.guest.add_ram(kRing, 2 * kPlacePages, port::kShuffled);
  world_.guest.add_ram(kOwnData, kOwnDataPages, port::kContiguous);
}

// The table exists before the threads start.
void RingPart::begin() {
  own_entries_ = world_.tables.entry_gpa(iova_, 0);
  set_up(64);
}

void RingPart::end() {
  if (ring_ != nullptr) kiommu_core_ring_destroy(ring_);
  ring_ = nullptr;
}

// Sets another ring up, as a VMM does. Nobody uses the old one any more when it
// is destroyed.
void RingPart::set_up(u32 entries) {
  guest_ring_ = std::make_unique<GuestRing>(
      world_.guest, entries, kRing + places_++ % 2 * kPlacePages * kPage);
  guest_ring_->store<u32>(GuestRing::kAvail, 0);
  guest_ring_->store<u32>(GuestRing::kNotify, ~u32{0});
  looked_at_ = 0;
  posted_.clear();
  waits_for_ = {};
  kiommu_ring* made = nullptr;
  EXPECT_EQ(domain_.shared([&](kiommu_domain*) {
    kiommu_u32 status;
    return kiommu_core_ring_create(guest_ring_->gpa, entries, &made, &status);
  }),
            0);
  int begun;
  do {
    begun = domain_.exclusive([&](kiommu_domain* domain) {
      const int error = kiommu_core_ring_begin(domain, made);
      if (error == 0) std::swap(ring_, made);
      return error;
    });
  } while (begun == -EAGAIN);
  ASSERT_EQ(begun, 0);
  if (made != nullptr) kiommu_core_ring_destroy(made);
}

void RingPart::exchange(Random& random) {
  faults() = {};
  drain();
  look();
  EXPECT_TRUE(posted_.empty()) << posted_.size() << " entries are not done";
  unasked_ = pick(random, 2) == 0;
  set_up(u32{2} << pick(random, 9));
}

// Calls for the ring are made one at a time.
u32 RingPart::call(const std::function<u32(kiommu_domain*)>& function) {
  return static_cast<u32>(domain_.shared([&](kiommu_domain* domain) {
    const std::lock_guard locked(lock_);
    const u32 answer = function(domain);
    if ((answer & KIOMMU_RING_NOTIFY) != 0) notified_ = true;
    return static_cast<int>(answer);
  }));
}

void RingPart::drain() {
  kiommu_ring_drain until{};
  u32 answer = KIOMMU_RING_MORE;
  while ((answer & KIOMMU_RING_MORE) != 0) {
    answer = call([&](kiommu_domain* domain) {
      return kiommu_core_ring_drain(domain, ring_, &until);
    });
  }
}

// Serves the ring as task work and the doorbell's thread do: the former leaves
// large entries to the latter. A server that is killed serves no more; here
// another one takes over. Unless somebody looks unasked, a ring whose driver
// was not told to ring stays idle until it is exchanged.
void RingPart::serve(Random& random) {
  if (!rung_.exchange(false)) {
    if (!unasked_ || pick(random, 64) != 0) return;
    faults() = {};
    if (pick(random, 2) == 0) return drain();
  }
  u32 answer = KIOMMU_RING_MORE;
  while ((answer & KIOMMU_RING_MORE) != 0) {
    arm_some(random, fails_);
    if (fails_ && pick(random, 16) == 0) {
      faults().interrupt.arm(1 + pick(random, 40));
    }
    const auto large =
        pick(random, 2) == 0 ? KIOMMU_RING_LARGE_LATER : KIOMMU_RING_LARGE_NOW;
    answer = call([&](kiommu_domain* domain) {
      return kiommu_core_ring_consume(domain, ring_, large);
    });
    if (faults().interrupt.fired() > 0) rung_ = true;
  }
  faults() = {};
}

bool RingPart::has_room() const {
  return posted_.size() < guest_ring_->entries;
}

// Fills an entry in; tell() makes it available.
void RingPart::put(const Posted& posted, u64 length, u32 flags) {
  guest_ring_->fill(guest_ring_->avail++, posted.iova, length, flags);
  posted_.push_back(posted);
}

// Makes the entries from `before` on available.
void RingPart::tell(u32 before) {
  const u32 avail = guest_ring_->avail;
  guest_ring_->store<u32>(GuestRing::kAvail, avail);
  if (kvm_iommu_ring_passed(guest_ring_->kick(), avail, before) != 0) {
    rung_ = true;
  }
}

// Changes some adjacent pages, then posts an entry for them.
void RingPart::put_own(Random& random) {
  const u64 first = pick(random, kPages);
  const u64 count = 1 + pick(random, std::min<u64>(kPages - first, 8));
  const u64 from = pick(random, kOwnDataPages - count);
  const u64 kind = pick(random, 4);
  for (u64 i = 0; i < count; ++i) {
    Own& own = own_[first + i];
    const u64 gpa = kOwnData + (from + i) * kPage;
    const unsigned rights = kind == 1 ? kR : kRW;
    const u64 entry = kind == 0 ? S::absent(0) : S::leaf(0, gpa, rights);
    own.wanted = kind == 0 ? kBlocked : world_.frame(gpa, rights);
    own.posted = guest_ring_->avail;
    own.known = false;
    guest_store(world_, own_entries_ + 8 * (first + i), entry);
  }
  put({iova_ + first * kPage, count, fails_ ? kAny : u32{KVM_IOMMU_STATUS_OK}},
      count * kPage, kind == 0 && pick(random, 2) == 0 ? kUnmap : 0);
}

void RingPart::put_some(Random& random) {
  const u64 others = (iova_ - kBase) / kPage;
  switch (pick(random, 32)) {
    case 0:
      put({kBase, 0, kAny}, kLargeLength);
      break;
    case 1:
      put({kBase + 8, 0, KVM_IOMMU_STATUS_MISALIGNED}, kPage);
      break;
    case 2:
      put({kBase, 0, KVM_IOMMU_STATUS_FLAGS}, kPage, 4);
      break;
    case 3:
    case 4: {
      const u64 page = pick(random, others);
      put({kBase + page * kPage, 0, kAny}, kPage, kUnmap);
      break;
    }
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
    case 11: {
      const u64 first = pick(random, others);
      const u64 count = 1 + pick(random, std::min<u64>(others - first, 64));
      put({kBase + first * kPage, 0, kAny}, count * kPage);
      break;
    }
    default:
      put_own(random);
  }
}

void RingPart::drive(Random& random) {
  look();
  if (pick(random, 256) == 0) exchange(random);
  const u32 before = guest_ring_->avail;
  for (u64 i = 1 + pick(random, 40); i > 0 && has_room(); --i) {
    put_some(random);
  }
  if (guest_ring_->avail != before) tell(before);
  wait_for_some(random);
}

// Asks for a notification at times. Nothing blocks: other steps come meanwhile.
void RingPart::wait_for_some(Random& random) {
  if (waits_for_ || posted_.empty() || pick(random, 4) != 0) return;
  const u32 index = looked_at_ + static_cast<u32>(pick(random, posted_.size()));
  {
    const std::lock_guard locked(lock_);
    notified_ = false;
  }
  guest_ring_->store<u32>(GuestRing::kNotify, index);
  if (static_cast<std::int32_t>(guest_ring_->done() - index) <= 0)
    waits_for_ = index;
}

// Looks at the entries that were done since the last look.
void RingPart::look() {
  const u32 done = guest_ring_->done();
  EXPECT_EQ(guest_ring_->flags(), 0u);
  EXPECT_LE(done - looked_at_, posted_.size());
  while (looked_at_ != done && !posted_.empty()) {
    look_at(looked_at_, posted_.front());
    posted_.pop_front();
    ++looked_at_;
  }
  if (waits_for_ && static_cast<std::int32_t>(done - *waits_for_) > 0)
    expect_notified();
}

void RingPart::look_at(u32 index, const Posted& posted) {
  const u32 status = guest_ring_->status(index);
  ASSERT_NE(status, ~u32{0}) << "entry " << index << " was left out";
  if (posted.status != kAny) {
    ASSERT_EQ(status, posted.status) << "entry " << index;
  }
  if (posted.iova < iova_ || posted.pages == 0) return;
  for (u64 i = 0; i < posted.pages; ++i) {
    Own& own = own_[own_page(posted) + i];
    if (own.posted != index || status != KVM_IOMMU_STATUS_OK) continue;
    own.known = true;
    ASSERT_NO_FATAL_FAILURE(expect_own(own_page(posted) + i));
  }
}

// Less than what is wanted may be mapped, because other threads unmap.
void RingPart::expect_own(u64 page) {
  const auto seen = domain_.iommus.device_sees(0, iova_ / kPage + page);
  ASSERT_TRUE(!seen || seen == own_[page].wanted)
      << "own page " << page << " is not what the entry was for";
}

// The host notifies while it has the ring to itself.
void RingPart::expect_notified() {
  const std::lock_guard locked(lock_);
  EXPECT_TRUE(notified_) << "entry " << *waits_for_;
  waits_for_ = {};
}

void RingPart::rest() {
  Random random(1);
  while (rung_) serve(random);
  look();
  EXPECT_TRUE(posted_.empty()) << posted_.size() << " entries are not done";
  for (u64 page = 0; page < kPages && !testing::Test::HasFailure(); ++page) {
    if (own_[page].known) expect_own(page);
  }
}

void RingPart::bring(u64 iova, u64 pages) {
  Random random(pages);
  set_up(kMostEntries / 4);
  for (u64 page = 0; page < pages;) {
    const u32 before = guest_ring_->avail;
    for (; page < pages && has_room();) {
      const u64 count = 1 + pick(random, std::min<u64>(pages - page, 16));
      put({iova + page * kPage, 0, KVM_IOMMU_STATUS_OK}, count * kPage);
      page += count;
    }
    tell(before);
    drain();
    look();
    ASSERT_TRUE(posted_.empty()) << posted_.size() << " entries are not done";
  }
}

}  // namespace kiommu::test::stress
