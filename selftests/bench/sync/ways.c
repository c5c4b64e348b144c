// SPDX-License-Identifier: GPL-2.0-only
/* The ways in which a host follows the guest's tables. */
#include "sync.h"

/* The tables are not followed: all DMA goes to a page that stays mapped. */
static int start_alone(struct sync *s)
{
	s->guest->target = SYNC_TARGET_IOVA;
	return 0;
}

static int set_ring(struct sync *s, uint32_t flags)
{
	return kiommu_set_ring(s->k.vfio.fd, s->guest->ring, flags,
			       s->bell.kick_fd, -1);
}

static int start_ring(struct sync *s)
{
	return set_ring(s, 0);
}

static int start_thread(struct sync *s)
{
	return set_ring(s, KVM_IOMMU_SYNC_THREAD);
}

static int set_tracked(struct sync *s, uint32_t burst)
{
	struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.mode = KVM_IOMMU_SYNC_TRACKED,
		.burst = burst,
	};

	return kiommu_set_sync(s->k.vfio.fd, &cmd);
}

static int start_tracked(struct sync *s)
{
	return set_tracked(s, 0);
}

static int start_burst(struct sync *s)
{
	return set_tracked(s, 8);
}

const struct sync_way sync_ways[] = {
	{ .name = "type1", .type = VFIO_TYPE1v2_IOMMU, .mapped = sync_tell_vmm,
	  .unmapped = sync_tell_vmm, .follow = sync_follow_type1 },
	{ .name = "refresh", .type = VFIO_KVM_IOMMU, .mapped = sync_tell_vmm,
	  .unmapped = sync_tell_vmm, .follow = sync_follow_refresh },
	{ .name = "ring", .type = VFIO_KVM_IOMMU, .mapped = sync_tell_ring,
	  .unmapped = sync_tell_ring_unmap, .start = start_ring },
	{ .name = "ring, thread", .type = VFIO_KVM_IOMMU, .mapped = sync_tell_ring,
	  .unmapped = sync_tell_ring_unmap, .start = start_thread },
	{ .name = "tracked", .type = VFIO_KVM_IOMMU, .start = start_tracked },
	{ .name = "tracked, burst", .type = VFIO_KVM_IOMMU,
	  .mapped = sync_tell_vmm, .unmapped = sync_tell_vmm,
	  .follow = sync_follow_refresh, .start = start_burst },
	{ .name = "guest alone", .type = VFIO_KVM_IOMMU, .start = start_alone,
	  .follow = sync_follow_refresh, .alone = true },
};

const unsigned int sync_way_count = ARRAY_SIZE(sync_ways);
