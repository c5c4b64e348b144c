// SPDX-License-Identifier: GPL-2.0-only
/* What tests of device files begin with, see device_file.h. */
#include <string.h>
#include <unistd.h>

#include "kvm_util.h"

#include "cdev.h"
#include "device_file.h"
#include "domain.h"

#define IOVA KIOMMU_FILE_IOVA
#define PAGES KIOMMU_FILE_PAGES

int kiommu_device_files_domain(struct kiommu_device_files *f)
{
	int fd = kiommu_domain_create(f->k.vm.fd);

	TEST_ASSERT(fd >= 0, "DOMAIN_CREATE: %d", fd);
	TEST_ASSERT(!kiommu_register_tables(fd, f->t), "REGISTER_IOAT");
	TEST_ASSERT(!kiommu_refresh(fd, IOVA, PAGES * KIOMMU_PAGE, NULL), "REFRESH");
	return fd;
}

void kiommu_device_file_open(struct kiommu_device_files *f, unsigned int i)
{
	struct kiommu_device *dev = &f->k.vfio.dev[i];

	dev->fd = kiommu_cdev_open(dev->group_id);
	TEST_ASSERT(dev->fd >= 0, "%s: %d", dev->bdf, dev->fd);
	/* Where the library finds its domain. */
	dev->container = dev->fd;
}

void kiommu_device_file_bind(struct kiommu_device_files *f, unsigned int i)
{
	struct kiommu_device *dev = &f->k.vfio.dev[i];
	int ret = kiommu_cdev_bind(dev->fd);

	TEST_ASSERT(!ret, "%s: bind: %d", dev->bdf, ret);
	kiommu_device_enable(dev, 1);
	kiommu_device_map(dev);
	kiommu_vm_add_bar(&f->k.vm, i, dev);
	f->k.bar[i] = dev->bar;
	f->k.dma[i] = kiommu_dma_open(dev, &f->k.vm, i);
}

void kiommu_device_file_open_and_bind(struct kiommu_device_files *f, unsigned int i)
{
	kiommu_device_file_open(f, i);
	kiommu_device_file_bind(f, i);
}

void kiommu_device_files_setup(struct kiommu_device_files *f)
{
	struct kiommu_area *area;

	memset(&f->k, 0, sizeof(f->k));
	f->k.kvm_vfio = -1;
	f->k.locked_vm = kiommu_locked_vm();
	kiommu_container_open(&f->k.vfio);
	close(f->k.vfio.fd);
	f->k.vfio.fd = -1;
	kiommu_vm_create(&f->k.vm, KIOMMU_AREA_SIZE, VM_MEM_SRC_ANONYMOUS_THP);
	area = f->k.vm.area;
	f->mem = kiommu_alloc(area, PAGES * KIOMMU_PAGE, KIOMMU_PAGE);
	f->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(f->t, IOVA, kiommu_gpa(area, f->mem), PAGES, IOAT_RW);
	f->fd = kiommu_device_files_domain(f);
}

void kiommu_device_files_teardown(struct kiommu_device_files *f)
{
	if (f->fd >= 0)
		kiommu_domain_close(f->fd);
	f->fd = -1;
	kiommu_teardown(&f->k);
}

bool kiommu_device_file_reaches(struct kiommu_device_files *f, unsigned int dev,
				uint64_t to, uint8_t seed)
{
	return kiommu_reaches(&f->k, dev, f->mem, IOVA, to, seed);
}

bool kiommu_device_file_blocked(struct kiommu_device_files *f, unsigned int dev,
				uint64_t to, uint8_t seed)
{
	return kiommu_host_lacks(KIOMMU_BARS) ||
	       !kiommu_device_file_reaches(f, dev, to, seed);
}
