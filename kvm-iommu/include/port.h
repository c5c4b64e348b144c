/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door from the core out into its surroundings: memory, locks, the guest's
 * memory, pins, host IOMMUs. The kernel module implements it in linux/, the
 * tests in selftests/fake_port/.
 *
 * Context: the core calls these from the calls of core.h, on the same thread,
 * and holds the caller's locks; a mutex is held only where it says so. Each
 * may sleep unless it says otherwise, and may be called on several threads at
 * the same time.
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

/**
 * kiommu_port_alloc_array() - zeroed memory of any size, aligned to 16 bytes
 *
 * Charged to the memory cgroup of the caller. Return: NULL if there is none.
 */
void *kiommu_port_alloc_array(kiommu_u64 bytes);
void kiommu_port_free_array(void *array);

/*
 * A mutex: a lock that may be held while sleeping, and a queue to wait in.
 * Never held across a call of another part of the port, but to allocate and
 * free nodes and arrays, and to track and untrack pages.
 */
struct kiommu_mutex;

/* Return: NULL if there is no memory. */
struct kiommu_mutex *kiommu_port_mutex_create(void);
void kiommu_port_mutex_destroy(struct kiommu_mutex *mutex);
void kiommu_port_lock(struct kiommu_mutex *mutex);
void kiommu_port_unlock(struct kiommu_mutex *mutex);
/*
 * Locked: unlocks, sleeps until kiommu_port_wake(), or less long, and locks.
 * Return: 0; -EINTR a fatal signal is pending.
 */
int kiommu_port_wait(struct kiommu_mutex *mutex);
/* Locked: wakes all that wait. */
void kiommu_port_wake(struct kiommu_mutex *mutex);

/*
 * The lock of a domain's faults, and who waits for them. It may be taken in
 * interrupts: in any context but that of a non-maskable interrupt, outside of
 * calls of core.h, too. Held across no other call of the port.
 */
void kiommu_port_faults_lock(struct kiommu_fault_reader *reader);
void kiommu_port_faults_unlock(struct kiommu_fault_reader *reader);
/* There is a new record: wakes who waits. Not locked; never sleeps. */
void kiommu_port_faults_ready(struct kiommu_fault_reader *reader);

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

/* kiommu_port_read_entry() - the same for one entry */
int kiommu_port_read_entry(struct kiommu_mem *mem, kiommu_u64 hva,
			   kiommu_u64 *entry);

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
	/* MMIO: pages from hva on in the same mapping, MMIO as well */
	kiommu_u64 extent;
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

#define KIOMMU_NO_PFN 0xffffffffffffffffull

/**
 * kiommu_port_look_up() - which pages are at these addresses now
 * @hva: page-aligned; @count: pages, 1..512.
 * @pfns: page frame numbers, KIOMMU_NO_PFN where no page is present.
 *
 * Brings nothing into memory and pins nothing: the answer can be stale at once.
 * Waits for no lock that another process can hold: where it would have to, there
 * is no answer. Return: 0; -EAGAIN nothing is known of these pages now, and @pfns
 * says nothing.
 */
int kiommu_port_look_up(struct kiommu_mem *mem, kiommu_u64 hva,
			kiommu_u32 count, kiommu_u64 *pfns);

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
 * Return: 0; -ENOMEM if RLIMIT_MEMLOCK does not allow it; -EINTR a fatal signal, as
 * kiommu_port_interrupted() says (nothing charged).
 */
int kiommu_port_account(struct kiommu_mem *mem, kiommu_u64 pages);
void kiommu_port_unaccount(struct kiommu_mem *mem, kiommu_u64 pages);

/*
 * What one request does in the hosts: what it unmapped and did not flush yet,
 * scratch space for scatter lists. Used by one thread at a time; requests with
 * batches of their own run in parallel on ranges that do not overlap.
 */
struct kiommu_batch;

/* Return: NULL if there is no memory. */
struct kiommu_batch *kiommu_port_batch_create(struct kiommu_hosts *hosts);
/* Nothing is waiting for a flush. */
void kiommu_port_batch_destroy(struct kiommu_batch *batch);

/* Host memory that is contiguous. */
struct kiommu_run {
	kiommu_u64 hpa; /* page-aligned */
	kiommu_u64 bytes; /* whole pages, at most 1 GiB */
};

#define KIOMMU_ALL_HOSTS 0xffffffffu
#define KIOMMU_MAX_RUNS 128u

/**
 * kiommu_port_host_map() - map runs one after the other, from an IOVA on
 * @host: index of one host, or KIOMMU_ALL_HOSTS.
 * @iova: page-aligned; nothing is mapped in the IOVAs of the runs.
 * @count: runs, 1..KIOMMU_MAX_RUNS; runs that follow each other in @runs are
 *	not neighbours in host memory.
 *
 * Each run is one map call; the hosts' IOTLBs are told once.
 * Return: 0; -ENOMEM; another errno if the host refuses. On failure none of
 * the runs is mapped in any of the hosts concerned, or in their IOTLBs.
 */
int kiommu_port_host_map(struct kiommu_batch *batch, kiommu_u32 host,
			 kiommu_u64 iova, const struct kiommu_run *runs,
			 kiommu_u32 count, kiommu_u32 rights);

/**
 * kiommu_port_host_unmap() - clear entries in all hosts
 *
 * The range is made of whole pages of the hosts' tables (SPLIT_PAGE) or whole
 * runs (SPLIT_CALL), all mapped. The IOTLB may still hold them until
 * kiommu_port_host_flush(). Never allocates, cannot fail.
 */
void kiommu_port_host_unmap(struct kiommu_batch *batch, kiommu_u64 iova,
			    kiommu_u64 bytes);

/**
 * kiommu_port_host_flush() - wait until no device can use what was unmapped
 */
void kiommu_port_host_flush(struct kiommu_batch *batch);

/**
 * kiommu_port_hosts_renew() - give back the empty tables of all hosts
 *
 * Nothing is mapped in any of them, and the IOTLBs are flushed.
 * Context: lock exclusive. Return: 0; an errno if some host keeps its tables.
 */
int kiommu_port_hosts_renew(struct kiommu_hosts *hosts);

/**
 * kiommu_port_write_entries() - write words to guest memory, for a ring
 * @hva: multiple of 8, obtained from a slot that can be written; may have lost
 *	its memory since.
 * @count: words of 8 bytes; each is written whole, in the order of @entries.
 *
 * KVM's dirty log does not see it. Return: as kiommu_port_read_entries(); after
 * -EFAULT some words may be written.
 */
int kiommu_port_write_entries(struct kiommu_mem *mem, kiommu_u64 hva,
			      const kiommu_u64 *entries, kiommu_u32 count);

/**
 * kiommu_port_track() - be told of the guest's stores to a page
 *
 * Every store that is made after this returned is told by
 * kiommu_core_tracking_store(), until kiommu_port_untrack() or until the page's
 * slot is gone. Several domains can track the same page. A mutex may be held.
 * Return: 0; -ENOMEM; -EINVAL no slot has the page.
 */
int kiommu_port_track(struct kiommu_mem *mem, kiommu_u64 gfn);

/*
 * Once for each kiommu_port_track() that succeeded, also if the slot is gone
 * meanwhile. A mutex may be held. Never allocates, cannot fail.
 */
void kiommu_port_untrack(struct kiommu_mem *mem, kiommu_u64 gfn);

/*
 * Device memory (MMIO) of other devices, for peer-to-peer DMA. It is not
 * pinned: the adapter takes it out of the hosts by itself before it goes away
 * (its BAR is unmapped, disabled, reset), and has the core told by
 * kiommu_core_mmio_revoked().
 */

/**
 * kiommu_port_mmio_map() - map device memory in all hosts
 * @hva: where the process has it mapped; @pages: 1..512.
 * @rights: what the device may do; must be within what the mapping allows.
 *
 * Return: pages mapped from @iova on, contiguous or not in host memory, at
 * least 1; -EFAULT it is not device memory that can be mapped; -EACCES the
 * mapping is read-only; -ENOSPC too many; -ENOMEM; -EAGAIN it changes all the
 * time; -EINTR; another errno if a host refuses. On failure nothing is mapped.
 */
int kiommu_port_mmio_map(struct kiommu_batch *batch, struct kiommu_mem *mem,
			 kiommu_u64 iova, kiommu_u64 hva, kiommu_u32 pages,
			 kiommu_u32 rights);

/**
 * kiommu_port_mmio_unmap() - take out what is left of it in a range
 *
 * Flushed on return. Any range; never allocates, cannot fail.
 */
void kiommu_port_mmio_unmap(struct kiommu_batch *batch, struct kiommu_mem *mem,
			    kiommu_u64 iova, kiommu_u64 bytes);

/* Return: 1 if the page at @iova is still mapped as device memory, else 0. */
int kiommu_port_mmio_mapped(struct kiommu_batch *batch, struct kiommu_mem *mem,
			    kiommu_u64 iova);

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
