/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Providers of guest memory: memory slots over the memory of one process. KVM
 * is built in (kvm_memory.c); another module can register a provider of its
 * own. A provider that pins by itself has memory of its own instead: the
 * addresses of its slots (hva) are what it takes them for, nobody else looks at
 * them, and any process may have its tables read (ioas_memory.c).
 *
 * A guest is known by its key: the address of an object of its provider. Keys
 * are compared and passed back, and only the provider dereferences them. For
 * KVM the key is the struct kvm.
 *
 * Lifetimes. A memory is obtained when the first domain is started with
 * its guest, and released after the last one has stopped. In between, neither the
 * provider's object nor its module, which is referenced, can go away. The
 * functions of a provider may be called as follows:
 *
 *   key_of_file, get  any time while it is registered; NULL in one that is not
 *     (kiommu_guest_create())
 *   find_slot, find_tracked, hold_hva, generation, pin, unpin, read  any time
 *     between get and put
 *   can_track  any time between get and put
 *   listen, ignore  alternately, between get and put, ignore last
 *   track, untrack  between listen and ignore
 *   put  once for each get, after all of these
 *
 * Changes of slots. A lookup that begins after a change was made must see the
 * change, and generation() must have changed by then, too. A slot that was
 * deleted or moved stays mapped until the core is told. So a provider calls
 * kiommu_guest_slots_changed() as part of the change, once lookups no longer
 * find the slot and before it answers whoever asked for the change. A provider
 * that cannot do so is served by the generation: the next call on the guest
 * notices, or a work item within a second or so.
 */
#ifndef KIOMMU_MEMORY_PROVIDER_H
#define KIOMMU_MEMORY_PROVIDER_H

#include <linux/list.h>
#include <linux/mm_types.h>
#include <linux/types.h>

#include "port.h"

struct file;
struct kiommu_guest;
struct kiommu_memory_provider;
struct module;

/**
 * struct kiommu_memory - a guest's memory; part of an object of its provider
 * @key: key of the guest.
 * @mm: mm of the process whose memory backs the slots, or that is charged for
 *	kernel memory if the provider pins by itself; referenced (mmgrab) by the
 *	provider until the memory is put.
 *
 * Both are set by get() and do not change. Several guests may get the same
 * memory, one after the other: when one is put, there may be a successor
 * already. A provider with listen() returns another memory each time, because HWPTs
 * listen side by side.
 */
struct kiommu_memory {
	const void *key;
	struct mm_struct *mm;
};

/**
 * struct kiommu_stretch - memory of the process behind a part of a slot
 * @hva: address of its first byte.
 * @write: it is to be pinned for writing, or not at all. Else it is pinned for
 *	reading.
 */
struct kiommu_stretch {
	unsigned long hva;
	bool write;
};

/**
 * struct kiommu_memory_provider - operations of a provider
 * @owner: module of the functions; referenced by each guest.
 * @key_of_file: returns the key of the guest that the file belongs to, or NULL
 *	if it is none of this provider's. The file holds what the key names. May
 *	sleep.
 * @get: returns the memory of a guest, referenced. The caller makes sure that
 *	what @key names cannot go away, but does not know whose it is. Returns
 *	NULL if the key is none of this provider's, which it must find out
 *	without dereferencing the key; ERR_PTR(-ENODEV) if the guest or its
 *	process is going away; or ERR_PTR(-ENOMEM). May sleep.
 * @put: the opposite. May sleep, may free everything; no lock of lock.h is
 *	held.
 * @find_slot: as kiommu_port_find_slot(). Called under the locks of operations,
 *	so it must not wait for anyone who changes slots and waits for them.
 * @hold_hva: whether a slot has memory in [first, last], addresses in @mm.
 *	Called by MMU notifiers: must not sleep, nor take a lock under which
 *	memory is allocated. NULL if @pin is set.
 * @generation: a number that changes when slots change. Slots that are looked
 *	up after it are at least as new. Any context.
 * @listen: optional, for a provider that is told of deleted slots in a context
 *	in which kiommu_guest_slots_changed() must not be called (KVM): from now
 *	on it calls kiommu_slots_deleted() for @guest instead. Called in a
 *	thread of the guest's process. Returns 0; -EOPNOTSUPP if the kernel does
 *	not support it; -ENOMEM.
 * @ignore: the opposite; set if @listen is. No callback is under way on return.
 * @can_track: optional, with the two below: whether kiommu_tracked_store() is
 *	called for stores of the guest. Requires that @listen has succeeded.
 * @track: report the stores to a page from the return of this call on. Called
 *	once for a page, under the locks of operations. Returns 0; -EINVAL if no
 *	slot has the page; -ENOMEM.
 * @untrack: the opposite. Not called for pages whose slot is gone and that
 *	kiommu_tracked_forget() has dropped.
 * @find_tracked: optional, for a provider whose slots are not those of the guest
 *	that stores: as @find_slot, in the slots of which @listen tells and in
 *	which @track looks for the page. There are none if nobody is listened to.
 * @tells_all: it calls kiommu_slots_deleted() for each slot that goes, whether it is
 *	listened to or not.
 * @resolve: optional, for slots whose hva is not an address of the process:
 *	finds the memory at @address of a slot, of @pages pages at most. Returns
 *	how many pages it has, 0 if there is none. Called, under the locks of
 *	operations, when pages are to be pinned or device memory to be mapped.
 * @pin: optional, with the two below: as kiommu_port_pin(). What it pins stays
 *	pinned, and charged, until @unpin. Memory that goes away goes with its
 *	slot, so the MMU notifier is not registered.
 * @unpin: unpins pages by their addresses, each once for each time that it was
 *	pinned. Called with the guest's lock held, and when the guest is freed.
 * @read: as kiommu_port_read_entries().
 * @list: used by kvm_iommu.
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
	int (*listen)(struct kiommu_memory *memory, struct kiommu_guest *guest);
	void (*ignore)(struct kiommu_memory *memory);
	bool (*can_track)(struct kiommu_memory *memory);
	int (*track)(struct kiommu_memory *memory, u64 gfn);
	void (*untrack)(struct kiommu_memory *memory, u64 gfn);
	int (*find_tracked)(struct kiommu_memory *memory, u64 gfn,
			    struct kiommu_slot *slot);
	bool tells_all;
	u32 (*resolve)(struct kiommu_memory *memory, u64 address, u32 pages,
		       struct kiommu_stretch *stretch);
	u32 (*pin)(struct kiommu_memory *memory, u64 hva, u32 count, bool write,
		   u64 *pfns, struct kiommu_pin_result *result);
	void (*unpin)(struct kiommu_memory *memory, u64 hva, u64 count);
	int (*read)(struct kiommu_memory *memory, u64 hva, u64 *entries,
		    u32 count);
	struct list_head list;
};

/**
 * kiommu_memory_register() - register a provider of guest memory
 * @provider: must stay valid until kiommu_memory_unregister() has returned.
 *
 * The file descriptor of KVM_IOMMU_START is offered to each provider, the most
 * recently registered one first, KVM last.
 *
 * Context: may sleep.
 */
void kiommu_memory_register(struct kiommu_memory_provider *provider);

/**
 * kiommu_memory_unregister() - unregister a provider
 *
 * For the exit of a module, when none of its guests is left. No call of the
 * provider is under way on return.
 *
 * Context: may sleep; waits for calls of @key_of_file and @get.
 */
void kiommu_memory_unregister(struct kiommu_memory_provider *provider);

/**
 * kiommu_guest_slots_changed() - memory slots of a guest were deleted or moved
 * @key: key of a guest, registered or not; what it names must not go away
 *	during the call.
 *
 * When this returns, no device can reach what was in slots that were deleted or
 * changed, and the pins of these slots are gone. Takes the lock of the list of
 * guests and, after it, that of the guest for writing.
 *
 * Context: may sleep; may be called under locks that are held across changes of
 * slots (kvm->slots_lock), but not from a function of a provider, nor under a
 * lock of lock.h.
 */
void kiommu_guest_slots_changed(const void *key);

#endif /* KIOMMU_MEMORY_PROVIDER_H */
