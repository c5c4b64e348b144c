/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest, a domain with a file that maps some of its memory, and devices by their
 * files: for tests of device files. Skipped on kernels that have none.
 */
#ifndef KIOMMU_SELFTEST_DEVICE_FILE_H
#define KIOMMU_SELFTEST_DEVICE_FILE_H

#include "kiommu_util.h"

#define KIOMMU_FILE_IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define KIOMMU_FILE_PAGES 16ull

struct kiommu_device_files {
	struct kiommu k;	/* without its container */
	int fd;			/* the domain */
	struct ioat *t;
	char *mem;		/* mapped at KIOMMU_FILE_IOVA */
};

void kiommu_device_files_setup(struct kiommu_device_files *f);
void kiommu_device_files_teardown(struct kiommu_device_files *f);

/* Another domain that maps the same. Return: its file. */
int kiommu_device_files_domain(struct kiommu_device_files *f);

/* Opens the file of device @i; binds it and gets it ready for DMA; both. */
void kiommu_device_file_open(struct kiommu_device_files *f, unsigned int i);
void kiommu_device_file_bind(struct kiommu_device_files *f, unsigned int i);
void kiommu_device_file_open_and_bind(struct kiommu_device_files *f, unsigned int i);

/* Whether device @dev reaches page @to, see kiommu_reaches(). */
bool kiommu_device_file_reaches(struct kiommu_device_files *f, unsigned int dev,
				uint64_t to, uint8_t seed);

/*
 * Whether a device that is attached to none of our domains does not reach the page.
 * (Not tried with a disk, whose own queue would be out of reach, too.)
 */
bool kiommu_device_file_blocked(struct kiommu_device_files *f, unsigned int dev,
				uint64_t to, uint8_t seed);

#endif
