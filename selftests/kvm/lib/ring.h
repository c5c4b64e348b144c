/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's driver of a ring (linux/kvm_iommu_ring.h), and what its VMM does
 * to set the ring up.
 *
 * The ring and this struct lie in the area of guest memory. The test sets them
 * up; then the guest (one vCPU at a time) calls the functions that are marked
 * with "Guest". The test may call them, too, while the guest does not run, but
 * has no doorbell: it signals the eventfd.
 *
 *	ring = kiommu_ring_new(vm->area, 64);
 *	kiommu_bell_open(&bell, vm, ring, KIOMMU_BELL_PIO);	(lib/x86/bell.h)
 *	kiommu_set_ring(fd, ring, 0, bell.kick_fd, -1);
 *	...
 *	guest: kiommu_ring_post(ring, iova, length, 0); any number of them
 *	       kiommu_ring_kick(ring);
 *	       status = kiommu_ring_wait(ring);
 */
#ifndef KIOMMU_SELFTEST_RING_H
#define KIOMMU_SELFTEST_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/kvm_iommu.h>
#include <linux/kvm_iommu_ring.h>

#include "area.h"

struct kiommu_ring {
	struct kvm_iommu_ring *mem;	/* shared with the host */
	uint64_t gpa;			/* of mem */
	uint32_t entries;
	uint32_t filled;		/* entries that are filled */
	uint32_t seen;			/* entries whose status was read */
	uint64_t doorbells;		/* how often the doorbell was rung */
	void (*ring_bell)(uint64_t argument);	/* guest: the doorbell */
	uint64_t bell_argument;
};

/* Bytes of the part that is shared with the host. */
static inline uint64_t kiommu_ring_bytes(uint32_t entries)
{
	return sizeof(struct kvm_iommu_ring) +
	       (uint64_t)entries * sizeof(struct kvm_iommu_ring_entry);
}

/* Creates a ring in the area, without a doorbell. */
struct kiommu_ring *kiommu_ring_new(struct kiommu_area *area, uint32_t entries);
/* Sets all indices to 0, as before KVM_IOMMU_SET_SYNC. */
void kiommu_ring_reset(struct kiommu_ring *ring);

/*
 * KVM_IOMMU_SET_SYNC; return 0 or -errno. The first one resets the ring.
 * @flags: KVM_IOMMU_SYNC_THREAD or 0. @notify_fd: an eventfd, or -1.
 */
int kiommu_set_ring(int fd, struct kiommu_ring *ring, uint32_t flags, int kick_fd,
		    int notify_fd);
int kiommu_set_explicit(int fd);
/* With KVM_IOMMU_SYNC_SLOTS. */
int kiommu_set_explicit_slots(int fd);
/* The same, except where devices lose deleted slots at once in any mode. */
void kiommu_lose_slots_at_once(int fd);
int kiommu_set_sync(int fd, const struct kvm_iommu_set_sync *cmd);

/* Guest: how many more entries fit. */
uint32_t kiommu_ring_room(const struct kiommu_ring *ring);
/*
 * Guest: fills an entry, which the host does not see yet. There must be room.
 */
void kiommu_ring_post(struct kiommu_ring *ring, uint64_t iova, uint64_t length,
		      uint32_t flags);
/* Guest: publishes the filled entries. Return: whether to ring the doorbell. */
bool kiommu_ring_publish(struct kiommu_ring *ring);
/* Guest: the same, and rings the doorbell if the host wants it. */
void kiommu_ring_kick(struct kiommu_ring *ring);
/* Guest: whether all filled entries are done. */
bool kiommu_ring_is_done(const struct kiommu_ring *ring);
/*
 * Guest: waits until all filled entries are done, or the ring is broken.
 * Return: of the statuses that were not read yet, the first one that is not OK;
 * 0 if there is none; or KIOMMU_RING_IS_BROKEN.
 */
#define KIOMMU_RING_IS_BROKEN 0x10000u
uint64_t kiommu_ring_wait(struct kiommu_ring *ring);
/* Guest: posts one entry, kicks, and waits. */
uint64_t kiommu_ring_sync(struct kiommu_ring *ring, uint64_t iova,
			  uint64_t length, uint32_t flags);

#endif /* KIOMMU_SELFTEST_RING_H */
