/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The test module's guest memory, and the other files of the module that have
 * ioctls on it.
 */
#ifndef KIOMMU_TEST_MEMORY_H
#define KIOMMU_TEST_MEMORY_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>

#include "guest/memory_provider.h"

struct kiommu_test_slots;

/**
 * struct kiommu_test_memory - one open file of /dev/kiommu_memory
 * @memory: what kvm_iommu.ko knows; its key is the address of this struct.
 * @refs: one for the file, one for each guest.
 * @list: entry in the list of all; protected by memories_lock of memory.c.
 * @slots_lock: held to change slots, until kvm_iommu.ko has been told. It is
 *	outside of all locks of kvm_iommu.ko, like kvm->slots_lock.
 * @slots: read under RCU, changed under @slots_lock.
 */
struct kiommu_test_memory {
	struct kiommu_memory memory;
	struct kref refs;
	struct list_head list;
	struct mutex slots_lock; /* serialises changes of slots */
	struct kiommu_test_slots __rcu *slots;
};

#ifdef KIOMMU_TEST_HOOK

/*
 * hook.c: ioctls numbered from KIOMMU_MEMORY_HOOK_BASE on. Called in the
 * process whose memory it is, with no lock held. Return: -ENOTTY for unknown
 * ones.
 */
long kiommu_test_hook_ioctl(struct kiommu_test_memory *memory, unsigned int cmd,
			    unsigned long arg);

/* The file is being closed: there are no more ioctls. Called in any process. */
void kiommu_test_hook_release(struct kiommu_test_memory *memory);

/*
 * Tells kvm_iommu.ko that slots were deleted or moved, by the hook as KVM does,
 * or without it directly. The caller holds slots_lock.
 */
void kiommu_test_slots_changed(struct kiommu_test_memory *memory);

#else

static inline long kiommu_test_hook_ioctl(struct kiommu_test_memory *memory,
					  unsigned int cmd, unsigned long arg)
{
	return -ENOTTY;
}

static inline void kiommu_test_hook_release(struct kiommu_test_memory *memory)
{
}

static inline void kiommu_test_slots_changed(struct kiommu_test_memory *memory)
{
	kiommu_guest_slots_changed(memory);
}

#endif

struct kiommu_memory_function;

/* KIOMMU_MEMORY_RESET_ERROR. */
#ifdef CONFIG_S390
int kiommu_test_reset_error(const struct kiommu_memory_function *function);
#else
static inline int
kiommu_test_reset_error(const struct kiommu_memory_function *function)
{
	return -ENOTTY;
}
#endif

#endif /* KIOMMU_TEST_MEMORY_H */
