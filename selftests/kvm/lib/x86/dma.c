// SPDX-License-Identifier: GPL-2.0-only
/* DMA by edu devices, see dma.h: runs in the test and in the guest. */
#include "dma.h"
#include "edu.h"

static_assert(EDU_BUFFER_SIZE >= KIOMMU_DMA_BUFFER, "buffer of an edu");

uint64_t kiommu_dma_present(void *dma)
{
	return edu_present(dma);
}

int64_t kiommu_dma_load(void *dma, uint64_t iova, uint64_t offset, uint64_t size)
{
	return edu_load(dma, iova, offset, size);
}

int64_t kiommu_dma_store(void *dma, uint64_t iova, uint64_t offset, uint64_t size)
{
	return edu_store(dma, iova, offset, size);
}

int64_t kiommu_dma_copy(void *dma, uint64_t to, uint64_t from, uint64_t size)
{
	return edu_copy(dma, to, from, size);
}

void *kiommu_dma_open(struct kiommu_device *dev, struct kiommu_vm *vm,
		      unsigned int i)
{
	(void)vm;
	(void)i;
	return dev->bar;
}

void kiommu_dma_close(void *dma)
{
	(void)dma;
}

uint64_t kiommu_dma_pins_made(void)
{
	return 0;
}

void kiommu_dma_anchor(int fd, const struct ioat *t, uint64_t offset)
{
	(void)fd;
	(void)t;
	(void)offset;
}
