// SPDX-License-Identifier: GPL-2.0-only
//
// Compares translate_range() with translate(), page by page.
#pragma once

#include <cstring>

#include "world.hpp"

namespace kiommu::test {

using Records = std::vector<kiommu_range_record>;

inline bool same(const Records& a, const Records& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
}

// Fails the test unless translate_range() reports each page of the range as
// translate() does, in records of which no two could be one. `identity`: pages
// that are in no slot are left out.
template <class World>
void expect_range(World& world, u64 iova, u64 length, bool identity = false) {
  const auto told = world.translate_range(iova, length);
  ASSERT_EQ(told.error, 0);
  ASSERT_EQ(told.status, 0u);
  ASSERT_EQ(told.next, iova + length);
  auto record = told.records.begin();
  for (u64 at = iova; at < iova + length; at += kPage) {
    const kiommu_translation page = world.translate(at);
    if (record != told.records.end() && at == record->iova + record->length) {
      ++record;
    }
    const bool has = record != told.records.end() && at >= record->iova;
    if (page.shadow_rights == 0 &&
        (page.status == KVM_IOMMU_STATUS_NOT_MAPPED ||
         (identity && page.status == KVM_IOMMU_STATUS_NO_SLOT))) {
      ASSERT_FALSE(has) << std::hex << at;
      continue;
    }
    ASSERT_TRUE(has) << std::hex << at;
    ASSERT_EQ(record->status, page.status) << std::hex << at;
    ASSERT_EQ(record->rights, page.rights) << std::hex << at;
    ASSERT_EQ(record->shadow_rights, page.shadow_rights) << std::hex << at;
    ASSERT_EQ(record->page_size, page.page_size) << std::hex << at;
    const bool ok = page.status == KVM_IOMMU_STATUS_OK;
    ASSERT_EQ(ok ? record->gpa + (at - record->iova) : record->gpa, page.gpa)
        << std::hex << at;
  }
  if (record != told.records.end()) ++record;
  ASSERT_TRUE(record == told.records.end());
  for (std::size_t i = 1; i < told.records.size(); ++i) {
    const kiommu_range_record& a = told.records[i - 1];
    const kiommu_range_record& b = told.records[i];
    const bool ok = a.status == KVM_IOMMU_STATUS_OK;
    ASSERT_GE(b.iova, a.iova + a.length);
    ASSERT_FALSE(b.iova == a.iova + a.length && b.status == a.status &&
                 b.gpa == (ok ? a.gpa + a.length : 0) && b.rights == a.rights &&
                 b.shadow_rights == a.shadow_rights &&
                 b.page_size == a.page_size)
        << "two records for one at " << std::hex << b.iova;
  }
}

}  // namespace kiommu::test
