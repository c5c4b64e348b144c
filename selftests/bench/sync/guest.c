// SPDX-License-Identifier: GPL-2.0-only
/* Guest code: it does not call libc, and has globals of its own. */
#include "kvm_util.h"
#include "ucall_common.h"

#include "sync.h"

static void out(uint16_t port, uint32_t value)
{
	asm volatile("outl %0, %1" : : "a"(value), "d"(port) : "memory");
}

void sync_guest_main(struct sync_guest *g)
{
	for (;;) {
		g->fn(g);
		out(SYNC_PORT_DONE, 0);
	}
}

void sync_tell_vmm(struct sync_guest *g, uint64_t iova, uint64_t pages)
{
	g->told.iova = iova;
	g->told.pages = pages;
	out(SYNC_PORT_TELL, 0);
}

static void tell_ring(struct sync_guest *g, uint64_t iova, uint64_t pages,
		      uint32_t flags)
{
	GUEST_ASSERT(!kiommu_ring_sync(g->ring, iova, pages * KIOMMU_PAGE, flags));
}

void sync_tell_ring(struct sync_guest *g, uint64_t iova, uint64_t pages)
{
	tell_ring(g, iova, pages, 0);
}

void sync_tell_ring_unmap(struct sync_guest *g, uint64_t iova, uint64_t pages)
{
	tell_ring(g, iova, pages, KVM_IOMMU_RING_UNMAP);
}

static void tell(struct sync_guest *g, sync_tell_fn fn, uint64_t iova,
		 uint64_t pages)
{
	if (fn)
		fn(g, iova, pages);
}

static uint64_t slot_iova(uint64_t slot)
{
	return SYNC_IOVA + slot * KIOMMU_PAGE;
}

static uint64_t pool_gpa(uint64_t page)
{
	return SYNC_POOL_GPA + page * KIOMMU_PAGE;
}

/* Pages that are handed out in succession are not adjacent. */
static uint64_t next_gpa(struct sync_guest *g)
{
	g->page = (g->page + 1237) % SYNC_POOL_PAGES;
	return pool_gpa(g->page);
}

/* Creates all tables that the window needs, and maps what stays mapped. */
void sync_guest_set_up(struct sync_guest *g)
{
	for (uint64_t i = 0; i < SYNC_WINDOW; i++)
		ioat_entry(g->tables, slot_iova(i), 0, true);
	ioat_map(g->tables, SYNC_SOURCE_IOVA, pool_gpa(SYNC_SOURCE_PAGE), 0,
		 IOAT_RW);
	ioat_map(g->tables, SYNC_TARGET_IOVA, pool_gpa(SYNC_TARGET_PAGE), 0,
		 IOAT_RW);
	kiommu_nic_map(g->nic, g->tables);
	tell(g, g->mapped, SYNC_SOURCE_IOVA, SYNC_FIXED_PAGES);
}

static void send(struct sync_guest *g, uint64_t iova)
{
	g->frames += kiommu_nic_send(g->nic, g->target ? g->target : iova,
				     SYNC_SOURCE_IOVA, KIOMMU_NIC_LEAST);
}

static void map_request(struct sync_guest *g)
{
	uint64_t burst = g->pattern.burst, iova = slot_iova(g->next);

	for (uint64_t i = 0; i < burst; i++)
		ioat_map(g->tables, iova + i * KIOMMU_PAGE, next_gpa(g), 0, IOAT_RW);
	tell(g, g->mapped, iova, burst);
	for (uint64_t i = 0; i < burst; i++)
		send(g, iova + i * KIOMMU_PAGE);
	g->next = (g->next + burst) % SYNC_WINDOW;
	g->in_flight++;
}

/* An IOVA is used again only after the host was told that it is free. */
static void finish_request(struct sync_guest *g)
{
	uint64_t burst = g->pattern.burst;

	ioat_unmap_pages(g->tables, slot_iova(g->oldest), burst);
	g->oldest = (g->oldest + burst) % SYNC_WINDOW;
	g->in_flight--;
	if (++g->collected < g->pattern.collect)
		return;
	tell(g, g->unmapped, slot_iova(g->untold), g->collected * burst);
	g->untold = g->oldest;
	g->collected = 0;
}

void sync_guest_round(struct sync_guest *g)
{
	uint64_t start = __rdtsc();

	g->frames = 0;
	for (uint64_t i = 0; i < g->requests; i++) {
		map_request(g);
		if (g->in_flight > g->pattern.depth)
			finish_request(g);
	}
	g->instructions = __rdtsc() - start;
}

void sync_guest_drain(struct sync_guest *g)
{
	while (g->in_flight)
		finish_request(g);
}

void sync_guest_map_one(struct sync_guest *g)
{
	ioat_map(g->tables, slot_iova(0), pool_gpa(0), 0, IOAT_RW);
	tell(g, g->mapped, slot_iova(0), 1);
	g->frames = kiommu_nic_copy(g->nic, slot_iova(0), SYNC_SOURCE_IOVA,
				    KIOMMU_NIC_MOST);
}

void sync_guest_unmap_one(struct sync_guest *g)
{
	ioat_unmap(g->tables, slot_iova(0), 0);
	tell(g, g->unmapped, slot_iova(0), 1);
}

void sync_guest_send_one(struct sync_guest *g)
{
	g->frames = kiommu_nic_send(g->nic, slot_iova(0), SYNC_SOURCE_IOVA,
				    KIOMMU_NIC_MOST);
}

#define REPEAT 64

static void least(uint64_t *value, uint64_t since)
{
	uint64_t instructions = __rdtsc() - since;

	if (!*value || instructions < *value)
		*value = instructions;
}

/* Stores the entry of one page and tells the host of it. */
static void do_part(struct sync_guest *g, enum sync_part part, uint64_t *entry,
		    uint64_t value)
{
	bool map = part == SYNC_PART_MAP;
	uint64_t start = __rdtsc();

	ioat_write(g->tables, entry, value);
	tell(g, map ? g->mapped : g->unmapped, slot_iova(0), 1);
	least(&g->parts[part], start);
}

void sync_guest_parts(struct sync_guest *g)
{
	uint64_t *entry = ioat_entry(g->tables, slot_iova(0), 0, false);
	uint64_t leaf = ioat_leaf_value(g->tables, 0, pool_gpa(0), IOAT_RW);

	/* A neighbour stays mapped, so that the page is one of several. */
	ioat_map(g->tables, slot_iova(1), pool_gpa(1), 0, IOAT_RW);
	tell(g, g->mapped, slot_iova(1), 1);
	for (unsigned int i = 0; i < REPEAT; i++) {
		do_part(g, SYNC_PART_MAP, entry, leaf);
		do_part(g, SYNC_PART_UNMAP, entry, 0);
		do_part(g, SYNC_PART_NOTHING, entry, 0);
	}
	ioat_unmap(g->tables, slot_iova(1), 0);
	tell(g, g->unmapped, slot_iova(1), 1);
}

void sync_guest_floors(struct sync_guest *g)
{
	for (unsigned int i = 0; i < REPEAT; i++) {
		uint64_t start = __rdtsc();

		g->ring->ring_bell(g->ring->bell_argument);
		least(&g->floors[SYNC_FLOOR_BELL], start);
		start = __rdtsc();
		out(SYNC_PORT_NOTHING, 0);
		least(&g->floors[SYNC_FLOOR_USER], start);
	}
}
