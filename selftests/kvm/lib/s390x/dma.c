// SPDX-License-Identifier: GPL-2.0-only
/*
 * DMA by virtio disks, see dma.h: the buffer of a device is the beginning of
 * its disk.
 *
 * A disk needs its queue, and memory for the rest of the sectors around the
 * data. Both are pages of a slot of their own, which are mapped only while a
 * transfer lasts. The slot is then deleted, so that not even idle pins stay.
 *
 * Where nothing can be mapped (no anchor, no guest), the disk is told to look
 * at its queue all the same, and its DMA must be refused.
 *
 * A refused DMA leaves the function in its error state, from which
 * kiommu_memory.ko takes it back.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <sys/mman.h>

#include "kvm_util.h"

#include "dma.h"
#include "domain.h"
#include "ioctls.h"
#include "modules/memory/kiommu_memory.h"
#include "virtio_blk.h"

#define SECTOR VIRTIO_BLK_SECTOR
/* Behind the queue: whole sectors that a buffer can be a part of. */
#define REST VIRTIO_PCI_MEMORY
#define MEMORY_PAGES \
	((REST + KIOMMU_DMA_BUFFER + SECTOR + KIOMMU_PAGE - 1) / KIOMMU_PAGE)
#define MEMORY (MEMORY_PAGES * KIOMMU_PAGE)
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

struct dma {
	struct kiommu_device *dev;
	struct kiommu_vm *vm;
	unsigned int i;
	char *memory;		/* the queue, then the rest of sectors */
	struct virtio_blk disk;
	uint64_t iova;		/* of the memory, as the disk sees it */
	bool mapped;
};

#define MOST_ANCHORS 128

/* The last anchor of each domain. */
static struct anchor {
	int fd;
	struct ioat *t;		/* NULL: identity */
	uint64_t offset;
} anchors[MOST_ANCHORS];
static unsigned int anchor_count;
static pthread_mutex_t anchors_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t pins_made;

void kiommu_dma_anchor(int fd, const struct ioat *t, uint64_t offset)
{
	unsigned int i = 0;

	pthread_mutex_lock(&anchors_lock);
	while (i < anchor_count && anchors[i].fd != fd)
		i++;
	if (i < MOST_ANCHORS) {
		anchors[i] = (struct anchor){ fd, (struct ioat *)t, offset };
		if (i == anchor_count)
			anchor_count++;
	}
	pthread_mutex_unlock(&anchors_lock);
}

static bool anchor_of(int fd, struct anchor *anchor)
{
	bool found = false;

	pthread_mutex_lock(&anchors_lock);
	for (unsigned int i = 0; i < anchor_count && !found; i++) {
		found = anchors[i].fd == fd;
		*anchor = anchors[i];
	}
	pthread_mutex_unlock(&anchors_lock);
	return found;
}

uint64_t kiommu_dma_pins_made(void)
{
	return pins_made;
}

/* Whether mappings are those of a client of type1. */
static bool is_type1(const struct dma *d)
{
	const int fd = d->dev->container;

	if (kiommu_check_extension(fd, VFIO_TYPE1v2_IOMMU) != 1 ||
	    kiommu_domain_of(fd) != fd)
		return false;
	return kiommu_check_extension(fd, VFIO_KVM_IOMMU) != 1 ||
	       kiommu_get_state(fd) == KVM_IOMMU_STATE_CREATED;
}

/* Maps the memory as a guest would. Return: its IOVA. */
static uint64_t map_in_guest(struct dma *d)
{
	uint64_t iova = KIOMMU_DMA_IOVA(d->i), gpa = KIOMMU_DMA_GPA(d->i);
	const int fd = kiommu_domain_of(d->dev->container);
	struct kvm_iommu_refresh result;
	struct anchor anchor;
	int ret;

	if (!anchor_of(fd, &anchor))
		return iova;
	ret = kiommu_vm_set_slot(d->vm, KIOMMU_DMA_SLOT(d->i), 0, gpa, MEMORY,
				 d->memory);
	TEST_ASSERT(!ret, "slot for DMA: %d", ret);
	if (anchor.t)
		ioat_map_pages(anchor.t, iova, gpa, MEMORY_PAGES, IOAT_RW);
	else
		iova = gpa + anchor.offset;
	ret = kiommu_refresh(fd, iova, MEMORY, &result);
	d->mapped = !ret;
	TEST_ASSERT(!ret || ret == -ENODEV || ret == -ENXIO,
		    "REFRESH for DMA: %d, status %u", ret, result.status);
	if (!ret)
		pins_made += result.mapped;
	return iova;
}

static void unmap_in_guest(struct dma *d)
{
	struct anchor anchor;
	int ret;

	if (!anchor_of(kiommu_domain_of(d->dev->container), &anchor))
		return;
	ret = kiommu_vm_set_slot(d->vm, KIOMMU_DMA_SLOT(d->i), 0, 0, 0, NULL);
	TEST_ASSERT(!ret, "slot for DMA: %d", ret);
	if (anchor.t)
		ioat_unmap_pages(anchor.t, KIOMMU_DMA_IOVA(d->i), MEMORY_PAGES);
}

/*
 * Brings the disk into use, if it can reach its memory. settle() handles the
 * errors.
 */
static int begin(struct dma *d)
{
	d->mapped = false;
	d->iova = KIOMMU_DMA_IOVA(d->i);
	if (is_type1(d))
		d->mapped = !kiommu_map_dma(d->dev->container, d->memory, d->iova,
					    MEMORY, RW);
	else
		d->iova = map_in_guest(d);
	return virtio_blk_open(&d->disk, d->dev->fd, d->memory, d->iova);
}

/* Takes the function out of the error state, and resets the disk. */
static int recover(struct dma *d)
{
	struct kiommu_memory_function function;
	unsigned int dev, fn;
	int ret;

	TEST_ASSERT(sscanf(d->dev->bdf, "%x:%x:%x.%x", &function.domain,
			   &function.bus, &dev, &fn) == 4, "%s", d->dev->bdf);
	function.devfn = dev << 3 | fn;
	do {
		ret = kiommu_ioctl(d->vm->fd, KIOMMU_MEMORY_RESET_ERROR, &function);
		if (!ret)
			/* Transfers under way end here, and may be refused. */
			ret = virtio_blk_close(&d->disk);
	} while (ret == -EIO);
	return ret;
}

/*
 * Leaves the disk at rest. Return: what came of the transfer. A refused DMA is
 * no error; but a disk whose memory is not mapped must have been refused
 * (-EPROTO).
 */
static int settle(struct dma *d, int ret)
{
	if (!ret)
		ret = virtio_blk_close(&d->disk);
	if (ret == -EIO)
		return recover(d);
	return !ret && !d->mapped ? -EPROTO : ret;
}

/*
 * An open disk may look at its queue at any time. So it is closed, which ends
 * what is under way, while the queue is still mapped.
 */
static int end(struct dma *d, int ret)
{
	uint64_t size = MEMORY;

	ret = settle(d, ret);
	if (!is_type1(d))
		unmap_in_guest(d);
	else if (d->mapped)
		kiommu_unmap_dma(d->dev->container, d->iova, &size, 0);
	return ret;
}

/*
 * Makes whole sectors of a transfer: @size bytes at @iova, and the rest before
 * and after them in the memory behind the queue.
 */
static unsigned int split(const struct dma *d, uint64_t iova, uint64_t offset,
			  uint64_t size, struct virtio_blk_part *part)
{
	uint64_t rest = d->iova + REST, head = offset % SECTOR;
	uint64_t tail = -(head + size) % SECTOR;
	unsigned int count = 0;

	if (head)
		part[count++] = (struct virtio_blk_part){ rest, head };
	part[count++] = (struct virtio_blk_part){ iova, size };
	if (tail)
		part[count++] = (struct virtio_blk_part){ rest + head + size, tail };
	return count;
}

static int load(struct dma *d, uint64_t iova, uint64_t offset, uint64_t size)
{
	struct virtio_blk_part part[3];
	unsigned int count = split(d, iova, offset, size, part);
	uint64_t bytes = 0;
	int ret = 0;

	for (unsigned int i = 0; i < count; i++)
		bytes += part[i].bytes;
	/* Reads the sectors first, so that their other bytes stay. */
	if (count > 1)
		ret = virtio_blk_read(&d->disk, d->iova + REST, offset / SECTOR,
				      bytes);
	if (!ret)
		ret = virtio_blk_writev(&d->disk, part, count, offset / SECTOR);
	return ret;
}

static int store(struct dma *d, uint64_t iova, uint64_t offset, uint64_t size)
{
	struct virtio_blk_part part[3];
	unsigned int count = split(d, iova, offset, size, part);

	return virtio_blk_readv(&d->disk, part, count, offset / SECTOR);
}

static bool in_buffer(uint64_t offset, uint64_t size)
{
	return offset <= KIOMMU_DMA_BUFFER && size &&
	       size <= KIOMMU_DMA_BUFFER - offset;
}

int64_t kiommu_dma_load(void *dma, uint64_t iova, uint64_t offset, uint64_t size)
{
	if (!in_buffer(offset, size))
		return -EINVAL;
	return end(dma, begin(dma) ?: load(dma, iova, offset, size));
}

int64_t kiommu_dma_store(void *dma, uint64_t iova, uint64_t offset, uint64_t size)
{
	if (!in_buffer(offset, size))
		return -EINVAL;
	return end(dma, begin(dma) ?: store(dma, iova, offset, size));
}

int64_t kiommu_dma_copy(void *dma, uint64_t to, uint64_t from, uint64_t size)
{
	int64_t ret = 0;

	for (uint64_t done = 0; done < size && !ret; done += KIOMMU_DMA_BUFFER) {
		uint64_t part = size - done < KIOMMU_DMA_BUFFER ?
			size - done : KIOMMU_DMA_BUFFER;

		ret = kiommu_dma_load(dma, from + done, 0, part) ?:
		      kiommu_dma_store(dma, to + done, 0, part);
	}
	return ret;
}

uint64_t kiommu_dma_present(void *dma)
{
	struct dma *d = dma;
	int ret = end(d, begin(d));

	return !ret && d->disk.sectors * SECTOR >= KIOMMU_DMA_BUFFER + SECTOR;
}

void *kiommu_dma_open(struct kiommu_device *dev, struct kiommu_vm *vm,
		      unsigned int i)
{
	struct dma *d = calloc(1, sizeof(*d));

	TEST_ASSERT(d, "no memory");
	d->dev = dev;
	d->vm = vm;
	d->i = i;
	d->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(d->memory != MAP_FAILED, "no memory");
	return d;
}

void kiommu_dma_close(void *dma)
{
	struct dma *d = dma;

	if (!d)
		return;
	munmap(d->memory, MEMORY);
	free(d);
}
