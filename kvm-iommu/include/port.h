/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door from the core out into its surroundings: memory, the guest's
 * memory, pins, host IOMMUs. The kernel module implements it in linux/, the
 * tests in selftests/port/.
 *
 * Context: the core calls these from the calls of core.h, on the same thread,
 * and holds nothing but the caller's serialisation; each may sleep unless it
 * says otherwise.
 */
#ifndef KIOMMU_PORT_H
#define KIOMMU_PORT_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a node: of the shadow's trees, of scratch space. */
#define KIOMMU_NODE_BYTES 4096

/* Rights, as in the user-space interface. */
#define KIOMMU_READ 1u
#define KIOMMU_WRITE 2u

/**
 * kiommu_port_alloc_node() - KIOMMU_NODE_BYTES, zeroed, aligned to as many
 *
 * Charged to the memory cgroup of the caller. Return: NULL if there is none.
 */
void *kiommu_port_alloc_node(void);
void kiommu_port_free_node(void *node);

/* A memory slot of the guest. */
struct kiommu_slot {
	kiommu_u64 first_gfn; /* GPA / 4096 */
	kiommu_u64 pages; /* not 0 */
	kiommu_u64 hva; /* of first_gfn, page-aligned */
	kiommu_u32 flags;
#define KIOMMU_SLOT_READ_ONLY 1u
#define KIOMMU_SLOT_PRIVATE 2u /* may hold private memory */
};

/**
 * kiommu_port_find_slot() - the slot that holds @gfn, or the next one above
 *
 * Return: 0; -ENOENT if there is neither.
 */
int kiommu_port_find_slot(struct kiommu_mem *mem, kiommu_u64 gfn,
			  struct kiommu_slot *slot);

/**
 * kiommu_port_read_entries() - read table entries from guest memory
 * @hva: multiple of 8, obtained from a slot; may have lost its memory since.
 * @count: entries of 8 bytes. Each is read once, whole, in memory order of
 *	bytes as the guest wrote them.
 *
 * Return: 0; -EFAULT if memory is missing; -ENXIO if it is device memory,
 * which is not read; -EPERM if the calling process is not the one whose
 * memory this is.
 */
int kiommu_port_read_entries(struct kiommu_mem *mem, kiommu_u64 hva,
			     kiommu_u64 *entries, kiommu_u32 count);

/* Why no page could be pinned. */
enum kiommu_pin_failure {
	KIOMMU_PIN_UNBACKED, /* nothing, or nothing accessible, is mapped */
	KIOMMU_PIN_MMIO, /* device memory */
	KIOMMU_PIN_REFUSED, /* memory that must not be pinned for long */
	KIOMMU_PIN_NO_MEMORY,
	KIOMMU_PIN_INTERRUPTED, /* by a fatal signal */
};

struct kiommu_pin_result {
	kiommu_u32 writable; /* the pages were pinned for writing */
	enum kiommu_pin_failure failure; /* if no page was pinned */
	kiommu_u64 extent; /* MMIO: pages from hva on that are MMIO as well */
};

/**
 * kiommu_port_pin() - pin memory for the long term
 * @hva: page-aligned address in the memory of @mem's process.
 * @count: pages, 1..512, in one slot.
 * @write: try to pin for writing; falls back to reading where the memory is
 *	not writable (result->writable tells).
 * @pfns: host page frame numbers (HPA / 4096) of the pages pinned.
 *
 * Pages that have no entry in the host's memory map are never pinned (MMIO).
 * Return: pages pinned from @hva on, may be fewer than @count; 0: none, see
 * result->failure.
 */
kiommu_u32 kiommu_port_pin(struct kiommu_mem *mem, kiommu_u64 hva,
			   kiommu_u32 count, int write, kiommu_u64 *pfns,
			   struct kiommu_pin_result *result);

/**
 * kiommu_port_unpin() - give back a run of pinned pages
 * @dirty: a device may have written to them.
 *
 * Never allocates, cannot fail.
 */
void kiommu_port_unpin(struct kiommu_mem *mem, kiommu_u64 pfn,
		       kiommu_u64 count, int dirty);

/**
 * kiommu_port_account() - charge pages to locked_vm of @mem's process
 *
 * Return: 0; -ENOMEM if RLIMIT_MEMLOCK does not allow it (nothing charged).
 */
int kiommu_port_account(struct kiommu_mem *mem, kiommu_u64 pages);
void kiommu_port_unaccount(struct kiommu_mem *mem, kiommu_u64 pages);

#define KIOMMU_ALL_HOSTS 0xffffffffu

/**
 * kiommu_port_host_map() - one call per contiguous run
 * @host: index of one host, or KIOMMU_ALL_HOSTS.
 * @iova: page-aligned, nothing is mapped in [iova, iova + bytes).
 *
 * Return: 0; -ENOMEM; another errno if the host refuses. On failure nothing
 * of the range is mapped in any of the hosts concerned, or in their IOTLBs.
 */
int kiommu_port_host_map(struct kiommu_hosts *hosts, kiommu_u32 host,
			 kiommu_u64 iova, kiommu_u64 hpa, kiommu_u64 bytes,
			 kiommu_u32 rights);

/**
 * kiommu_port_host_unmap() - clear entries in all hosts
 *
 * The range is made of whole pages of the hosts' tables (SPLIT_PAGE) or whole
 * map calls (SPLIT_CALL), all mapped. The IOTLB may still hold them until
 * kiommu_port_host_flush(). Never allocates, cannot fail.
 */
void kiommu_port_host_unmap(struct kiommu_hosts *hosts, kiommu_u64 iova,
			    kiommu_u64 bytes);

/**
 * kiommu_port_host_flush() - wait until no device can use what was unmapped
 */
void kiommu_port_host_flush(struct kiommu_hosts *hosts);

/**
 * kiommu_port_yield() - give the CPU away if somebody waits for it
 */
void kiommu_port_yield(void);

/**
 * kiommu_port_interrupted() - yield, and ask whether to go on
 *
 * Return: 1 if a fatal signal is pending, else 0.
 */
int kiommu_port_interrupted(void);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_PORT_H */
