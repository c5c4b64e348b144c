// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's driver of a ring, see ring.h. No libc: most of it is guest code.
 *
 * x86 and s390 keep the order of stores, and of loads. So ordering the compiler
 * is enough, except for the full barrier between the store of avail and the
 * load of kick.
 */
#include <endian.h>
#include <string.h>

#include "test_util.h"

#include "host.h"
#include "ioctls.h"
#include "ring.h"

struct kiommu_ring *kiommu_ring_new(struct kiommu_area *area, uint32_t entries)
{
	struct kiommu_ring *ring = kiommu_alloc(area, sizeof(*ring), 64);

	ring->mem = kiommu_alloc(area, kiommu_ring_bytes(entries),
				 KVM_IOMMU_RING_ALIGN);
	ring->gpa = kiommu_gpa(area, ring->mem);
	ring->entries = entries;
	return ring;
}

void kiommu_ring_reset(struct kiommu_ring *ring)
{
	memset(ring->mem, 0, sizeof(*ring->mem));
	ring->filled = 0;
	ring->seen = 0;
}

int kiommu_set_sync(int fd, const struct kvm_iommu_set_sync *cmd)
{
	return kiommu_ioctl(fd, KVM_IOMMU_SET_SYNC, (void *)cmd);
}

int kiommu_set_ring(int fd, struct kiommu_ring *ring, uint32_t flags, int kick_fd,
		    int notify_fd)
{
	const struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.flags = flags,
		.mode = KVM_IOMMU_SYNC_RING,
		.entries = ring->entries,
		.ring = ring->gpa,
		.kick_fd = kick_fd,
		.notify_fd = notify_fd,
	};

	kiommu_ring_reset(ring);
	return kiommu_set_sync(fd, &cmd);
}

int kiommu_set_explicit(int fd)
{
	const struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.mode = KVM_IOMMU_SYNC_EXPLICIT,
	};

	return kiommu_set_sync(fd, &cmd);
}

int kiommu_set_explicit_slots(int fd)
{
	const struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.flags = KVM_IOMMU_SYNC_SLOTS,
		.mode = KVM_IOMMU_SYNC_EXPLICIT,
	};

	return kiommu_set_sync(fd, &cmd);
}

void kiommu_lose_slots_at_once(int fd)
{
	TEST_ASSERT(kiommu_host_lacks(KIOMMU_KVM) || !kiommu_set_explicit_slots(fd),
		    "KVM_IOMMU_SYNC_SLOTS");
}

static uint32_t load(const __le32 *field)
{
	return le32toh(__atomic_load_n(field, __ATOMIC_ACQUIRE));
}

static struct kvm_iommu_ring_entry *entry_of(const struct kiommu_ring *ring,
					     uint32_t index)
{
	return &ring->mem->entries[index & (ring->entries - 1)];
}

uint32_t kiommu_ring_room(const struct kiommu_ring *ring)
{
	return ring->entries - (ring->filled - load(&ring->mem->done));
}

void kiommu_ring_post(struct kiommu_ring *ring, uint64_t iova, uint64_t length,
		      uint32_t flags)
{
	struct kvm_iommu_ring_entry *entry = entry_of(ring, ring->filled++);

	entry->iova = htole64(iova);
	entry->length = htole64(length);
	entry->flags = htole32(flags);
	entry->status = ~0u;
}

bool kiommu_ring_publish(struct kiommu_ring *ring)
{
	struct kvm_iommu_ring *mem = ring->mem;
	uint32_t before = le32toh(mem->avail);

	__atomic_store_n(&mem->avail, htole32(ring->filled), __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return kvm_iommu_ring_passed(load(&mem->kick), ring->filled, before);
}

void kiommu_ring_kick(struct kiommu_ring *ring)
{
	if (!kiommu_ring_publish(ring))
		return;
	ring->doorbells++;
	ring->ring_bell(ring->bell_argument);
}

bool kiommu_ring_is_done(const struct kiommu_ring *ring)
{
	return load(&ring->mem->done) == ring->filled;
}

uint64_t kiommu_ring_wait(struct kiommu_ring *ring)
{
	uint64_t first = 0;

	while (!kiommu_ring_is_done(ring))
		if (load(&ring->mem->flags) & KVM_IOMMU_RING_BROKEN)
			return KIOMMU_RING_IS_BROKEN;
	for (; ring->seen != ring->filled; ring->seen++)
		if (!first)
			first = le32toh(entry_of(ring, ring->seen)->status);
	return first;
}

uint64_t kiommu_ring_sync(struct kiommu_ring *ring, uint64_t iova,
			  uint64_t length, uint32_t flags)
{
	kiommu_ring_post(ring, iova, length, flags);
	kiommu_ring_kick(ring);
	return kiommu_ring_wait(ring);
}
