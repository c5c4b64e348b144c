/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In Debian's source of 6.12.117 the tests of iommufd are newer than the kernel: they
 * name what its headers lack. That kernel's mocks have no PASIDs, so one that is to
 * have some is one without, with none to count. Its devices have one type of
 * information, the default: get_hw_info, which asks for others, fails. The compiler
 * includes this first (Makefile).
 */
#ifndef KIOMMU_IOMMUFD_MISSING_H
#define KIOMMU_IOMMUFD_MISSING_H

#define IOMMU_HW_INFO_TYPE_DEFAULT 0
#define IOMMU_HW_INFO_FLAG_INPUT_TYPE 1
/* One field, in and out. */
#define in_data_type out_data_type
#define MOCK_FLAGS_DEVICE_PASID 0
#define MOCK_PASID_WIDTH 0

#endif
