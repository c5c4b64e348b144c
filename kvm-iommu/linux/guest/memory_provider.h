/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who provides the memory of a guest: memory slots over the memory of one
 * process. KVM is built in (kvm_memory.c); another module can register one of
 * its own beside it.
 *
 * A guest is known by its key: the address of an object of its provider, which
 * is compared and handed back, and dereferenced by the provider alone. For KVM
 * it is the struct kvm.
 *
 * Lifetimes. A memory is got when the first container is started with its
 * guest, and put after the last one has stopped; between, the provider's object
 * cannot go away, nor can its module, which is referenced. What a provider may
 * be asked when:
 *
 *   key_of_file, get  any time while it is registered
 *   find_slot, hold_hva, generation  any time between get and put
 *   listen, ignore  in turns, between get and put, ignore last
 *   put  once for each get, after all of these
 *
 * Slots that change. A look-up that begins after a change was made must see it;
 * generation() must have changed by then, too. A slot that was deleted or moved
 * stays mapped until the core is told: as part of the change, before whoever
 * asked for it is answered, a provider calls kiommu_guest_slots_changed(), when
 * look-ups do not find the slot any more. A provider that cannot is served by
 * the generation: the next call on the guest notices, or within a second or so a
 * work.
 */
#ifndef KIOMMU_MEMORY_PROVIDER_H
#define KIOMMU_MEMORY_PROVIDER_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/types.h>

#include "port.h"

struct file;
struct kiommu_mem;
struct kiommu_memory_provider;
struct module;

/**
 * struct kiommu_memory - a guest's memory; part of an object of its provider
 * @key: of the guest.
 * @mm: the process whose memory the slots are made of; referenced (mmgrab) by
 *	the provider until the memory is put.
 *
 * Both are set by get() and do not change. Several guests may be given the same
 * memory, one after the other: one that is put may have a successor already.
 */
struct kiommu_memory {
	const void *key;
	struct mm_struct *mm;
};

/**
 * struct kiommu_memory_provider - what is asked of a provider
 * @owner: module that the functions are in; referenced by each guest.
 * @key_of_file: the key of the guest whose file that is, or NULL if it is none
 *	of this provider's. The file holds what the key names. May sleep.
 * @get: the memory of a guest, referenced; the caller knows that what @key
 *	names cannot go away meanwhile, but not whose it is. NULL if it is none
 *	of this provider's (which it finds out without looking into it);
 *	ERR_PTR(-ENODEV) if it or its process is going away, or -ENOMEM. May
 *	sleep.
 * @put: the opposite. May sleep, may free everything; none of the locks of
 *	lock.h is held.
 * @find_slot: as kiommu_port_find_slot(). Called under the locks of requests:
 *	may not wait for anybody who changes slots and waits for requests.
 * @hold_hva: whether a slot has memory of [first, last], addresses in @mm.
 *	Called by mmu notifiers: may not sleep, takes no lock under which memory
 *	is allocated.
 * @generation: a number that is another one when slots have changed. Slots that
 *	are looked up after it are at least as new. Any context.
 * @listen: optional, for one that is told of slots that go in a context in which
 *	kiommu_guest_slots_changed() may not be called (KVM): from now on call
 *	kiommu_slots_deleted() for @guest instead. Called in a thread of the
 *	guest's process. Return: 0; -EOPNOTSUPP the kernel has no such thing;
 *	-ENOMEM.
 * @ignore: the opposite, with @listen. No call is under way on return.
 * @can_track: optional, with the two below: whether stores of the guest are told
 *	by kiommu_tracked_store(), which needs @listen to have worked.
 * @track: tell of the stores to a page that are made after this returned. Called
 *	once for a page, under the locks of requests. Return: 0; -EINVAL no slot
 *	has the page; -ENOMEM.
 * @untrack: the opposite. Not called for pages whose slot has gone, of which
 *	kiommu_tracked_forget() has told.
 * @list: ours.
 */
struct kiommu_memory_provider {
	struct module *owner;
	const void *(*key_of_file)(struct file *file);
	struct kiommu_memory *(*get)(const void *key);
	void (*put)(struct kiommu_memory *memory);
	int (*find_slot)(struct kiommu_memory *memory, u64 gfn,
			 struct kiommu_slot *slot);
	bool (*hold_hva)(struct kiommu_memory *memory, unsigned long first,
			 unsigned long last);
	u64 (*generation)(struct kiommu_memory *memory);
	int (*listen)(struct kiommu_memory *memory, struct kiommu_mem *guest);
	void (*ignore)(struct kiommu_memory *memory);
	bool (*can_track)(struct kiommu_memory *memory);
	int (*track)(struct kiommu_memory *memory, u64 gfn);
	void (*untrack)(struct kiommu_memory *memory, u64 gfn);
	struct list_head list;
};

/**
 * kiommu_memory_register() - offer the memory of other guests than KVM's
 * @provider: must stay valid until kiommu_memory_unregister() has returned.
 *
 * KVM_IOMMU_START's file descriptor is offered to each provider, the last one
 * that registered first, KVM last.
 * Context: may sleep.
 */
void kiommu_memory_register(struct kiommu_memory_provider *provider);

/**
 * kiommu_memory_unregister() - no longer
 *
 * For a module's exit: there is no guest of it then. No call is under way on
 * return. Context: may sleep; waits for calls of @key_of_file and @get.
 */
void kiommu_memory_unregister(struct kiommu_memory_provider *provider);

/**
 * kiommu_guest_slots_changed() - memory slots of a guest were deleted or moved
 * @key: of a guest, registered or not; what it names cannot go away meanwhile.
 *
 * Before this returns, no device can reach what was in slots that are no longer
 * as they were, and its pins are gone. Takes the lock of the guest list and,
 * after it, that of the guest for writing: may be called under locks that are
 * held across changes of slots (kvm->slots_lock), but from no function of a
 * provider, and under none of the locks of lock.h.
 */
void kiommu_guest_slots_changed(const void *key);

#endif /* KIOMMU_MEMORY_PROVIDER_H */
