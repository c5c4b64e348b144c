// SPDX-License-Identifier: GPL-2.0-only
//
// Random RPCITs of a guest that edits its tables at random, mostly without an
// RPCIT, under limits and faults. After each, the answer, the function's state
// and every page are compared with what the specification of the format says,
// by a slow walk of the tables. Seeds are fixed.
#include <cstdlib>
#include <random>

#include "lib/zpci_guest.hpp"

namespace kiommu::test {
namespace {

using S = Spec<ZpciFormat>;

constexpr u64 kPba = 64 * kMiB;
constexpr u64 kPal = 16 * kGiB - 1;

// Where the shadow is small, room is made in it, which takes hosts that have no
// tables to keep.
port::HostKind host(u32 seed) {
  if (seed % 3 == 0) return port::kVirtio;
  return seed % 2 == 0 ? port::kAmd : port::kVtd;
}

class RpcitModel {
 public:
  RpcitModel(u32 seed, bool with_faults)
      : random_(seed),
        with_faults_(with_faults),
        guest_({.machine = {.hosts = {host(seed)},
                            .shadow_limit = (seed % 3 == 0 ? 14u : 64u) * 4096,
                            .idle_limit = seed % 5 == 0 ? 2000u : 0u},
                .data_pages = 4096,
                .data_order =
                    seed % 4 == 0 ? port::kContiguous2M : port::kShuffled}) {
    EXPECT_EQ(guest_.function.dereg(), 0);
    EXPECT_EQ(guest_.reg(kPba, kPal), 0);
    guest_.guest.memlock_pages = seed % 4 == 1 ? 300 : ~u64{0};
    guest_.guest.set_backing(guest_.data_hva + 100 * kPage, 1,
                             Backing::kUnbacked);
  }

  void run() {
    for (int step = 0; step < 80 && !testing::Test::HasFailure(); ++step) {
      SCOPED_TRACE(testing::Message() << "step " << step);
      const u64 edits = pick(4);
      for (u64 i = 0; i < edits; ++i) edit();
      if (guest_.function.f.state == KIOMMU_ZPCI_ERROR && pick(3) == 0) {
        ASSERT_EQ(guest_.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
      }
      refresh();
    }
    if (!testing::Test::HasFailure()) free_enough();
  }

 private:
  u64 pick(u64 below) { return random_() % below; }

  // Few places, so that edits meet: around PBA, in two regions, around PAL.
  u64 some_iova() {
    const u64 places[] = {kPba - 8 * kPage, kGiB, 5 * kGiB, kPal - 0xffff};
    return places[pick(4)] + pick(4) * 16 * kMiB + pick(600) * kPage;
  }

  void edit() {
    const u64 iova = some_iova();
    const u64 pages = 1 + pick(pick(3) == 0 ? 256 : 6);
    switch (pick(12)) {
      case 0:
        return guest_.tables.clear(iova, 1);
      case 1:
        return guest_.tables.link(iova, 1, pick(2) == 0 ? kR : kRW);
      case 2:
        if (pick(3) == 0) guest_.tables.clear(iova, 2);
        return;
      case 3:
        return guest_.tables.link(iova, 2);
      case 4:
        return guest_.tables.map(iova, guest_.data(pick(8) * 256), kRW, 1);
      case 5: {
        if (pick(4) != 0) return;
        const unsigned level = 1 + pick(2);
        const auto bad = S::malformed(level);
        return guest_.tables.set(iova, level, bad[pick(bad.size())].entry);
      }
      case 6:
        if (pick(2) == 0) guest_.tables.map(iova, 0x5000);
        return;
      case 7:
      case 8:
      case 9:
        for (u64 i = 0; i < pages; ++i) {
          guest_.tables.clear(iova + i * kPage);
        }
        return;
      default:
        guest_.tables.map_pages(iova, guest_.data(pick(2000)), pages,
                                pick(4) == 0 ? kR : kRW);
    }
  }

  // What a page should be, and the event code if it must not be mapped; 16
  // stands for a page that the host cannot provide.
  struct Wanted {
    std::optional<HostPage> page;
    u32 bad = 0;
  };
  Wanted wanted(u64 page) const {
    const auto read = [&](u64 gpa, u8* bytes) -> unsigned {
      const std::byte* from = guest_.guest.ram_at(gpa);
      if (from == nullptr) return KVM_IOMMU_STATUS_NO_SLOT;
      __builtin_memcpy(bytes, from, 8);
      return KVM_IOMMU_STATUS_OK;
    };
    const Answer answer =
        S::translate(read, guest_.tables.anchor(), page * kPage);
    switch (answer.status) {
      case KVM_IOMMU_STATUS_OK:
        break;
      case KVM_IOMMU_STATUS_NOT_MAPPED:
        return {};
      case KVM_IOMMU_STATUS_ENTRY_TYPE:
        return {{}, 9};
      case KVM_IOMMU_STATUS_ENTRY_LENGTH:
        return {{}, 8};
      default:
        return {{}, 7};
    }
    if (guest_.guest.slot_of(answer.gpa) == nullptr) return {{}, 7};
    const auto frame = guest_.frame(answer.gpa, answer.rights);
    const u64 hva = guest_.data_hva + (answer.gpa - kDataGpa);
    if (guest_.guest.page_at(hva).backing == Backing::kUnbacked) {
      return {{}, 16};
    }
    return {frame, 0};
  }

  // Visits the pages that are mapped or were; others are blocked anyway.
  template <class Function>
  void for_places(u64 first, u64 last, Function f) {
    for (const u64 base : {kPba - 8 * kPage, kGiB, 5 * kGiB, kPal - 0xffff}) {
      const u64 from = std::max(base / kPage & ~u64{255}, first);
      const u64 to = std::min((base + 68 * kMiB) / kPage, last);
      for (u64 page = from; page <= to && from <= last; ++page) f(page);
    }
  }

  void refresh() {
    u64 iova = some_iova() + pick(2) * pick(kPage);
    u64 length = 1 + pick(2000) * pick(kPage);
    if (pick(3) == 0) iova = 0, length = 64 * kGiB;
    if (pick(20) == 0) length = 0;
    if (pick(20) == 0) iova = kPal + 1 + pick(kGiB);
    if (with_faults_ && pick(2) == 0) {
      port::Fault* const kinds[] = {&faults().node, &faults().pin,
                                    &faults().account, &faults().map};
      kinds[pick(4)]->arm(1 + pick(20), 1 + pick(3));
    }
    const bool was_error = guest_.function.f.state == KIOMMU_ZPCI_ERROR;
    const Snapshot before = snapshot(guest_.iommus[0]);
    const Answered answer = guest_.rpcit(iova, length);
    faults() = {};
    const kiommu_zpci_event& event = guest_.function.last.event;
    const u64 first = std::max(iova, kPba) / kPage;
    const u64 last = std::min(iova + (length - 1), kPal) / kPage;
    if (was_error) {
      ASSERT_EQ(answer, kRecover);
      ASSERT_EQ(snapshot(guest_.iommus[0]), before);
      return;
    }
    if (length == 0 || first > last) {
      ASSERT_EQ(answer, length == 0 ? kCc0 : kInError);
      ASSERT_EQ(event.pec, length == 0 ? 0u : 2u);
      ASSERT_EQ(snapshot(guest_.iommus[0]), before);
      return;
    }
    ASSERT_TRUE(answer == kCc0 || answer == kInError || answer == kInsufficient)
        << testing::PrintToString(answer);
    ASSERT_EQ(guest_.function.f.state == KIOMMU_ZPCI_ERROR, answer == kInError);
    ASSERT_EQ(event.pec != 0, answer == kInError);
    // Everything before the failing page is done, but only errors tell which
    // page that is.
    const u64 done = answer == kCc0       ? last + 1
                     : answer == kInError ? event.address / kPage
                                          : first;
    ASSERT_GE(done, first);
    if (answer == kInError) {
      ASSERT_EQ(wanted(done).bad, event.pec);
    }
    for_places(first, last, [&](u64 page) {
      const Wanted want = wanted(page);
      const auto now = guest_.sees(page * kPage);
      if (page < done) {
        ASSERT_EQ(want.bad, 0u) << "page " << page;
        ASSERT_EQ(now, want.page) << "page " << page;
      } else {
        // Nothing that the guest has given up is left.
        ASSERT_TRUE(!now || now == want.page) << "page " << page;
      }
    });
    // Nothing changed outside, except that the rest of a large page can be lost
    // when memory is short while the page is split.
    const Snapshot after = snapshot(guest_.iommus[0]);
    for (const auto& [page, to] : before) {
      if (page >= first && page <= last) continue;
      const auto now = after.find(page);
      if (now != after.end()) {
        ASSERT_EQ(now->second, to);
      } else {
        ASSERT_TRUE(with_faults_ && answer != kCc0) << "page " << page;
      }
    }
    for (const auto& [page, to] : after) {
      ASSERT_TRUE((page >= first && page <= last) || before.contains(page));
      ASSERT_TRUE(page >= kPba / kPage && page <= kPal / kPage);
    }
  }

  // Whatever came before: a guest that gives up enough succeeds at once.
  void free_enough() {
    for (u64 region = 0; region < 16 * kGiB; region += kRegion) {
      guest_.tables.clear(region, 2);
    }
    guest_.tables.link(5 * kGiB, 2);
    for (u64 i = 0; i < 200; ++i) {
      guest_.tables.clear(5 * kGiB + i * kMiB, 1);
    }
    guest_.tables.link(5 * kGiB, 1);
    for (u64 i = 0; i < 256; ++i) {
      guest_.tables.map(5 * kGiB + i * kPage, guest_.data(200 + i));
    }
    if (guest_.function.f.state == KIOMMU_ZPCI_ERROR) {
      ASSERT_EQ(guest_.function.set_state(KIOMMU_ZPCI_ENABLED), 0);
    }
    ASSERT_EQ(guest_.rpcit(0, ZpciGuest::kReach), kCc0);
    ASSERT_EQ(guest_.mapped(), 256u);
  }

  std::mt19937_64 random_;
  bool with_faults_;
  ZpciGuest guest_;
};

// KIOMMU_SEEDS asks for more than the usual number.
u32 seeds() {
  const char* asked = std::getenv("KIOMMU_SEEDS");
  return asked != nullptr ? static_cast<u32>(std::atoi(asked)) : 40;
}

void run_all(bool with_faults) {
  for (u32 seed = 1; seed <= seeds(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RpcitModel(seed, with_faults).run();
    if (testing::Test::HasFailure()) break;
  }
}

TEST(RpcitModelTest, AgreesWithTheSpecification) { run_all(false); }

TEST(RpcitModelTest, AgreesWithTheSpecificationUnderFaults) { run_all(true); }

}  // namespace
}  // namespace kiommu::test
