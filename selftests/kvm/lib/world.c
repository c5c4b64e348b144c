// SPDX-License-Identifier: GPL-2.0-only
/* A guest with mappings that can be checked, see world.h. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "kvm_util.h"

#include "world.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_WORLD_IOVA
#define RANGE KIOMMU_WORLD_RANGE
#define SINGLES KIOMMU_WORLD_SINGLES
/* The page that the device reads; at a distance behind it, what a NIC needs. */
#define BUFFER (IOVA + 0x10000000ull)
#define NIC (IOVA + 0x18000000ull)
#define BYTES 128ull

static void map_range(struct kiommu_world *w)
{
	for (uint64_t i = 0; i < SINGLES; i++)
		ioat_map(w->t, KIOMMU_WORLD_SINGLE(i),
			 w->gpa + KIOMMU_2M + 2 * i * PAGE, 0, IOAT_RW);
	ioat_map(w->t, KIOMMU_WORLD_LEAF, w->gpa, 1, IOAT_RW);
	ioat_map(w->t, BUFFER, kiommu_gpa(w->t->area, w->buffer), 0, IOAT_RW);
}

static void use_device(struct kiommu_world *w, bool nic)
{
	if (nic) {
		w->nic = kiommu_nic_open(&w->k->vfio.dev[0], &w->k->vm, NIC);
		kiommu_nic_map(w->nic, w->t);
	}
	TEST_ASSERT(!kiommu_register_tables(w->fd, w->t), "REGISTER_IOAT");
	TEST_ASSERT(!kiommu_world_map_own(w), "REFRESH");
}

void kiommu_world_set_up(struct kiommu_world *w)
{
	const bool has_nic = !kiommu_nic_lacks();
	struct kiommu_area *area;

	memset(w, 0, sizeof(*w));
	w->pins = kiommu_pins();
	w->kvm_refs = kiommu_kvm_refs();
	if (has_nic)
		kiommu_nic_first();
	kiommu_faulty_set_up(&w->f);
	w->k = &w->f.k;
	w->fd = w->f.fd;
	area = w->k->vm.area;
	w->mem = kiommu_alloc(area, 2 * KIOMMU_2M, KIOMMU_2M);
	w->gpa = kiommu_gpa(area, w->mem);
	w->buffer = kiommu_alloc_page(area);
	w->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	/* Touched, so that page faults do not get the injected failures. */
	memset(w->mem, 1, 2 * KIOMMU_2M);
	map_range(w);
	w->own = 1 + (has_nic ? KIOMMU_NIC_SIZE / PAGE : 0);
	use_device(w, has_nic);
}

void kiommu_world_open_devices(struct kiommu_world *w)
{
	kiommu_open_devices(w->k);
	use_device(w, w->nic);
}

void kiommu_world_tear_down(struct kiommu_world *w)
{
	kiommu_faulty_tear_down(&w->f);
}

int kiommu_world_map_own(struct kiommu_world *w)
{
	int ret = kiommu_refresh(w->fd, BUFFER, PAGE, NULL);

	if (!ret && w->nic)
		ret = kiommu_refresh(w->fd, NIC, KIOMMU_NIC_SIZE, NULL);
	return ret;
}

int kiommu_world_refresh(struct kiommu_world *w)
{
	return kiommu_refresh(w->fd, IOVA, RANGE, NULL);
}

int kiommu_world_unmap(struct kiommu_world *w)
{
	uint64_t size = RANGE;

	return kiommu_unmap_dma(w->fd, IOVA, &size, 0);
}

char *kiommu_world_memory(const struct kiommu_world *w, uint64_t iova)
{
	uint64_t *entry;

	if (iova >= KIOMMU_WORLD_LEAF)
		return w->mem + (iova - KIOMMU_WORLD_LEAF);
	entry = ioat_entry(w->t, iova, 0, false);
	TEST_ASSERT(entry && ioat_read(w->t, entry) & VTD_READ,
		    "nothing is at %lx", iova);
	return kiommu_ptr(w->t->area, ioat_read(w->t, entry) & ~(PAGE - 1));
}

static bool copy(struct kiommu_world *w, uint64_t to, uint64_t from)
{
	if (w->nic)
		return kiommu_nic_send(w->nic, to, from, BYTES);
	return !kiommu_dma_copy(w->k->dma[0], to, from, BYTES);
}

bool kiommu_world_reaches(struct kiommu_world *w, uint64_t iova)
{
	char *page = kiommu_world_memory(w, iova);
	uint64_t before = ++w->seed;
	uint64_t after = ++w->seed;

	kiommu_fill(page, PAGE, before);
	kiommu_fill(w->buffer, PAGE, after);
	TEST_ASSERT(copy(w, iova, BUFFER), "the device does not work");
	if (kiommu_count_equal(page, BYTES, after) == BYTES)
		return true;
	TEST_ASSERT(kiommu_count_equal(page, PAGE, before) == PAGE,
		    "a part of %lx was written", iova);
	return false;
}

bool kiommu_world_blocks(struct kiommu_world *w, uint64_t iova)
{
	char *page = kiommu_world_memory(w, iova);
	uint64_t before = ++w->seed;

	if (!w->nic)
		return true;
	kiommu_fill(page, PAGE, before);
	kiommu_fill(w->buffer, PAGE, ++w->seed);
	copy(w, iova, BUFFER);
	return kiommu_count_equal(page, PAGE, before) == PAGE;
}

/* The pages of the window that the shadow maps; a record covers neighbours. */
static struct kiommu_pages pages_of(const struct kiommu_world *w, uint64_t iova,
				    uint64_t length, uint64_t *count)
{
	static struct kvm_iommu_translation records[RANGE / PAGE];
	struct kvm_iommu_translate_range cmd = {
		.iova = iova,
		.length = length,
		.records = (uintptr_t)records,
		.capacity = ARRAY_SIZE(records),
	};
	struct kiommu_pages pages = {};

	*count = 0;
	TEST_ASSERT(!kiommu_translate_range(w->fd, &cmd) && !cmd.status,
		    "TRANSLATE_RANGE: status %u", cmd.status);
	for (uint32_t i = 0; i < cmd.count; i++) {
		uint64_t first = (records[i].iova - iova) / PAGE;

		if (!records[i].shadow_rights)
			continue;
		*count += records[i].length / PAGE;
		for (uint64_t j = 0; j < records[i].length / PAGE; j++)
			pages.bits[(first + j) / 64] |= 1ull << (first + j) % 64;
	}
	return pages;
}

struct kiommu_pages kiommu_world_pages(const struct kiommu_world *w)
{
	uint64_t count;

	return pages_of(w, IOVA, RANGE, &count);
}

static bool has_page(const struct kiommu_pages *pages, uint64_t i)
{
	return pages->bits[i / 64] >> i % 64 & 1;
}

uint64_t kiommu_world_count(const struct kiommu_pages *pages)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < RANGE / PAGE; i++)
		count += has_page(pages, i);
	return count;
}

/* The pages of what the device needs for itself that it can reach. */
static uint64_t count_own(const struct kiommu_world *w)
{
	uint64_t buffer, nic = 0;

	pages_of(w, BUFFER, PAGE, &buffer);
	if (w->nic)
		pages_of(w, NIC, KIOMMU_NIC_SIZE, &nic);
	return buffer + nic;
}

static const char *wrong_by_dma(struct kiommu_world *w,
				const struct kiommu_pages *pages)
{
	/* Single pages, both ends of the leaf, and pages that tests unmap. */
	static const uint64_t samples[] = {
		0, 3 * (SINGLES - 1), 512, 512 + 7, 512 + 100, 512 + 511,
	};
	static char text[64];

	for (unsigned int i = 0; i < ARRAY_SIZE(samples); i++) {
		const uint64_t iova = IOVA + samples[i] * PAGE;
		const bool reaches = kiommu_world_reaches(w, iova);

		if (reaches == has_page(pages, samples[i]))
			continue;
		snprintf(text, sizeof(text), "page %lu is %s", samples[i],
			 reaches ? "reached" : "blocked");
		return text;
	}
	return NULL;
}

const char *kiommu_world_wrong(struct kiommu_world *w)
{
	struct kiommu_pages pages = {};
	struct kvm_iommu_info info;
	uint64_t own = 0;
	static char text[128];

	TEST_ASSERT(!kiommu_get_info(w->fd, &info), "GET_INFO");
	if (info.state == KVM_IOMMU_STATE_ANCHORED) {
		pages = kiommu_world_pages(w);
		own = count_own(w);
	}
	snprintf(text, sizeof(text), "mapped %llu, pinned %llu, idle %llu: ",
		 info.mapped_pages, info.pinned_pages, info.idle_pages);
	if (kiommu_world_count(&pages) + own != info.mapped_pages)
		return strcat(text, "others are reachable");
	if (info.pinned_pages < info.mapped_pages)
		return strcat(text, "not all are pinned");
	if (kiommu_pins() != w->pins + info.pinned_pages)
		return strcat(text, "the kernel counts other pins");
	if (kiommu_locked_vm() != w->k->locked_vm + info.pinned_pages * PAGE)
		return strcat(text, "others are charged");
	return own == w->own ? wrong_by_dma(w, &pages) : NULL;
}

void kiommu_world_forget_faults(struct kiommu_world *w)
{
	struct kvm_iommu_fault fault;

	while (kiommu_poll_now(w->f.faults) & POLLIN)
		TEST_ASSERT(kiommu_read_faults(w->f.faults, &fault, sizeof(fault)) ==
			    sizeof(fault), "the file of faults");
}

/* Takes the pages of a record out of @pages. */
static void take_out(struct kiommu_pages *pages,
		     const struct kvm_iommu_fault *fault)
{
	for (uint64_t i = 0; i < RANGE / PAGE; i++) {
		const uint64_t iova = IOVA + i * PAGE;

		if (iova >= fault->iova && iova - fault->iova < fault->length)
			pages->bits[i / 64] &= ~(1ull << i % 64);
	}
}

uint64_t kiommu_world_lost_silently(struct kiommu_world *w,
				    const struct kiommu_pages *before)
{
	struct kiommu_pages lost = kiommu_world_pages(w);
	struct kvm_iommu_fault fault;

	for (unsigned int i = 0; i < ARRAY_SIZE(lost.bits); i++)
		lost.bits[i] = before->bits[i] & ~lost.bits[i];
	while (kiommu_next_fault(w->f.faults, KVM_IOMMU_FAULT_LOST, &fault)) {
		TEST_ASSERT(!fault.lost, "records were lost");
		take_out(&lost, &fault);
	}
	return kiommu_world_count(&lost);
}
