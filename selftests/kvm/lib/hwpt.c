// SPDX-License-Identifier: GPL-2.0-only
/* Domains that are HWPTs of an iommufd, see hwpt.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#include "kvm_util.h"

#include "cdev.h"
#include "dma.h"
#include "front.h"
#include "hwpt.h"

const char *kiommu_hwpt_lacks(void)
{
	if (!kiommu_front_has_hwpt())
		return "not on a kernel whose iommufd has providers of HWPTs";
	if (!strcmp(getenv("KIOMMU_HOST") ?: "", "virtio-iommu"))
		return "virtio-iommu has no tables before it is attached";
	return NULL;
}

static int iommufd_ioctl(const struct kiommu_hwpt *h, unsigned long request, void *arg)
{
	return ioctl(h->iommufd, request, arg) ? -errno : 0;
}

int kiommu_ioas_map_at(const struct kiommu_hwpt *h, void *memory, uint64_t gpa,
		       uint64_t length, uint32_t flags)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd),
		.flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = h->ioas,
		.user_va = (uintptr_t)memory,
		.length = length,
		.iova = gpa,
	};

	return iommufd_ioctl(h, IOMMU_IOAS_MAP, &cmd);
}

int kiommu_ioas_unmap_at(const struct kiommu_hwpt *h, uint64_t gpa, uint64_t length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd),
		.ioas_id = h->ioas,
		.iova = gpa,
		.length = length,
	};

	return iommufd_ioctl(h, IOMMU_IOAS_UNMAP, &cmd);
}

int kiommu_ioas_map(const struct kiommu_hwpt *h, enum kiommu_hwpt_area area,
		    uint32_t flags)
{
	return kiommu_ioas_map_at(h, h->memory + area * KIOMMU_HWPT_AREA,
				  KIOMMU_HWPT_GPA + area * KIOMMU_HWPT_AREA,
				  KIOMMU_HWPT_AREA, flags);
}

int kiommu_ioas_unmap(const struct kiommu_hwpt *h, enum kiommu_hwpt_area area)
{
	return kiommu_ioas_unmap_at(h, KIOMMU_HWPT_GPA + area * KIOMMU_HWPT_AREA,
				    KIOMMU_HWPT_AREA);
}

int kiommu_ioas_use_guest(const struct kiommu_hwpt *h, const struct kiommu_area *area)
{
	return kiommu_ioas_unmap(h, KIOMMU_HWPT_TABLES) ?:
	       kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA) ?:
	       kiommu_ioas_unmap(h, KIOMMU_HWPT_READ_ONLY) ?:
	       kiommu_ioas_map_at(h, area->mem, area->gpa, area->size,
				  IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE);
}

int kiommu_iommufd_destroy(const struct kiommu_hwpt *h, uint32_t id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return iommufd_ioctl(h, IOMMU_DESTROY, &cmd);
}

static int alloc(const struct kiommu_hwpt *h, struct iommu_hwpt_alloc *cmd, uint32_t *id)
{
	int ret = iommufd_ioctl(h, IOMMU_HWPT_ALLOC, cmd);

	if (!ret)
		*id = cmd->out_hwpt_id;
	return ret;
}

int kiommu_hwpt_alloc_any(const struct kiommu_hwpt *h, unsigned int device,
			  struct iommu_hwpt_alloc *cmd, uint32_t *id)
{
	cmd->size = sizeof(*cmd);
	cmd->dev_id = h->dev_id[device];
	return alloc(h, cmd, id);
}

int kiommu_hwpt_invalidate_any(const struct kiommu_hwpt *h,
			       struct iommu_hwpt_invalidate *cmd)
{
	cmd->size = sizeof(*cmd);
	return iommufd_ioctl(h, IOMMU_HWPT_INVALIDATE, cmd);
}

int kiommu_hw_info(const struct kiommu_hwpt *h, unsigned int device,
		   struct iommu_hw_info *cmd)
{
	cmd->size = sizeof(*cmd);
	cmd->dev_id = h->dev_id[device];
	return iommufd_ioctl(h, IOMMU_GET_HW_INFO, cmd);
}

struct kvm_iommu_hwpt kiommu_hwpt_data(const struct ioat *t)
{
	const struct kvm_iommu_register_ioat anchor = ioat_anchor(t);

	return (struct kvm_iommu_hwpt){
		.kvm_fd = -1,
		.format = anchor.format,
		.levels = anchor.levels,
		.iota = anchor.iota,
		.offset = anchor.offset,
		.first = anchor.first,
		.last = anchor.last,
		.rights = anchor.rights,
		.fault_fd = -1,
		/* Ignored. */
		.status = 0xdead,
	};
}

int kiommu_hwpt_alloc_with(const struct kiommu_hwpt *h, uint32_t flags, uint32_t pt_id,
			   void *data, uint32_t length, uint32_t *id)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.dev_id = h->dev_id[0],
		.pt_id = pt_id,
		.data_type = IOMMU_HWPT_DATA_KVM_IOMMU,
		.data_len = length,
		.data_uptr = (uintptr_t)data,
	};

	return alloc(h, &cmd, id);
}

uint32_t kiommu_hwpt_alloc(const struct kiommu_hwpt *h, const struct ioat *t)
{
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(t);
	uint32_t id = 0;
	int ret;

	ret = kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id);
	TEST_ASSERT(!ret && !data.status, "HWPT_ALLOC: %d, status %u", ret, data.status);
	return id;
}

int kiommu_hwpt_invalidate(const struct kiommu_hwpt *h, uint32_t id, void *entries,
			   uint32_t entry_len, uint32_t *count)
{
	struct iommu_hwpt_invalidate cmd = {
		.size = sizeof(cmd),
		.hwpt_id = id,
		.data_uptr = (uintptr_t)entries,
		.data_type = IOMMU_HWPT_DATA_KVM_IOMMU,
		.entry_len = entry_len,
		.entry_num = *count,
	};
	int ret = iommufd_ioctl(h, IOMMU_HWPT_INVALIDATE, &cmd);

	*count = cmd.entry_num;
	return ret;
}

int kiommu_hwpt_refresh(const struct kiommu_hwpt *h, uint32_t id, uint64_t iova,
			uint64_t length, uint32_t *status)
{
	struct kvm_iommu_hwpt_invalidate entry = {
		.iova = iova,
		.length = length,
		.status = 0xdead,
	};
	uint32_t count = 1;
	int ret = kiommu_hwpt_invalidate(h, id, &entry, sizeof(entry), &count);

	TEST_ASSERT(count == !ret, "INVALIDATE: %d, %u entries done", ret, count);
	TEST_ASSERT(ret || (!entry.status && entry.stopped_iova == iova + length),
		    "INVALIDATE: status %u", entry.status);
	if (status)
		*status = entry.status;
	return ret;
}

int kiommu_hwpt_attach(const struct kiommu_hwpt *h, unsigned int i, uint32_t id)
{
	struct vfio_device_attach_iommufd_pt cmd = { .argsz = sizeof(cmd), .pt_id = id };

	return ioctl(h->devices.dev[i].fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &cmd) ?
	       -errno : 0;
}

uint32_t kiommu_hwpt_attached(const struct kiommu_hwpt *h)
{
	uint32_t id = kiommu_hwpt_alloc(h, h->t);
	int ret;

	ret = kiommu_hwpt_refresh(h, id, KIOMMU_HWPT_IOVA,
				  KIOMMU_HWPT_PAGES * KIOMMU_PAGE, NULL);
	TEST_ASSERT(!ret, "refresh: %d", ret);
	ret = kiommu_hwpt_attach(h, 0, id);
	TEST_ASSERT(!ret, "attach: %d", ret);
	return id;
}

int kiommu_hwpt_detach(const struct kiommu_hwpt *h, unsigned int i)
{
	return kiommu_cdev_detach_ioas(h->devices.dev[i].fd);
}

bool kiommu_hwpt_reaches(const struct kiommu_hwpt *h, unsigned int i, uint64_t to,
			 uint8_t seed)
{
	char *there = h->data + to * KIOMMU_PAGE;
	int64_t ret;

	kiommu_fill(h->data, KIOMMU_PAGE, seed);
	kiommu_fill(there, KIOMMU_PAGE, (uint8_t)~seed);
	ret = kiommu_dma_copy(h->devices.dev[i].bar, KIOMMU_HWPT_IOVA + to * KIOMMU_PAGE,
			      KIOMMU_HWPT_IOVA, 128);
	TEST_ASSERT(!ret, "DMA: %ld", (long)ret);
	return kiommu_count_equal(there, 128, seed) == 128;
}

void kiommu_hwpt_open_device(struct kiommu_hwpt *h, unsigned int i)
{
	struct vfio_device_bind_iommufd cmd = {
		.argsz = sizeof(cmd),
		.iommufd = h->iommufd,
	};
	struct kiommu_device *dev = &h->devices.dev[i];

	dev->fd = kiommu_cdev_open(dev->group_id);
	TEST_ASSERT(dev->fd >= 0, "%s: %d", dev->bdf, dev->fd);
	if (h->kvm_vfio)
		kvm_device_attr_set(h->kvm_vfio, KVM_DEV_VFIO_FILE,
				    KVM_DEV_VFIO_FILE_ADD, &dev->fd);
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &cmd), "%s: bind: %d",
		    dev->bdf, errno);
	h->dev_id[i] = cmd.out_devid;
	kiommu_device_enable(dev, 1);
	kiommu_device_map(dev);
}

#define MAPPING ((KIOMMU_HWPT_AREAS + 1) * KIOMMU_HWPT_AREA)

static void make_memory(struct kiommu_hwpt *h)
{
	h->mapping = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(h->mapping != MAP_FAILED, "mmap: %d", errno);
	madvise(h->mapping, MAPPING, MADV_HUGEPAGE);
	h->memory = (char *)(((uintptr_t)h->mapping + KIOMMU_2M - 1) & -KIOMMU_2M);
}

static void make_tables(struct kiommu_hwpt *h)
{
	h->tables = (struct kiommu_area){
		.mem = h->memory,
		.gpa = KIOMMU_HWPT_GPA,
		.size = KIOMMU_HWPT_AREA,
	};
	h->data = h->memory + KIOMMU_HWPT_DATA * KIOMMU_HWPT_AREA;
	h->read_only = h->memory + KIOMMU_HWPT_READ_ONLY * KIOMMU_HWPT_AREA;
	h->t = ioat_new(&h->tables, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(h->t, KIOMMU_HWPT_IOVA, KIOMMU_HWPT_GPA + KIOMMU_HWPT_AREA,
		       KIOMMU_HWPT_PAGES, IOAT_RW);
}

void kiommu_hwpt_setup(struct kiommu_hwpt *h)
{
	kiommu_hwpt_setup_with(h, 0, 0);
}

void kiommu_hwpt_setup_with(struct kiommu_hwpt *h, int kvm_vfio, uint32_t parent_flags)
{
	const uint32_t rw = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE;
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_hwpt_alloc parent = { .size = sizeof(parent), .flags = parent_flags };
	int ret;

	memset(h, 0, sizeof(*h));
	h->kvm_vfio = kvm_vfio;
	kiommu_container_open(&h->devices);
	close(h->devices.fd);
	h->devices.fd = -1;
	make_memory(h);
	make_tables(h);
	h->iommufd = open_path_or_exit("/dev/iommu", O_RDWR | O_CLOEXEC);
	kiommu_hwpt_open_device(h, 0);
	ret = iommufd_ioctl(h, IOMMU_IOAS_ALLOC, &ioas);
	TEST_ASSERT(!ret, "IOAS_ALLOC: %d", ret);
	h->ioas = ioas.out_ioas_id;
	ret = kiommu_ioas_map(h, KIOMMU_HWPT_TABLES, rw) ?:
	      kiommu_ioas_map(h, KIOMMU_HWPT_DATA, rw) ?:
	      kiommu_ioas_map(h, KIOMMU_HWPT_READ_ONLY, IOMMU_IOAS_MAP_READABLE);
	TEST_ASSERT(!ret, "IOAS_MAP: %d", ret);
	parent.dev_id = h->dev_id[0];
	parent.pt_id = h->ioas;
	ret = alloc(h, &parent, &h->parent);
	TEST_ASSERT(!ret, "HWPT_ALLOC of the parent: %d", ret);
}

void kiommu_hwpt_teardown(struct kiommu_hwpt *h)
{
	for (unsigned int i = 0; i < h->devices.count; i++)
		if (h->devices.dev[i].fd >= 0)
			kiommu_device_close(&h->devices.dev[i]);
	if (h->iommufd > 0)
		close(h->iommufd);
	h->iommufd = -1;
	if (h->mapping)
		munmap(h->mapping, MAPPING);
	h->mapping = NULL;
}
