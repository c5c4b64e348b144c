// SPDX-License-Identifier: GPL-2.0-only
//
// A zPCI function of a guest, on a domain of its own or on a shared one, and
// what an adapter does with it through zpci.h.
#pragma once

#include "world.hpp"
#include "zpci.h"

namespace kiommu::test {

inline constexpr u32 kHandle = 0x80001234;  // enabled, no SHM bits

// What a guest sees of an RPCIT.
struct Answered {
  u32 outcome;
  u32 cc;
  u32 status;  // in r1; the previous value if none was set

  friend bool operator==(const Answered&, const Answered&) = default;
};
inline void PrintTo(const Answered& answer, std::ostream* out) {
  *out << "outcome " << answer.outcome << " cc " << answer.cc << " status "
       << answer.status;
}

inline constexpr u32 kStatusBefore = 0xa5;
inline constexpr Answered kCc0{KIOMMU_RPCIT_DONE, 0, kStatusBefore};
inline constexpr Answered kCc2{KIOMMU_RPCIT_DONE, 2, kStatusBefore};
inline constexpr Answered kCc3{KIOMMU_RPCIT_DONE, 3, kStatusBefore};
inline constexpr Answered kInError{KIOMMU_RPCIT_DONE, 1, 8};
inline constexpr Answered kInsufficient{KIOMMU_RPCIT_DONE, 1, 16};
inline constexpr Answered kRecover{KIOMMU_RPCIT_DONE, 1, 40};

class Function {
 public:
  // The low half of r1 holds more than the status: the rest must not change.
  static constexpr u64 kLow = u64{kStatusBefore} << 24 | 0x00345678;

  explicit Function(port::DmaDomain& domain, u32 handle = kHandle, u64 sdma = 0)
      : domain_(domain) {
    f.sdma = sdma;
    set_handle(handle);
    EXPECT_EQ(set_state(KIOMMU_ZPCI_ENABLED), 0);
  }

  kiommu_zpci_function f{};
  kiommu_rpcit last{};  // the RPCIT that was executed last
  u64 rounds = 0;       // of it
  u64 trims = 0;        // of it: answers MAKE_ROOM
  std::function<void()> between_rounds;

  int reg(u64 iota, u64 pba, u64 pal) {
    const kiommu_zpci_ioat ioat{iota, pba, pal};
    return domain_.exclusive([&](kiommu_domain* domain) {
      return kiommu_zpci_reg_ioat(&f, domain, &ioat);
    });
  }
  int shadow() {
    kiommu_u64 next = 0;
    int error;
    do {
      error = domain_.shared([&](kiommu_domain* domain) {
        return kiommu_zpci_shadow_ioat(&f, domain, &next);
      });
    } while (error == -EAGAIN);
    return error;
  }
  int dereg() {
    return domain_.exclusive(
        [&](kiommu_domain* domain) {
          return kiommu_zpci_dereg_ioat(&f, domain);
        },
        true);
  }
  int set_state(u32 state) {
    return domain_.exclusive(
        [&](kiommu_domain* domain) {
          return kiommu_zpci_set_state(&f, domain, state);
        },
        true);
  }
  void reset() {
    domain_.exclusive(
        [&](kiommu_domain* domain) {
          kiommu_zpci_reset(&f, domain);
          return 0;
        },
        true);
  }
  void set_handle(u32 handle) {
    domain_.exclusive([&](kiommu_domain*) {
      kiommu_zpci_set_handle(&f, handle);
      return 0;
    });
  }

  // An RPCIT of the guest on this function, with `pins` to trim.
  Answered rpcit(port::PinTable& pins, u64 iova, u64 length, u32 handle) {
    last = {};
    last.r1 = 7;
    last.r2 = 4;
    last.gprs[0] = u64{handle} << 32 | kLow;
    last.gprs[1] = iova;
    last.gprs[2] = length;
    kiommu_rpcit_decode(&last);
    if (last.outcome == KIOMMU_RPCIT_LOOK_UP && last.fh != f.fh) {
      kiommu_rpcit_unknown(&last);
    }
    rounds = trims = 0;
    while (last.outcome == KIOMMU_RPCIT_LOOK_UP ||
           last.outcome == KIOMMU_RPCIT_AGAIN ||
           last.outcome == KIOMMU_RPCIT_MAKE_ROOM) {
      if (rounds > 0 && between_rounds) between_rounds();
      if (++rounds > 1000) {
        ADD_FAILURE() << "an RPCIT without end";
        break;
      }
      domain_.shared([&](kiommu_domain* domain) {
        kiommu_rpcit_step(&last, &f, domain);
        return 0;
      });
      if (last.outcome != KIOMMU_RPCIT_MAKE_ROOM) continue;
      ++trims;
      pins.trim(0);
    }
    EXPECT_EQ(last.gprs[0] & ~u64{0xff000000},
              u64{handle} << 32 | (kLow & 0x00ffffff));
    EXPECT_EQ(last.gprs[1], iova);
    EXPECT_EQ(last.gprs[2], length);
    return {last.outcome, last.cc, static_cast<u32>(last.gprs[0] >> 24 & 0xff)};
  }
  void expect_event(u32 pec, u64 address, u32 status = 0) const {
    EXPECT_EQ(last.event.pec, pec);
    EXPECT_EQ(last.event.address, pec != 0 ? address : 0);
    EXPECT_EQ(last.event.status, status);
    EXPECT_EQ(last.event.fh, pec != 0 ? last.fh : 0);
  }

 private:
  port::DmaDomain& domain_;
};

// A guest with one function whose tables are registered.
class ZpciGuest : public World<ZpciFormat> {
 public:
  static constexpr u64 kReach = u64{1} << 42;  // of a region-third table

  explicit ZpciGuest(WorldOptions options = {})
      : World(options), function(*this) {
    EXPECT_EQ(unanchor(), 0);
    EXPECT_EQ(reg(), 0);
  }

  Function function;

  u64 iota() const { return tables.anchor().iota; }
  int reg(u64 pba = 0, u64 pal = kReach - 1) {
    return function.reg(iota(), pba, pal);
  }
  Answered rpcit(u64 iova, u64 length, u32 handle = kHandle) {
    const Answered answer = function.rpcit(pins, iova, length, handle);
    expect_consistent(*this);
    return answer;
  }
  u64 mapped() const { return info().mapped_pages; }
};

inline constexpr u64 kRegion = 2 * kGiB;  // spanned by a region-third entry

// Fills region-third entries [first, end) so that they cost a round for each
// 16: all share one segment table and one page table, which maps no page.
inline void make_gigantic(ZpciGuest& guest, u64 first, u64 end) {
  using S = Spec<ZpciFormat>;
  const u64 pages = guest.tables.new_table(0);
  const u64 segments = guest.tables.new_table(1);
  for (u64 i = 0; i < 2048; ++i) {
    guest.tables.write_entry(segments + 8 * i, S::table(1, pages, kRW));
  }
  for (u64 i = first; i < end; ++i) {
    guest.tables.set(i * kRegion, 2, S::table(2, segments, kRW));
  }
}

}  // namespace kiommu::test
