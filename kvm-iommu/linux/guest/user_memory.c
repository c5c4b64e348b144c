// SPDX-License-Identifier: GPL-2.0-only
/* User memory, see user_memory.h, as a provider of guest memory. */
#include <linux/interval_tree.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "guest/guest.h"
#include "guest/user_memory.h"

/* Slots that the core may keep although they are not in use. */
#define SPARE_SLOTS 64

/**
 * struct entry - a mapping in the tree
 * @node: pages of IOVA.
 */
struct entry {
	struct interval_tree_node node;
	struct kiommu_user_mapping mapping;
};

/**
 * struct user_memory - a guest's memory; protected by the guest's lock
 * @memory: its key is its own address.
 * @mappings: struct entry by IOVA; they do not overlap.
 * @count: number of @mappings.
 * @slots: sum of the slots that each mapping touches.
 * @being_made: the mapping that is being made, or NULL.
 */
struct user_memory {
	struct kiommu_memory memory;
	struct rb_root_cached mappings;
	unsigned int count;
	u64 slots;
	struct entry *being_made;
};

static struct user_memory *to_user_memory(struct kiommu_memory *memory)
{
	return container_of(memory, struct user_memory, memory);
}

static struct user_memory *memory_of(const struct kiommu_guest *guest)
{
	lockdep_assert_held(&guest->lock);
	return to_user_memory(guest->memory);
}

static u64 slots_of(const struct entry *entry)
{
	return entry->node.last / KIOMMU_USER_SLOT_PAGES -
	       entry->node.start / KIOMMU_USER_SLOT_PAGES + 1;
}

static struct entry *first_entry(struct user_memory *user, u64 first, u64 last)
{
	struct interval_tree_node *node;

	node = interval_tree_iter_first(&user->mappings, first >> PAGE_SHIFT,
					last >> PAGE_SHIFT);
	return node ? container_of(node, struct entry, node) : NULL;
}

/* The next one that begins at @last or below; they do not overlap. */
static struct entry *next_entry(struct entry *entry, u64 last)
{
	struct rb_node *rb;
	struct entry *next;

	if (entry->node.last >= last >> PAGE_SHIFT)
		return NULL;
	rb = rb_next(&entry->node.rb);
	if (!rb)
		return NULL;
	next = rb_entry(rb, struct entry, node.rb);
	return next->node.start <= last >> PAGE_SHIFT ? next : NULL;
}

static void remove(struct user_memory *user, struct entry *entry)
{
	interval_tree_remove(&entry->node, &user->mappings);
	user->count--;
	user->slots -= slots_of(entry);
	kfree(entry);
}

unsigned int kiommu_user_mappings(const struct kiommu_guest *guest)
{
	return memory_of(guest)->count;
}

const struct kiommu_user_mapping *
kiommu_user_memory_find(const struct kiommu_guest *guest, u64 first, u64 last)
{
	struct entry *entry = first_entry(memory_of(guest), first, last);

	return entry ? &entry->mapping : NULL;
}

int kiommu_user_memory_begin(struct kiommu_guest *guest,
			     const struct kiommu_user_mapping *mapping)
{
	struct user_memory *user = memory_of(guest);
	struct entry *entry;

	lockdep_assert_held_write(&guest->lock);
	entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return -ENOMEM;
	entry->mapping = *mapping;
	entry->node.start = mapping->iova >> PAGE_SHIFT;
	entry->node.last = (mapping->iova + mapping->size - 1) >> PAGE_SHIFT;
	interval_tree_insert(&entry->node, &user->mappings);
	user->count++;
	user->slots += slots_of(entry);
	user->being_made = entry;
	return 0;
}

/*
 * A client can map and unmap all over its address space, so what the core knows of
 * slots that are not in use any more must have a bound. At least half of what is
 * looked at here goes.
 */
static void forget_slots(struct kiommu_guest *guest, struct user_memory *user)
{
	if (kiommu_core_pins_slots(guest->pins) <= 2 * user->slots + SPARE_SLOTS)
		return;
	kiommu_core_pins_forget_slots(guest->pins);
}

void kiommu_user_memory_end(struct kiommu_guest *guest, bool made)
{
	struct user_memory *user = memory_of(guest);

	const struct interval_tree_node *node = &user->being_made->node;

	lockdep_assert_held_write(&guest->lock);
	if (!made) {
		kiommu_core_pins_release(guest->pins, node->start, node->last);
		remove(user, user->being_made);
		forget_slots(guest, user);
	}
	user->being_made = NULL;
}

u64 kiommu_user_memory_remove(struct kiommu_guest *guest, u64 first, u64 last)
{
	struct user_memory *user = memory_of(guest);
	struct entry *entry, *next;
	u64 bytes = 0;

	lockdep_assert_held_write(&guest->lock);
	kiommu_core_pins_release(guest->pins, first >> PAGE_SHIFT,
				 last >> PAGE_SHIFT);
	for (entry = first_entry(user, first, last); entry; entry = next) {
		next = next_entry(entry, last);
		bytes += entry->mapping.size;
		remove(user, entry);
		cond_resched();
	}
	forget_slots(guest, user);
	return bytes;
}

static void put_memory(struct kiommu_memory *memory)
{
	struct user_memory *user = to_user_memory(memory);
	struct entry *entry;

	while ((entry = first_entry(user, 0, U64_MAX))) {
		remove(user, entry);
		cond_resched();
	}
	mmdrop(memory->mm);
	kfree(user);
}

static int find_slot(struct kiommu_memory *memory, u64 gfn,
		     struct kiommu_slot *slot)
{
	if (gfn >= KIOMMU_USER_IOVA_END >> PAGE_SHIFT)
		return -ENOENT;
	*slot = (struct kiommu_slot){
		.first_gfn = round_down(gfn, KIOMMU_USER_SLOT_PAGES),
		.pages = KIOMMU_USER_SLOT_PAGES,
	};
	/* Not an address of the process, see resolve(). */
	slot->hva = slot->first_gfn << PAGE_SHIFT;
	return 0;
}

/* What the process does to its memory does not matter. */
static bool hold_hva(struct kiommu_memory *memory, unsigned long first,
		     unsigned long last)
{
	return false;
}

static u64 generation(struct kiommu_memory *memory)
{
	return 0;
}

static u32 resolve(struct kiommu_memory *memory, u64 address, u32 pages,
		   struct kiommu_stretch *stretch)
{
	const struct entry *entry = to_user_memory(memory)->being_made;
	u64 offset;

	if (!entry)
		return 0;
	offset = address - entry->mapping.iova;
	if (offset >= entry->mapping.size)
		return 0;
	stretch->hva = entry->mapping.vaddr + offset;
	stretch->write = entry->mapping.rights & KIOMMU_WRITE;
	return min_t(u64, pages, (entry->mapping.size - offset) >> PAGE_SHIFT);
}

static const struct kiommu_memory_provider provider = {
	.owner = THIS_MODULE,
	.put = put_memory,
	.find_slot = find_slot,
	.hold_hva = hold_hva,
	.generation = generation,
	.resolve = resolve,
};

bool kiommu_is_user_memory(const struct kiommu_guest *guest)
{
	return guest->provider == &provider;
}

struct kiommu_guest *kiommu_user_memory_create(void)
{
	struct user_memory *user;

	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user)
		return ERR_PTR(-ENOMEM);
	user->mappings = RB_ROOT_CACHED;
	user->memory.key = user;
	user->memory.mm = current->mm;
	mmgrab(user->memory.mm);
	return kiommu_guest_create(&provider, &user->memory);
}
