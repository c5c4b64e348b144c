// SPDX-License-Identifier: GPL-2.0-only
//
// A machine with a guest that has tables and data memory, with which most tests
// begin, and the queries that they make.
#pragma once

#include <initializer_list>
#include <vector>

#include "fake_port/faults.hpp"
#include "fake_port/machine.hpp"
#include "guest_tables.hpp"

namespace kiommu::test {

using port::Backing;
using port::faults;
using port::HostPage;
using port::RefreshOutcome;

inline constexpr u64 kPage = 4096;
inline constexpr u64 kMiB = u64{1} << 20;
inline constexpr u64 kGiB = u64{1} << 30;

// Guest-physical layout.
inline constexpr u64 kTablesGpa = 256 * kMiB;
inline constexpr u64 kTablesPages = 4096;
inline constexpr u64 kDataGpa = 4 * kGiB;

// All that is mapped in a host, page by page.
using Snapshot = std::map<u64, HostPage>;  // by IOVA page

Snapshot snapshot(const port::HostIommu& iommu);

// The same as contiguous runs, whatever blocks the host made of them.
struct MappedRun {
  u64 page;
  u64 pages;
  u64 pfn;
  unsigned rights;

  friend bool operator==(const MappedRun&, const MappedRun&) = default;
};
using Runs = std::vector<MappedRun>;

Runs runs_of(const port::HostIommu& iommu);
Runs runs_of(const Snapshot& snapshot);

// Fails the test unless shadow, host tables, pins and accounting agree.
// `domains` are all that are started with the pin table; none may be at work.
void expect_consistent(port::GuestSide& guest,
                       std::initializer_list<port::DmaDomain*> domains);
inline void expect_consistent(port::Machine& machine) {
  expect_consistent(machine, {&machine});
}

struct WorldOptions {
  port::MachineOptions machine{};
  u64 data_pages = 1 << 16;  // of 4 KiB
  unsigned data_order = port::kContiguous;
  int top = -1;  // -1: the format's usual one
};

template <class Format>
class World : public port::Machine {
 public:
  using S = Spec<Format>;

  explicit World(WorldOptions options = {})
      : Machine(options.machine),
        tables_hva(guest.add_ram(kTablesGpa, kTablesPages, port::kShuffled)),
        data_hva(
            guest.add_ram(kDataGpa, options.data_pages, options.data_order)),
        tables(guest, kTablesGpa,
               options.top < 0 ? S::kUsualTop
                               : static_cast<unsigned>(options.top)) {
    faults() = {};
    EXPECT_EQ(start(), 0);
    EXPECT_EQ(anchor(tables.anchor()), 0);
  }
  ~World() {
    faults() = {};
    if (complete()) expect_consistent(*this);
  }

  using Machine::anchor;

  u64 tables_hva;
  u64 data_hva;
  GuestTables<Format> tables;

  u64 data(u64 page) const { return kDataGpa + page * kPage; }
  // The guest's smallest page, the unit for tests of all formats.
  static constexpr u64 kLeaf = GuestTables<Format>::kLeaf;
  static constexpr u64 kLeafPages = kLeaf / kPage;
  // An IOVA with index 1 or more at each low level.
  static constexpr u64 kIova = kGiB | u64{1} << S::shift(1) | kLeaf;
  u64 leaf(u64 number) const { return kDataGpa + number * kLeaf; }
  // What a device reaches at `iova`: the frame and the rights.
  std::optional<HostPage> sees(u64 iova, std::size_t host_index = 0) {
    return iommus.device_sees(host_index, iova / kPage);
  }
  // What it should reach for this GPA.
  std::optional<HostPage> frame(u64 gpa, unsigned rights = kRW) const {
    const kiommu_slot* slot = guest.slot_of(gpa);
    const u64 hva = slot->hva + gpa - slot->first_gfn * kPage;
    return HostPage{guest.page_at(hva).pfn, rights};
  }
  void expect_refresh(u64 iova, u64 length) {
    const RefreshOutcome outcome = refresh(iova, length);
    EXPECT_EQ(outcome.error, 0);
    EXPECT_EQ(outcome.result.status, unsigned{KVM_IOMMU_STATUS_OK});
    EXPECT_EQ(outcome.result.stopped_iova, iova + length);
    expect_consistent(*this);
  }
  void expect_stops(u64 iova, u64 length, u64 at, int error, unsigned status) {
    const RefreshOutcome outcome = refresh(iova, length);
    EXPECT_EQ(outcome.error, error);
    EXPECT_EQ(outcome.result.status, status);
    EXPECT_EQ(outcome.result.stopped_iova, at);
    expect_consistent(*this);
  }
  kiommu_translation translate(u64 iova) {
    kiommu_translation result{};
    EXPECT_EQ(Machine::translate(iova, &result), 0);
    return result;
  }
};

inline constexpr std::nullopt_t kBlocked = std::nullopt;

// The base of typed suites over all formats.
template <class Format>
class FormatTest : public testing::Test {};

}  // namespace kiommu::test

namespace kiommu::port {
inline void PrintTo(const HostPage& page, std::ostream* out) {
  *out << "pfn " << std::hex << page.pfn << " rights " << page.rights;
}
}  // namespace kiommu::port
