// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for the core, and its yielding of the CPU.
 */
#include <linux/gfp.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "port.h"

/* A node is a page of the kernel, so the low bits of its address are free. */
static_assert(PAGE_SIZE == KIOMMU_NODE_BYTES);

void *kiommu_port_alloc_node(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
}

void kiommu_port_free_node(void *node)
{
	free_page((unsigned long)node);
}

void *kiommu_port_alloc_array(kiommu_u64 bytes)
{
	/* kvmalloc() warns about larger sizes. */
	if (bytes > INT_MAX)
		return NULL;
	return kvzalloc(bytes, GFP_KERNEL_ACCOUNT);
}

void kiommu_port_free_array(void *array)
{
	kvfree(array);
}

void kiommu_port_yield(void)
{
	cond_resched();
}

int kiommu_port_interrupted(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}
