// SPDX-License-Identifier: GPL-2.0-only
//
// A guest with two domains, and what each of many threads does to them. The
// first domain follows the guest's stores at times, the second one is refreshed
// and has a ring; they share tables and pins.
#pragma once

#include <atomic>
#include <random>
#include <vector>

#include "ring_part.hpp"

namespace kiommu::test::stress {

inline constexpr u64 kTables = 8;  // lowest tables
inline constexpr u64 kPages = kTables * 512;
// With those of the ring's driver.
inline constexpr u64 kAllPages = kPages + RingPart::kPages;
inline constexpr u64 kData = 8192;  // pages of memory
// A slot that comes and goes, and one of a device.
inline constexpr u64 kSlot = kDataGpa + 64 * kGiB;
inline constexpr u64 kSlotPages = 256;
inline constexpr u64 kBar = kDataGpa + 65 * kGiB;
inline constexpr u64 kBarPages = 64;

struct HostSet {
  const char* name;
  std::vector<port::HostKind> first;
  port::HostKind second;
};

inline void PrintTo(const HostSet& set, std::ostream* out) { *out << set.name; }

class Workers {
 public:
  // `fails`: calls fail at random, and the shadow has little room.
  Workers(const HostSet& hosts, bool fails);
  ~Workers();

  // One step of each kind of thread. `random` is the thread's own.
  void guest_stores(Random& random);
  void vmm_calls(Random& random);
  void memory_changes(Random& random);
  void domains_change(Random& random);
  void log_and_pins(Random& random);
  void ring_driver(Random& random) { ring_.drive(random); }
  void ring_host(Random& random) { ring_.serve(random); }

  // After the threads have ended: everything converges to what the tables say,
  // every page that a host maps is pinned, and nothing else is.
  void settle();

 private:
  static u64 iova(u64 page) { return kBase + page * kPage; }
  void store(u64 gpa, u64 entry) { guest_store(world_, gpa, entry); }
  u64 some_gpa(Random& random) const;
  port::DmaDomain& some_domain(Random& random);
  void arm(Random& random) const { arm_some(random, fails_); }
  void put_slot_back();
  void expect_followed();
  void expect_as_tables_say(port::DmaDomain& domain);
  std::optional<HostPage> wanted(u64 page);

  HostSet hosts_;
  bool fails_;
  TrackedWorld<F> world_;
  port::DmaDomain second_;
  RingPart ring_;
  u64 slot_hva_;
  u64 bar_hva_;
  u64 upper_;                // GPA of the entry for the first table
  std::vector<u64> lowest_;  // GPA of each table
  u64 extra_;                // a table that is linked at times
  // State of domains_change(), which one thread runs.
  bool started_ = true;
  bool anchored_ = true;
  bool follows_ = false;
  unsigned joined_ = 0;
  // State of memory_changes().
  bool has_slot_ = true;
};

}  // namespace kiommu::test::stress
