// SPDX-License-Identifier: GPL-2.0-only
//
// The queue of faults: records, folding, overflow, sequence numbers, and
// blocked DMA in the terms of the anchor.
#include <cstring>
#include <deque>
#include <random>
#include <thread>

#include "faults/queue.hpp"
#include "lib/world.hpp"

namespace kiommu::test {
namespace {

constexpr unsigned kRecords = KVM_IOMMU_FAULT_RECORDS;
static_assert(kRecords == FaultQueue::kRecords);

static_assert(FaultFlags::kHasIova == KVM_IOMMU_FAULT_HAS_IOVA &&
              FaultFlags::kHasGpa == KVM_IOMMU_FAULT_HAS_GPA &&
              FaultFlags::kHasFormat == KVM_IOMMU_FAULT_HAS_FORMAT &&
              FaultFlags::kPci == KVM_IOMMU_FAULT_PCI &&
              FaultFlags::kZpci == KVM_IOMMU_FAULT_ZPCI);

// A fault at a page of its own.
kiommu_fault entry_at(u64 page) {
  kiommu_fault fault{};
  fault.iova = page * kPage;
  fault.reason = KVM_IOMMU_FAULT_ENTRY;
  fault.flags = KVM_IOMMU_FAULT_HAS_IOVA;
  fault.status = KVM_IOMMU_STATUS_ENTRY_TYPE;
  return fault;
}

kiommu_fault dma_at(u64 iova, unsigned access = KVM_IOMMU_WRITE) {
  kiommu_fault fault{};
  fault.iova = iova;
  fault.flags = KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI;
  fault.access = access;
  fault.device = 0x10020;
  return fault;
}

class Faults : public testing::Test {
 protected:
  Faults() { faults() = {}; }
  ~Faults() { faults() = {}; }

  void open() { ASSERT_EQ(machine_.open_faults(), 0); }
  // Reports faults on `count` pages, one on each.
  void report(u64 first, u64 count) {
    for (u64 page = first; page < first + count; ++page) {
      EXPECT_TRUE(machine_.report(entry_at(page)));
    }
  }
  // Reads one record.
  kiommu_fault next() {
    const auto records = machine_.read_faults(1);
    EXPECT_EQ(records.size(), 1u);
    return records.empty() ? kiommu_fault{} : records.front();
  }

  port::Machine machine_;
};

// The layout is the same on all machines: natural alignment, no padding, the
// machine's byte order.
TEST_F(Faults, RecordIsLaidOutAsPublished) {
  ASSERT_EQ(sizeof(kvm_iommu_fault), 96u);
  ASSERT_EQ(sizeof(kiommu_fault), 96u);
  kiommu_fault fault{};
  u64 next = 0x0102030405060701;
  fault.sequence = next++, fault.iova = next++, fault.gpa = next++;
  fault.count = next++, fault.lost = next++;
  fault.reason = 0x21, fault.flags = 0x22, fault.code = 0x23;
  fault.status = 0x24, fault.format = 0x25, fault.access = 0x26;
  fault.level = 0x27, fault.device = 0x28;
  u8 bytes[sizeof(fault)];
  std::memcpy(bytes, &fault, sizeof(fault));
  for (unsigned i = 0; i < 5; ++i) {
    for (unsigned j = 0; j < 8; ++j) {
      const unsigned shift =
          8 * (std::endian::native == std::endian::big ? 7 - j : j);
      EXPECT_EQ(bytes[8 * i + j], u8((0x0102030405060701 + i) >> shift));
    }
  }
  for (unsigned i = 0; i < 8; ++i) {
    const unsigned low = std::endian::native == std::endian::big ? 3 : 0;
    for (unsigned j = 0; j < 4; ++j) {
      EXPECT_EQ(bytes[40 + 4 * i + j], j == low ? 0x21 + i : 0);
    }
  }
  for (unsigned i = 72; i < sizeof(fault); ++i) EXPECT_EQ(bytes[i], 0);
  kvm_iommu_fault user;
  std::memcpy(&user, &fault, sizeof(user));
  EXPECT_EQ(user.sequence, fault.sequence);
  EXPECT_EQ(user.iova, fault.iova);
  EXPECT_EQ(user.gpa, fault.gpa);
  EXPECT_EQ(user.count, fault.count);
  EXPECT_EQ(user.lost, fault.lost);
  EXPECT_EQ(user.reason, fault.reason);
  EXPECT_EQ(user.flags, fault.flags);
  EXPECT_EQ(user.code, fault.code);
  EXPECT_EQ(user.status, fault.status);
  EXPECT_EQ(user.format, fault.format);
  EXPECT_EQ(user.access, fault.access);
  EXPECT_EQ(user.level, fault.level);
  EXPECT_EQ(user.device, fault.device);
}

TEST_F(Faults, NothingIsKeptWhileNobodyReads) {
  EXPECT_FALSE(machine_.report(entry_at(1)));
  EXPECT_FALSE(machine_.report_dma(dma_at(0)));
  EXPECT_FALSE(machine_.faults_readable());
  EXPECT_TRUE(machine_.read_faults(1).empty());
  open();
  EXPECT_FALSE(machine_.faults_readable());
  report(1, 1);
  EXPECT_EQ(next().sequence, 0u);
}

TEST_F(Faults, OneReaderAtATime) {
  open();
  report(1, 3);
  EXPECT_EQ(machine_.open_faults(), -EBUSY);
  EXPECT_EQ(next().iova, kPage);
  machine_.close_faults();
  EXPECT_FALSE(machine_.faults_readable());
  EXPECT_FALSE(machine_.report(entry_at(1)));
  // The next reader starts afresh.
  open();
  EXPECT_FALSE(machine_.faults_readable());
  report(9, 1);
  const kiommu_fault record = next();
  EXPECT_EQ(record.sequence, 0u);
  EXPECT_EQ(record.iova, 9 * kPage);
  EXPECT_EQ(record.lost, 0u);
}

TEST_F(Faults, OpenWithoutMemory) {
  faults().node.arm(1);
  EXPECT_EQ(machine_.open_faults(), -ENOMEM);
  EXPECT_FALSE(machine_.report(entry_at(1)));
  open();
}

TEST_F(Faults, RecordsComeInOrderAndWhole) {
  open();
  kiommu_fault fault = entry_at(7);
  fault.gpa = 0x123456789000;
  fault.code = 9;
  fault.format = KVM_IOMMU_FORMAT_ZPCI;
  fault.access = KVM_IOMMU_READ;
  fault.level = 2;
  fault.device = 0xdeadbeef;
  // Fields that the reporter does not set.
  fault.sequence = fault.count = fault.lost = 77;
  fault.pasid = fault.group = 77;
  fault.cookie = 77;
  EXPECT_TRUE(machine_.report(fault));
  report(1, 2);
  EXPECT_TRUE(machine_.faults_readable());
  const kiommu_fault record = next();
  EXPECT_EQ(record.sequence, 0u);
  EXPECT_EQ(record.iova, fault.iova);
  EXPECT_EQ(record.gpa, fault.gpa);
  EXPECT_EQ(record.count, 1u);
  EXPECT_EQ(record.lost, 0u);
  EXPECT_EQ(record.reason, fault.reason);
  EXPECT_EQ(record.flags, fault.flags);
  EXPECT_EQ(record.code, fault.code);
  EXPECT_EQ(record.status, fault.status);
  EXPECT_EQ(record.format, fault.format);
  EXPECT_EQ(record.access, fault.access);
  EXPECT_EQ(record.level, fault.level);
  EXPECT_EQ(record.device, fault.device);
  EXPECT_EQ(record.pasid, 0u);
  EXPECT_EQ(record.group, 0u);
  EXPECT_EQ(record.cookie, 0u);
  EXPECT_EQ(record.length, 0u);
  const auto rest = machine_.read_faults(16);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[0].sequence, 1u);
  EXPECT_EQ(rest[0].iova, kPage);
  EXPECT_EQ(rest[1].sequence, 2u);
  EXPECT_EQ(rest[1].iova, 2 * kPage);
  EXPECT_FALSE(machine_.faults_readable());
}

TEST_F(Faults, RepeatsAreCountedInTheRecord) {
  open();
  kiommu_fault fault = entry_at(5);
  fault.iova += 0x10;
  EXPECT_TRUE(machine_.report(fault));
  report(6, 3);
  EXPECT_EQ(machine_.reader_woken(), 4u);
  // Elsewhere in the same page, with newer records behind it.
  for (unsigned i = 0; i < 1000; ++i) {
    fault.iova = 5 * kPage + i;
    EXPECT_TRUE(machine_.report(fault));
  }
  EXPECT_EQ(machine_.reader_woken(), 4u);
  const auto records = machine_.read_faults(64);
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].iova, 5 * kPage + 0x10);
  for (unsigned i = 0; i < 4; ++i) {
    EXPECT_EQ(records[i].sequence, i);
    EXPECT_EQ(records[i].count, i == 0 ? 1001u : 1u);
  }
  // A record that was read no longer counts further faults.
  EXPECT_TRUE(machine_.report(fault));
  EXPECT_EQ(machine_.reader_woken(), 5u);
  const kiommu_fault again = next();
  EXPECT_EQ(again.count, 1u);
  EXPECT_EQ(again.sequence, 4u);
}

TEST_F(Faults, WhatDiffersIsARecordOfItsOwn) {
  open();
  void (*const changes[])(kiommu_fault&) = {
      [](kiommu_fault&) {},
      [](kiommu_fault& f) { f.iova += kPage; },
      [](kiommu_fault& f) { f.gpa += 8; },
      [](kiommu_fault& f) { ++f.reason; },
      [](kiommu_fault& f) { f.flags |= KVM_IOMMU_FAULT_ZPCI; },
      [](kiommu_fault& f) { ++f.code; },
      [](kiommu_fault& f) { ++f.status; },
      [](kiommu_fault& f) { ++f.format; },
      [](kiommu_fault& f) { ++f.access; },
      [](kiommu_fault& f) { ++f.level; },
      [](kiommu_fault& f) { ++f.device; },
  };
  for (unsigned round = 0; round < 2; ++round) {
    for (auto change : changes) {
      kiommu_fault fault = entry_at(5);
      change(fault);
      EXPECT_TRUE(machine_.report(fault));
    }
  }
  const auto records = machine_.read_faults(64);
  ASSERT_EQ(records.size(), std::size(changes));
  for (const kiommu_fault& record : records) EXPECT_EQ(record.count, 2u);
}

// A record that is on its way to the reader does not change.
TEST_F(Faults, WhatTheReaderHasSeenStaysAsItIs) {
  open();
  report(1, 3);
  ASSERT_EQ(machine_.peek_faults(2).size(), 2u);
  report(1, 3);
  machine_.drop_faults(2);
  auto records = machine_.peek_faults(8);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].iova, 3 * kPage);
  EXPECT_EQ(records[0].count, 2u);
  EXPECT_EQ(records[1].iova, kPage);
  EXPECT_EQ(records[1].count, 1u);
  EXPECT_EQ(records[2].iova, 2 * kPage);
  // The reader could not store them: nothing is lost, and all records may
  // change again.
  machine_.drop_faults(0);
  report(1, 3);
  records = machine_.read_faults(8);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].count, 3u);
  EXPECT_EQ(records[1].count, 2u);
  EXPECT_EQ(records[2].count, 2u);
  EXPECT_FALSE(machine_.faults_readable());
}

TEST_F(Faults, WhatFindsNoPlaceIsCounted) {
  open();
  report(0, kRecords);
  EXPECT_EQ(machine_.reader_woken(), kRecords);
  report(1000, 5);
  report(1000, 1);
  report(3, 2);  // these have a record
  EXPECT_EQ(machine_.reader_woken(), kRecords);
  // A loss is reported again until it was read.
  EXPECT_EQ(machine_.peek_faults(1).front().lost, 6u);
  machine_.drop_faults(0);
  report(2000, 1);
  auto records = machine_.read_faults(8);
  ASSERT_EQ(records.size(), 8u);
  EXPECT_EQ(records[0].lost, 7u);
  for (unsigned i = 1; i < 8; ++i) EXPECT_EQ(records[i].lost, 0u);
  EXPECT_EQ(records[3].count, 2u);
  EXPECT_EQ(records[4].count, 2u);
  // There is room again; the sequence numbers tell where the lost records were.
  report(3000, 1);
  unsigned seen = 8;
  while (machine_.faults_readable()) {
    for (const kiommu_fault& record : machine_.read_faults(kRecords)) {
      EXPECT_EQ(record.lost, 0u);
      if (seen < kRecords) {
        EXPECT_EQ(record.sequence, seen);
        EXPECT_EQ(record.iova, seen * kPage);
      } else {
        EXPECT_EQ(record.sequence, kRecords + 7);
        EXPECT_EQ(record.iova, 3000 * kPage);
      }
      ++seen;
    }
  }
  EXPECT_EQ(seen, kRecords + 1);
}

// A loss while the reader takes records out is reported by one that is queued.
TEST_F(Faults, LossIsToldByWhatIsQueued) {
  open();
  report(0, kRecords);
  const auto records = machine_.peek_faults(10 * kRecords);
  ASSERT_EQ(records.size(), kRecords / 2);
  EXPECT_EQ(records[0].lost, 0u);
  report(1000, 3);
  machine_.drop_faults(kRecords / 2);
  EXPECT_EQ(next().lost, 3u);
  EXPECT_EQ(next().lost, 0u);
}

// The queue against a simple model: sequence, count, lost, order.
TEST_F(Faults, AgreesWithAModel) {
  open();
  std::mt19937_64 random(5);
  std::deque<kiommu_fault> model;
  u64 sequence = 0, lost = 0;
  for (unsigned step = 0; step < 20000; ++step) {
    // Alternate long stretches in which more is reported than read with the
    // opposite.
    if (random() % 100 < (step / 1000 % 2 == 0 ? 90 : 20)) {
      const kiommu_fault fault = entry_at(random() % (2 * kRecords));
      EXPECT_TRUE(machine_.report(fault));
      auto like = std::find_if(
          model.begin(), model.end(),
          [&](const kiommu_fault& other) { return other.iova == fault.iova; });
      if (like != model.end()) {
        ++like->count;
      } else if (model.size() == kRecords) {
        ++sequence, ++lost;
      } else {
        model.push_back(fault);
        model.back().sequence = sequence++;
        model.back().count = 1;
      }
      continue;
    }
    const auto records = machine_.read_faults(1 + random() % 9);
    for (const kiommu_fault& record : records) {
      ASSERT_FALSE(model.empty());
      ASSERT_EQ(record.iova, model.front().iova);
      ASSERT_EQ(record.sequence, model.front().sequence);
      ASSERT_EQ(record.count, model.front().count);
      ASSERT_EQ(record.lost, lost);
      model.pop_front();
      lost = 0;
    }
    ASSERT_EQ(machine_.faults_readable(), !model.empty());
  }
}

// Several threads report while one reads: each fault is counted once.
TEST_F(Faults, NoneIsForgottenInParallel) {
  constexpr unsigned kThreads = 3, kReports = 20000;
  open();
  std::atomic<unsigned> running{kThreads};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &running] {
      for (unsigned i = 0; i < kReports; ++i) {
        machine_.report_dma(dma_at(((i % 300) * kThreads + t) * kPage));
      }
      --running;
    });
  }
  u64 told = 0, after = 0;
  while (running > 0 || machine_.faults_readable()) {
    for (const kiommu_fault& record : machine_.read_faults(8)) {
      EXPECT_GE(record.sequence, after);
      after = record.sequence + 1;
      told += record.count + record.lost;
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(told, u64{kThreads} * kReports);
}

TEST_F(Faults, DmaIsToldInTheWordsOfTheAnchor) {
  open();
  machine_.guest.add_ram(kTablesGpa, 64, port::kShuffled);
  // Reports a blocked access, and returns its record.
  const auto dma = [this](u64 iova, unsigned access) {
    EXPECT_TRUE(machine_.report_dma(dma_at(iova, access)));
    const kiommu_fault record = next();
    EXPECT_EQ(record.reason, unsigned{KVM_IOMMU_FAULT_DMA});
    EXPECT_EQ(record.iova, iova);
    EXPECT_EQ(record.access, access);
    EXPECT_EQ(record.device, 0x10020u);
    EXPECT_EQ(record.status, 0u);
    EXPECT_TRUE((record.flags & KVM_IOMMU_FAULT_PCI) != 0);
    return record;
  };
  const auto has_format = [](const kiommu_fault& record) {
    return (record.flags & KVM_IOMMU_FAULT_HAS_FORMAT) != 0;
  };
  kiommu_fault record = dma(0, KVM_IOMMU_READ);
  EXPECT_FALSE(has_format(record));
  EXPECT_EQ(record.code, 0u);

  ASSERT_EQ(machine_.start(), 0);
  kiommu_anchor anchor = Spec<ZpciFormat>::anchor(2, kTablesGpa);
  anchor.first = 0x10000;
  anchor.last = 0x1ffff;
  ASSERT_EQ(machine_.anchor(anchor), 0);
  record = dma(0x10000, KVM_IOMMU_READ);
  EXPECT_TRUE(has_format(record));
  EXPECT_EQ(record.format, unsigned{KVM_IOMMU_FORMAT_ZPCI});
  EXPECT_EQ(record.code, 4u);
  EXPECT_EQ(dma(0x1ffff, KVM_IOMMU_WRITE).code, 4u);
  EXPECT_EQ(dma(0xffff, KVM_IOMMU_WRITE).code, 2u);
  EXPECT_EQ(dma(0x20000, KVM_IOMMU_READ).code, 2u);
  ASSERT_EQ(machine_.unanchor(), 0);
  EXPECT_FALSE(has_format(dma(0x10000, KVM_IOMMU_READ)));

  ASSERT_EQ(machine_.anchor(Spec<VtdSsFormat>::anchor(2, kTablesGpa)), 0);
  record = dma(0x10000, KVM_IOMMU_READ);
  EXPECT_EQ(record.format, unsigned{KVM_IOMMU_FORMAT_VTD_SS});
  EXPECT_EQ(record.code, 6u);
  EXPECT_EQ(dma(0x10000, KVM_IOMMU_WRITE).code, 5u);
  EXPECT_EQ(dma(0x10000, KVM_IOMMU_READ | KVM_IOMMU_WRITE).code, 5u);
  EXPECT_EQ(dma(u64{1} << 39, KVM_IOMMU_WRITE).code, 4u);
  ASSERT_EQ(machine_.stop(), 0);
  EXPECT_FALSE(has_format(dma(0x10000, KVM_IOMMU_READ)));

  ASSERT_EQ(machine_.start(), 0);
  kiommu_anchor all{};
  all.rights = KIOMMU_READ | KIOMMU_WRITE;
  ASSERT_EQ(machine_.anchor(all), 0);
  record = dma(0x10000, KVM_IOMMU_READ);
  EXPECT_TRUE(has_format(record));
  EXPECT_EQ(record.format, unsigned{KVM_IOMMU_FORMAT_IDENTITY});
  EXPECT_EQ(record.code, 0u);
}

// Unread records survive the domain.
TEST(FaultQueue, OutlivesItsDomain) {
  port::Ledger ledger;
  port::HostMemory memory;
  port::HostIommus iommus(memory);
  kiommu_fault_reader reader;
  kiommu_faults* queue = nullptr;
  kiommu_domain* domain = nullptr;
  kiommu_fault record{};
  const kiommu_fault fault = entry_at(3);
  {
    const port::CallScope call(ledger, port::Locks::kNone, nullptr, nullptr);
    ASSERT_EQ(kiommu_core_faults_create(&reader, &queue), 0);
    ASSERT_EQ(kiommu_core_create(iommus.handle(), queue, kMiB, &domain), 0);
    ASSERT_EQ(kiommu_core_faults_open(queue), 0);
    EXPECT_EQ(kiommu_core_report_fault(queue, &fault), 1);
    kiommu_core_destroy(domain);
  }
  EXPECT_EQ(kiommu_core_report_fault(queue, &fault), 1);
  EXPECT_EQ(kiommu_core_faults_readable(queue), 1);
  EXPECT_EQ(kiommu_core_faults_peek(queue, &record, 1), 1u);
  EXPECT_EQ(record.count, 2u);
  kiommu_core_faults_drop(queue, 1);
  kiommu_core_faults_destroy(queue);
  EXPECT_EQ(ledger.live, 0);
}

}  // namespace
}  // namespace kiommu::test
