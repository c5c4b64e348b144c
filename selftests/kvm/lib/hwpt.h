/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains that are HWPTs of an iommufd (linux/kvm_iommu_hwpt.h), step by step, and
 * set up at once: memory, an IOAS that maps it, its HWPT as a parent, tables, and
 * devices by their files. There is no KVM: the test drives the devices.
 *
 * Functions that return int return 0 or -errno.
 */
#ifndef KIOMMU_SELFTEST_HWPT_H
#define KIOMMU_SELFTEST_HWPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm_iommu.h>

#include "area.h"
#include "tables.h"
#include "vfio.h"

struct iommu_hw_info;
struct iommu_hwpt_alloc;
struct iommu_hwpt_invalidate;

/*
 * The memory: three areas of the IOAS, at KIOMMU_HWPT_GPA, as far apart as long. The
 * data begin with a huge page, if the kernel has one.
 */
#define KIOMMU_HWPT_GPA 0x40000000ull
#define KIOMMU_HWPT_AREA (2 * KIOMMU_2M)
enum kiommu_hwpt_area {
	KIOMMU_HWPT_TABLES,
	KIOMMU_HWPT_DATA,
	KIOMMU_HWPT_READ_ONLY,
	KIOMMU_HWPT_AREAS,
};

/* Where the tables map the data, page by page. */
#define KIOMMU_HWPT_IOVA 0x80000000ull
#define KIOMMU_HWPT_PAGES 16ull

struct kiommu_hwpt {
	struct kiommu_container devices;	/* a list, without its container */
	uint32_t dev_id[KIOMMU_MAX_DEVICES];	/* of the iommufd; 0: not bound */
	int iommufd;
	int kvm_vfio;		/* a KVM's device, which is told of devices; 0: none */
	uint32_t ioas;
	uint32_t parent;
	char *memory;		/* in @mapping */
	char *mapping;
	struct kiommu_area tables;
	char *data;
	char *read_only;
	struct ioat *t;
};

/* Return: why no domain can be an HWPT here, or NULL. */
const char *kiommu_hwpt_lacks(void);

/* Everything, device 0 bound and ready for DMA, but nothing attached. */
void kiommu_hwpt_setup(struct kiommu_hwpt *h);
/*
 * The same, for a KVM that is told of the devices (0: none), and with flags of
 * IOMMU_HWPT_ALLOC for the parent.
 */
void kiommu_hwpt_setup_with(struct kiommu_hwpt *h, int kvm_vfio, uint32_t parent_flags);
void kiommu_hwpt_teardown(struct kiommu_hwpt *h);

/* Opens and binds device @i. */
void kiommu_hwpt_open_device(struct kiommu_hwpt *h, unsigned int i);

int kiommu_ioas_map(const struct kiommu_hwpt *h, enum kiommu_hwpt_area area,
		    uint32_t flags);
int kiommu_ioas_unmap(const struct kiommu_hwpt *h, enum kiommu_hwpt_area area);
/* Any memory, anywhere. */
int kiommu_ioas_map_at(const struct kiommu_hwpt *h, void *memory, uint64_t gpa,
		       uint64_t length, uint32_t flags);
int kiommu_ioas_unmap_at(const struct kiommu_hwpt *h, uint64_t gpa, uint64_t length);
/* The IOAS has the memory of a guest, instead of that of the library. */
int kiommu_ioas_use_guest(const struct kiommu_hwpt *h, const struct kiommu_area *area);
int kiommu_iommufd_destroy(const struct kiommu_hwpt *h, uint32_t id);

/* What an allocation with the tables @t begins with. */
struct kvm_iommu_hwpt kiommu_hwpt_data(const struct ioat *t);
/* @flags, @pt_id: of struct iommu_hwpt_alloc. */
int kiommu_hwpt_alloc_with(const struct kiommu_hwpt *h, uint32_t flags,
			   uint32_t pt_id, void *data, uint32_t length,
			   uint32_t *id);
/* As user space that knows nothing of us calls. @cmd: dev_id, size are set here. */
int kiommu_hwpt_alloc_any(const struct kiommu_hwpt *h, unsigned int device,
			  struct iommu_hwpt_alloc *cmd, uint32_t *id);
int kiommu_hwpt_invalidate_any(const struct kiommu_hwpt *h,
			       struct iommu_hwpt_invalidate *cmd);
int kiommu_hw_info(const struct kiommu_hwpt *h, unsigned int device,
		   struct iommu_hw_info *cmd);
/* An HWPT of these tables; asserts. */
uint32_t kiommu_hwpt_alloc(const struct kiommu_hwpt *h, const struct ioat *t);

/* @count: set to entry_num as the kernel left it. */
int kiommu_hwpt_invalidate(const struct kiommu_hwpt *h, uint32_t id, void *entries,
			   uint32_t entry_len, uint32_t *count);
/* One entry. @status: set to its status, or NULL. */
int kiommu_hwpt_refresh(const struct kiommu_hwpt *h, uint32_t id, uint64_t iova,
			uint64_t length, uint32_t *status);

/* Attaches device @i, or replaces what it is attached to. */
int kiommu_hwpt_attach(const struct kiommu_hwpt *h, unsigned int i, uint32_t id);
/* An HWPT of the tables of kiommu_hwpt_setup(), refreshed, with device 0 attached. */
uint32_t kiommu_hwpt_attached(const struct kiommu_hwpt *h);
int kiommu_hwpt_detach(const struct kiommu_hwpt *h, unsigned int i);

/*
 * Device @i copies from page 0 of the data to page @to. Return: whether it arrives.
 */
bool kiommu_hwpt_reaches(const struct kiommu_hwpt *h, unsigned int i, uint64_t to,
			 uint8_t seed);

#endif
