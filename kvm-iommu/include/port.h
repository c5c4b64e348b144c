/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface from the core to its surroundings: memory, locks, the guest's
 * memory, pins, host IOMMUs. The kernel module implements it in kvm-iommu/linux/,
 * the tests in selftests/fake_port/.
 *
 * Context: the core calls these from the calls of core.h, on the same thread
 * and with the caller's locks held; a mutex is held only where noted. Each may
 * sleep unless noted otherwise, and may be called on several threads
 * concurrently.
 */
#ifndef KIOMMU_PORT_H
#define KIOMMU_PORT_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Size in bytes of a node: of the shadow's trees, or of scratch space. */
#define KIOMMU_NODE_BYTES 4096

/* Rights, as in the user-space interface. */
#define KIOMMU_READ 1u
#define KIOMMU_WRITE 2u

/**
 * kiommu_port_alloc_node() - allocate KIOMMU_NODE_BYTES
 *
 * The memory is zeroed, and aligned to its size. Charged to the memory cgroup
 * of the caller.
 *
 * Return: NULL if there is no memory.
 */
void *kiommu_port_alloc_node(void);
void kiommu_port_free_node(void *node);

/**
 * kiommu_port_alloc_array() - allocate memory of any size
 *
 * The memory is zeroed, and aligned to 16 bytes. Charged to the memory cgroup
 * of the caller.
 *
 * Return: NULL if there is no memory.
 */
void *kiommu_port_alloc_array(kiommu_u64 bytes);
void kiommu_port_free_array(void *array);

/*
 * A mutex: a lock that may be held while sleeping, and a queue to wait in. It
 * is not held across calls of other parts of the port, except to allocate and
 * free nodes and arrays, and to track and untrack pages.
 */
struct kiommu_mutex;

/* Return: NULL if there is no memory. */
struct kiommu_mutex *kiommu_port_mutex_create(void);
void kiommu_port_mutex_destroy(struct kiommu_mutex *mutex);
void kiommu_port_lock(struct kiommu_mutex *mutex);
void kiommu_port_unlock(struct kiommu_mutex *mutex);
/*
 * Called with the mutex locked: unlocks it, sleeps until kiommu_port_wake() or
 * a spurious wakeup, and locks it again. Return: 0; -EINTR if a fatal signal is
 * pending.
 */
int kiommu_port_wait(struct kiommu_mutex *mutex);
/* Called with the mutex locked: wakes up all waiters. */
void kiommu_port_wake(struct kiommu_mutex *mutex);

/*
 * The lock of a domain's faults. It may be taken in any context except NMI,
 * also outside of calls of core.h, and is held across no other call of the
 * port.
 */
void kiommu_port_faults_lock(struct kiommu_fault_reader *reader);
void kiommu_port_faults_unlock(struct kiommu_fault_reader *reader);
/* Wakes up readers for a new record. The lock is not held; never sleeps. */
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
 * kiommu_port_find_slot() - find the slot with @gfn, or the next one above
 *
 * Return: 0; -ENOENT if there is neither.
 */
int kiommu_port_find_slot(struct kiommu_guest *guest, kiommu_u64 gfn,
			  struct kiommu_slot *slot);

/**
 * kiommu_port_read_entries() - read table entries from guest memory
 * @hva: multiple of 8, obtained from a slot; its memory may be gone since.
 * @entries: set to the entries, with the bytes in memory order as the guest
 *	wrote them.
 * @count: entries of 8 bytes, each of which is read once and whole.
 *
 * Return: 0; -EFAULT if memory is missing; -ENXIO if it is device memory, which
 * is not read; -EPERM if it is not the memory of the calling process; -ENOMEM if
 * the kernel has no memory to read it with.
 */
int kiommu_port_read_entries(struct kiommu_guest *guest, kiommu_u64 hva,
			     kiommu_u64 *entries, kiommu_u32 count);

/* kiommu_port_read_entries() for one entry. */
int kiommu_port_read_entry(struct kiommu_guest *guest, kiommu_u64 hva,
			   kiommu_u64 *entry);

/* Why no page could be pinned. */
enum kiommu_pin_failure {
	KIOMMU_PIN_UNBACKED, /* nothing accessible is mapped */
	KIOMMU_PIN_MMIO, /* device memory */
	KIOMMU_PIN_REFUSED, /* memory that must not be pinned for long */
	KIOMMU_PIN_NO_MEMORY,
	KIOMMU_PIN_INTERRUPTED, /* by a fatal signal */
};

struct kiommu_pin_result {
	kiommu_u32 writable; /* the pages were pinned for writing */
	enum kiommu_pin_failure failure; /* if no page was pinned */
	/* KIOMMU_PIN_MMIO: MMIO pages from @hva on in the same mapping */
	kiommu_u64 extent;
};

/**
 * kiommu_port_pin() - pin memory for the long term
 * @hva: page-aligned address in the memory of @guest's process.
 * @count: pages, 1..512, in one slot.
 * @write: try to pin for writing; falls back to reading where the memory is not
 *	writable, see result->writable.
 * @pfns: set to host page frame numbers (HPA / 4096) of the pinned pages.
 * @result: says how the pages were pinned, or why none was.
 *
 * Pages without an entry in the host's memory map are never pinned (MMIO).
 *
 * Return: number of pages pinned from @hva on, maybe fewer than @count; 0 if
 * none was, see result->failure.
 */
kiommu_u32 kiommu_port_pin(struct kiommu_guest *guest, kiommu_u64 hva,
			   kiommu_u32 count, int write, kiommu_u64 *pfns,
			   struct kiommu_pin_result *result);

#define KIOMMU_NO_PFN 0xffffffffffffffffull

/**
 * kiommu_port_look_up() - find the pages that are at these addresses now
 * @hva: page-aligned.
 * @count: pages, 1..512.
 * @pfns: set to page frame numbers, KIOMMU_NO_PFN where no page is present.
 *
 * Faults nothing in and pins nothing: the answer may be stale at once. Does not
 * wait for a lock that another process can hold; where it would have to, there
 * is no answer.
 *
 * Return: 0; -EAGAIN if nothing is known of these pages now, and @pfns is
 * invalid.
 */
int kiommu_port_look_up(struct kiommu_guest *guest, kiommu_u64 hva,
			kiommu_u32 count, kiommu_u64 *pfns);

/**
 * kiommu_port_unpin() - unpin a run of pages
 * @hva: where the first one was pinned; the others follow it.
 * @pfn: what the first one is; the others follow it.
 * @dirty: a device may have written to them.
 *
 * Never allocates, cannot fail.
 */
void kiommu_port_unpin(struct kiommu_guest *guest, kiommu_u64 hva,
		       kiommu_u64 pfn, kiommu_u64 count, int dirty);

/**
 * kiommu_port_account() - charge pages to locked_vm of @guest's process
 *
 * Return: 0; -ENOMEM if RLIMIT_MEMLOCK does not allow it; -EINTR on a fatal
 * signal, as with kiommu_port_interrupted(). Nothing is charged on failure.
 */
int kiommu_port_account(struct kiommu_guest *guest, kiommu_u64 pages);
void kiommu_port_unaccount(struct kiommu_guest *guest, kiommu_u64 pages);

/*
 * The host calls of one operation: what it unmapped and did not flush yet,
 * and scratch space for scatterlists. Used by one thread at a time. Operations
 * with batches of their own run in parallel on ranges that do not overlap.
 */
struct kiommu_batch;

/* Return: NULL if there is no memory. */
struct kiommu_batch *kiommu_port_batch_create(struct kiommu_hosts *hosts);
/* Everything that was unmapped has been flushed. */
void kiommu_port_batch_destroy(struct kiommu_batch *batch);

/* Contiguous host memory. */
struct kiommu_run {
	kiommu_u64 hpa; /* page-aligned */
	kiommu_u64 bytes; /* whole pages, at most 1 GiB */
};

#define KIOMMU_ALL_HOSTS 0xffffffffu
#define KIOMMU_MAX_RUNS 128u

/**
 * kiommu_port_host_map() - map runs one after the other, starting at an IOVA
 * @host: index of one host, or KIOMMU_ALL_HOSTS.
 * @iova: page-aligned; nothing is mapped at the IOVAs of the runs.
 * @runs: consecutive runs are not neighbours in host memory.
 * @count: number of runs, 1..KIOMMU_MAX_RUNS.
 *
 * Each run is one map call; the IOTLB of each host is synced once.
 *
 * Return: 0; -ENOMEM; another errno if a host refuses. On failure none of the
 * runs is mapped in any of the hosts concerned, nor in their IOTLBs.
 */
int kiommu_port_host_map(struct kiommu_batch *batch, kiommu_u32 host,
			 kiommu_u64 iova, const struct kiommu_run *runs,
			 kiommu_u32 count, kiommu_u32 rights);

/**
 * kiommu_port_host_unmap() - clear entries in all hosts
 *
 * The range consists of whole pages of the hosts' tables (SPLIT_PAGE) or of
 * whole runs (SPLIT_CALL), all of them mapped. The IOTLB may hold them until
 * kiommu_port_host_flush(). Never allocates, cannot fail.
 */
void kiommu_port_host_unmap(struct kiommu_batch *batch, kiommu_u64 iova,
			    kiommu_u64 bytes);

/**
 * kiommu_port_host_flush() - wait until no device can use what was unmapped
 */
void kiommu_port_host_flush(struct kiommu_batch *batch);

/**
 * kiommu_port_hosts_renew() - free the empty tables of all hosts
 *
 * Nothing is mapped in any of them, and the IOTLBs are flushed.
 *
 * Lock: exclusive.
 * Return: 0; an errno if some host keeps its tables.
 */
int kiommu_port_hosts_renew(struct kiommu_hosts *hosts);

/**
 * kiommu_port_write_entries() - write words to guest memory, for a ring
 * @hva: multiple of 8, obtained from a slot that can be written; its memory may
 *	be gone since.
 * @entries: words to write.
 * @count: words of 8 bytes; each is written whole, in the order of @entries.
 *
 * KVM's dirty log does not see it.
 *
 * Return: as kiommu_port_read_entries(); after -EFAULT some words may have been
 * written.
 */
int kiommu_port_write_entries(struct kiommu_guest *guest, kiommu_u64 hva,
			      const kiommu_u64 *entries, kiommu_u32 count);

/**
 * kiommu_port_track() - track the guest's stores to a page
 *
 * Every store made after this has returned is reported by
 * kiommu_core_tracking_store(), until kiommu_port_untrack() or until the page's
 * slot is gone. Several domains can track the same page. A mutex may be held.
 *
 * Return: 0; -ENOMEM; -EINVAL if no slot has the page.
 */
int kiommu_port_track(struct kiommu_guest *guest, kiommu_u64 gfn);

/*
 * Called once for each kiommu_port_track() that succeeded, even if the slot is
 * gone by then. A mutex may be held. Never allocates, cannot fail.
 */
void kiommu_port_untrack(struct kiommu_guest *guest, kiommu_u64 gfn);

/*
 * Device memory (MMIO) of other devices, for peer-to-peer DMA. It is not
 * pinned: the adapter takes it out of the hosts by itself before it goes away
 * (its BAR is unmapped, disabled or reset), and then calls
 * kiommu_core_mmio_revoked().
 */

/**
 * kiommu_port_mmio_map() - map device memory in all hosts
 * @hva: address at which the process has it mapped.
 * @pages: 1..512.
 * @rights: what the device may do, within what the mapping allows.
 *
 * Return: number of pages mapped from @iova on, at least 1, which need not be
 * contiguous in host memory; -EFAULT if it is not device memory that can be
 * mapped; -EACCES if the mapping is read-only; -ENOSPC if there is too much of
 * it; -ENOMEM; -EAGAIN if it keeps changing; -EINTR; another errno if a host
 * refuses. On failure nothing is mapped.
 */
int kiommu_port_mmio_map(struct kiommu_batch *batch, struct kiommu_guest *guest,
			 kiommu_u64 iova, kiommu_u64 hva, kiommu_u32 pages,
			 kiommu_u32 rights);

/**
 * kiommu_port_mmio_unmap() - unmap what is left of device memory in a range
 *
 * Flushed on return. Takes any range; never allocates, cannot fail.
 */
void kiommu_port_mmio_unmap(struct kiommu_batch *batch, struct kiommu_guest *guest,
			    kiommu_u64 iova, kiommu_u64 bytes);

/* Return: 1 if the page at @iova is still mapped as device memory, else 0. */
int kiommu_port_mmio_mapped(struct kiommu_batch *batch, struct kiommu_guest *guest,
			    kiommu_u64 iova);

/**
 * kiommu_port_yield() - give up the CPU if another task needs it
 */
void kiommu_port_yield(void);

/**
 * kiommu_port_interrupted() - yield, and check for a fatal signal
 *
 * Return: 1 if a fatal signal is pending, else 0.
 */
int kiommu_port_interrupted(void);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_PORT_H */
