// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver of QEMU's edu device; runs in the test and in the guest. Registers
 * are accessed by plain moves: KVM's emulator loses the width of other
 * instructions.
 */
#include <errno.h>
#include <stdbool.h>

#include <linux/compiler.h>

#include "edu.h"

#define EDU_ID 0x00
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_TARGET 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_START 1u
#define EDU_DMA_TO_MEMORY 2u
/* The address of the device's buffer for its own DMA engine. */
#define EDU_BUFFER 0x40000u
#define EDU_CHUNK 2048u
/* Polls: minutes on a slow emulator, well above the 100 ms of a transfer. */
#define EDU_POLLS (1u << 26)

static uint32_t read32(void *bar, uint32_t reg)
{
	return READ_ONCE(*(uint32_t *)((char *)bar + reg));
}

static void write32(void *bar, uint32_t reg, uint32_t value)
{
	WRITE_ONCE(*(uint32_t *)((char *)bar + reg), value);
}

static void write64(void *bar, uint32_t reg, uint64_t value)
{
	WRITE_ONCE(*(uint64_t *)((char *)bar + reg), value);
}

uint64_t edu_present(void *bar)
{
	return (read32(bar, EDU_ID) & 0xff) == 0xed;
}

static int64_t transfer(void *bar, uint64_t source, uint64_t target,
			uint32_t size, uint32_t direction)
{
	write64(bar, EDU_DMA_SOURCE, source);
	write64(bar, EDU_DMA_TARGET, target);
	write32(bar, EDU_DMA_COUNT, size);
	write32(bar, EDU_DMA_COMMAND, EDU_DMA_START | direction);
	for (uint32_t i = 0; i < EDU_POLLS; i++)
		if (!(read32(bar, EDU_DMA_COMMAND) & EDU_DMA_START))
			return 0;
	return -ETIMEDOUT;
}

static bool in_buffer(uint64_t offset, uint64_t size)
{
	return offset <= EDU_BUFFER_SIZE && size &&
	       size <= EDU_BUFFER_SIZE - offset;
}

int64_t edu_load(void *bar, uint64_t iova, uint64_t offset, uint64_t size)
{
	if (!in_buffer(offset, size))
		return -EINVAL;
	return transfer(bar, iova, EDU_BUFFER + offset, size, 0);
}

int64_t edu_store(void *bar, uint64_t iova, uint64_t offset, uint64_t size)
{
	if (!in_buffer(offset, size))
		return -EINVAL;
	return transfer(bar, EDU_BUFFER + offset, iova, size, EDU_DMA_TO_MEMORY);
}

int64_t edu_copy(void *bar, uint64_t to, uint64_t from, uint64_t size)
{
	int64_t ret = 0;

	for (uint64_t done = 0; done < size && !ret; done += EDU_CHUNK) {
		uint64_t part = size - done < EDU_CHUNK ? size - done : EDU_CHUNK;

		ret = edu_load(bar, from + done, 0, part);
		if (!ret)
			ret = edu_store(bar, to + done, 0, part);
	}
	return ret;
}
