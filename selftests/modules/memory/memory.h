/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The test module's guest memory, and who else in the module has ioctls on its
 * file.
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
 * @refs: the file, and each guest.
 * @list: of all; protected by a lock of memory.c.
 * @slots_lock: held by whoever changes slots, until all have been told. Order:
 *	outside of all locks of kvm_iommu.ko, as kvm->slots_lock.
 * @slots: what look-ups see, under RCU; changed under @slots_lock.
 * @hook: for hook.c alone; NULL at first.
 */
struct kiommu_test_memory {
	struct kiommu_memory memory;
	struct kref refs;
	struct list_head list;
	struct mutex slots_lock; /* of changes to slots */
	struct kiommu_test_slots __rcu *slots;
	void *hook;
};

#ifdef KIOMMU_TEST_HOOK

/*
 * hook.c: ioctls numbered from KIOMMU_MEMORY_HOOK_BASE on. The process is the
 * one whose memory it is; no lock is held. Return: -ENOTTY for unknown ones.
 */
long kiommu_test_hook_ioctl(struct kiommu_test_memory *memory, unsigned int cmd,
			    unsigned long arg);

/* The file is closed: nobody calls the other one any more. Any process. */
void kiommu_test_hook_release(struct kiommu_test_memory *memory);

/*
 * Slots were deleted or moved: kvm_iommu.ko is told, by the hook as KVM does, or
 * without it directly. Context: slots_lock is held.
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
