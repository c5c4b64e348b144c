// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables that a guest must not write: REFRESH stops with a documented status
 * at the IOVA concerned, has unmapped what was there and done what lies below,
 * and a later call converges. With tables of each format.
 */
#include <errno.h>
#include <string.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define VTD KVM_IOMMU_FORMAT_VTD_SS
#define PAGE KIOMMU_PAGE
#define BASE 0x100000000ull /* spans of all levels under test begin here */

#define TRIED (16 * KIOMMU_2M) /* refreshed if tables point to themselves */

/* GPAs besides the area: two slots, and a hole. */
#define ROM_GPA KIOMMU_FREE_GPA
#define BLANK_GPA (KIOMMU_FREE_GPA + KIOMMU_2M)
#define HOLE_GPA (KIOMMU_FREE_GPA + 2 * KIOMMU_2M)

FIXTURE(bad_tables) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of four pages */
};

FIXTURE_VARIANT(bad_tables) {
	uint32_t format;
	uint32_t levels;
};

FIXTURE_VARIANT_ADD(bad_tables, zpci) { .format = ZPCI, .levels = 4 };
FIXTURE_VARIANT_ADD(bad_tables, vtd) { .format = VTD, .levels = 4 };

FIXTURE_SETUP(bad_tables)
{
	struct kiommu_vm *vm = &self->k.vm;
	struct kiommu_area *area;
	void *blank;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	kiommu_vm_add_memory(vm, KIOMMU_FREE_SLOT, ROM_GPA, 16, KVM_MEM_READONLY);
	blank = mmap(NULL, KIOMMU_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, blank);
	ASSERT_EQ(0, kiommu_vm_set_slot(vm, KIOMMU_FREE_SLOT + 1, 0, BLANK_GPA,
					KIOMMU_2M, blank));
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, 4 * PAGE, PAGE));
	self->t = ioat_new(area, variant->format, variant->levels);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(bad_tables)
{
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	kiommu_teardown(&self->k);
}

/*
 * Maps a page in each of three neighbouring entries of @level, then replaces
 * the entry in the middle by @value. REFRESH must report @status, and TRANSLATE
 * @told.
 */
static void expect_bad(struct __test_metadata *_metadata,
		       FIXTURE_DATA(bad_tables) *self, uint32_t level,
		       uint64_t value, uint32_t status, uint32_t told)
{
	uint64_t span = ioat_span(self->t, level);
	uint64_t below = BASE, here = BASE + span, above = BASE + 2 * span;
	struct kvm_iommu_translate answer;
	struct kvm_iommu_refresh r;
	uint64_t *entry, good;
	int fd = self->fd;

	TH_LOG("level %u, entry %#llx", level, (unsigned long long)value);
	ioat_map(self->t, below, self->gpa, 0, IOAT_RW);
	ioat_map(self->t, here, self->gpa + PAGE, 0, IOAT_RW);
	ioat_map(self->t, above, self->gpa + 2 * PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(fd, BASE, 3 * span, &r));
	ASSERT_EQ(3, kiommu_mapped_pages(fd));

	entry = ioat_entry(self->t, here, level, false);
	good = ioat_read(self->t, entry);
	ioat_write(self->t, entry, value);
	ioat_map(self->t, below, self->gpa + 3 * PAGE, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_translate(fd, here, &answer));
	EXPECT_EQ(told, answer.status);
	if (told != KVM_IOMMU_STATUS_OK)
		EXPECT_EQ(0, answer.gpa | answer.page_size | answer.rights);
	EXPECT_EQ(IOAT_RW, answer.shadow_rights);
	EXPECT_EQ(-EIO, kiommu_refresh(fd, BASE, 3 * span, &r));
	EXPECT_EQ(status, r.status);
	EXPECT_EQ(here, r.stopped_iova);
	EXPECT_EQ(1, r.mapped);
	EXPECT_EQ(2, r.unmapped);
	EXPECT_EQ(0, kiommu_shadow_rights(fd, here));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(fd, below));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(fd, above));
	EXPECT_EQ(2, kiommu_pinned_pages(fd));
	EXPECT_EQ(self->k.locked_vm + 2 * PAGE, kiommu_locked_vm());

	/* Again: the same answer, and nothing more is done. */
	EXPECT_EQ(-EIO, kiommu_refresh(fd, BASE, 3 * span, &r));
	EXPECT_EQ(status, r.status);
	EXPECT_EQ(here, r.stopped_iova);
	EXPECT_EQ(0, r.mapped | r.unmapped);
	/* From within the span. */
	EXPECT_EQ(-EIO, kiommu_refresh(fd, here + span - PAGE, PAGE, &r));
	EXPECT_EQ(here + span - PAGE, r.stopped_iova);

	/* Once the cause is gone, it converges from where it stopped. */
	ioat_write(self->t, entry, good);
	EXPECT_EQ(0, kiommu_refresh(fd, here, 2 * span, &r));
	EXPECT_EQ(1, r.mapped);
	EXPECT_EQ(0, r.unmapped);
	EXPECT_EQ(3, kiommu_mapped_pages(fd));
	ioat_unmap(self->t, BASE, self->t->levels - 1);
	ASSERT_EQ(0, kiommu_refresh(fd, BASE, 3 * span, &r));
	ASSERT_EQ(0, kiommu_pinned_pages(fd));
}

#define EXPECT_BAD(_level, _value, _status)				\
	expect_bad(_metadata, self, _level, _value,			\
		   KVM_IOMMU_STATUS_##_status, KVM_IOMMU_STATUS_##_status)
/* The entry is good, and TRANSLATE says so; its memory cannot be mapped. */
#define EXPECT_BAD_LEAF(_level, _gpa, _status)				\
	expect_bad(_metadata, self, _level,				\
		   ioat_leaf_value(self->t, _level, _gpa, IOAT_RW),	\
		   KVM_IOMMU_STATUS_##_status, KVM_IOMMU_STATUS_OK)

static void malformed_zpci(struct __test_metadata *_metadata,
			   FIXTURE_DATA(bad_tables) *self)
{
	uint64_t table = self->t->root;

	for (uint32_t level = 1; level <= 2; level++) {
		uint64_t type = ((uint64_t)level - 1) << 2;

		for (uint64_t other = 0; other <= ZPCI_TYPE; other += 4)
			if (other != type)
				EXPECT_BAD(level, table | other | ZPCI_LENGTH, ENTRY_TYPE);
	}
	for (uint64_t length = 0; length < 3; length++)
		EXPECT_BAD(2, table | 4 | length, ENTRY_LENGTH);
	for (uint64_t offset = 0x40; offset <= ZPCI_OFFSET; offset += 0x40)
		EXPECT_BAD(2, table | 4 | ZPCI_LENGTH | offset, ENTRY_LENGTH);
}

static void malformed_vtd(struct __test_metadata *_metadata,
			  FIXTURE_DATA(bad_tables) *self)
{
	uint64_t table = self->t->root;

	/* Frames that are not aligned to their size. */
	EXPECT_BAD(1, table | VTD_READ | VTD_LARGE | PAGE, ENTRY_RESERVED);
	EXPECT_BAD(2, (1ull << 40) | VTD_READ | VTD_LARGE | KIOMMU_2M, ENTRY_RESERVED);
	/* Snoop control is for leaves. */
	EXPECT_BAD(1, table | VTD_READ | 1ull << 11, ENTRY_RESERVED);
	EXPECT_BAD(2, table | VTD_READ | 1ull << 11, ENTRY_RESERVED);
	/* Beyond any guest's memory. */
	EXPECT_BAD(0, table | VTD_READ | VTD_RESERVED_HIGH, NO_SLOT);
	EXPECT_BAD(1, table | VTD_READ | VTD_RESERVED_HIGH, NO_SLOT);
}

TEST_F_TIMEOUT(bad_tables, malformed_entries, 120)
{
	if (variant->format == ZPCI)
		malformed_zpci(_metadata, self);
	else
		malformed_vtd(_metadata, self);
}

/* A large frame at a level that has none. */
TEST_F_TIMEOUT(bad_tables, frame_at_the_top, 120)
{
	uint64_t value = ioat_leaf_value(self->t, 3, 1ull << 50, IOAT_RW);
	struct kvm_iommu_refresh r;

	if (variant->format == VTD)
		value |= VTD_LARGE;
	else
		value |= ZPCI_LENGTH;
	ioat_map(self->t, BASE, self->gpa, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, BASE, PAGE, NULL));
	ioat_write(self->t, ioat_entry(self->t, 0, 3, false), value);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, BASE - PAGE, 2 * PAGE, &r));
	/* zPCI has no such bit there: it is a table outside of memory. */
	EXPECT_EQ(variant->format == VTD ? KVM_IOMMU_STATUS_ENTRY_RESERVED :
		  KVM_IOMMU_STATUS_NO_SLOT, r.status);
	EXPECT_EQ(BASE - PAGE, r.stopped_iova);
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
}

/*
 * v4, defect 3: a table that could not be read counted as "not mapped", and
 * the call succeeded.
 */
TEST_F_TIMEOUT(bad_tables, pointer_outside_slots, 120)
{
	for (uint32_t level = 1; level <= 2; level++)
		EXPECT_BAD(level, ioat_table_value(self->t, level, HOLE_GPA), NO_SLOT);
	for (uint32_t level = 0; level <= 2; level++)
		EXPECT_BAD(level, ioat_leaf_value(self->t, level, 1ull << 50, IOAT_RW),
			   NO_SLOT);
}

TEST_F_TIMEOUT(bad_tables, pointer_into_read_only_slot, 120)
{
	for (uint32_t level = 1; level <= 2; level++)
		EXPECT_BAD(level, ioat_table_value(self->t, level, ROM_GPA), READ_ONLY);
	/* A write-only entry would have no right left. */
	if (variant->format == VTD)
		EXPECT_BAD(0, ROM_GPA | VTD_WRITE, READ_ONLY);
}

TEST_F_TIMEOUT(bad_tables, pointer_into_unbacked_slot, 120)
{
	for (uint32_t level = 1; level <= 2; level++)
		EXPECT_BAD(level, ioat_table_value(self->t, level, BLANK_GPA), UNBACKED);
	for (uint32_t level = 0; level <= 1; level++)
		EXPECT_BAD_LEAF(level, BLANK_GPA, UNBACKED);
}

TEST_F_TIMEOUT(bad_tables, pointer_into_mmio, 120)
{
	if (kiommu_host_lacks(KIOMMU_BARS))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_BARS));
	for (uint32_t level = 1; level <= 2; level++)
		EXPECT_BAD(level, ioat_table_value(self->t, level, KIOMMU_BAR_GPA(0)),
			   MMIO);
	/* As a page, it cannot be mapped while memory space is disabled. */
	kiommu_device_enable(&self->k.vfio.dev[0], 0);
	for (uint32_t level = 0; level <= 1; level++)
		EXPECT_BAD_LEAF(level, KIOMMU_BAR_GPA(0), MMIO);
	kiommu_device_enable(&self->k.vfio.dev[0], 1);
}

/* A read-only slot under a writable entry: the device may read. */
TEST_F_TIMEOUT(bad_tables, read_only_slot_limits_leaves, 120)
{
	struct kvm_iommu_translate a;

	ioat_map_pages(self->t, BASE, ROM_GPA, 16, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, BASE, 16 * PAGE, NULL));
	for (uint64_t i = 0; i < 16; i++) {
		ASSERT_EQ(0, kiommu_translate(self->fd, BASE + i * PAGE, &a));
		EXPECT_EQ(KVM_IOMMU_STATUS_OK, a.status);
		EXPECT_EQ(KVM_IOMMU_READ, a.rights);
		EXPECT_EQ(KVM_IOMMU_READ, a.shadow_rights);
	}
}

/*
 * Entries that point to the table that they are in. Each step of the walk goes
 * down a level, so it ends; where the format allows such entries, the guest has
 * mapped its own tables.
 */
TEST_F_TIMEOUT(bad_tables, self_pointing_tables, 120)
{
	for (uint32_t level = 1; level < self->t->levels; level++) {
		struct kvm_iommu_refresh r = {};
		uint64_t *entry, *first, self_gpa;
		int ret;

		TH_LOG("level %u", level);
		ioat_map(self->t, BASE, self->gpa, 0, IOAT_RW);
		entry = ioat_entry(self->t, BASE, level, false);
		first = (uint64_t *)((uintptr_t)entry & ~(PAGE - 1));
		self_gpa = kiommu_gpa(self->k.vm.area, first);
		if (variant->format == ZPCI)
			self_gpa &= ~0x3fffull;
		first = kiommu_ptr(self->k.vm.area, self_gpa);
		ioat_write(self->t, entry, ioat_table_value(self->t, level, self_gpa));
		for (uint64_t i = 0; i < 512; i++)
			ioat_write(self->t, &first[i],
				   ioat_table_value(self->t, level, self_gpa));
		ret = kiommu_refresh(self->fd, BASE, TRIED, &r);
		if (variant->format == VTD) {
			EXPECT_EQ(0, ret);
			EXPECT_EQ(TRIED / PAGE, r.mapped);
			EXPECT_EQ(1, kiommu_pinned_pages(self->fd));
		} else if (level == 1) {
			/* Its entries are also valid page entries. */
			EXPECT_EQ(0, ret);
			EXPECT_EQ(1, kiommu_pinned_pages(self->fd));
		} else {
			EXPECT_EQ(-EIO, ret);
			EXPECT_EQ(KVM_IOMMU_STATUS_ENTRY_TYPE, r.status);
			EXPECT_EQ(BASE, r.stopped_iova);
		}
		ASSERT_EQ(0, kiommu_unregister(self->fd));
		EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
		self->t = ioat_new(self->k.vm.area, variant->format, variant->levels);
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	}
}

/* The slot of the anchor's table has been deleted. */
TEST_F_TIMEOUT(bad_tables, root_without_slot, 120)
{
	struct kvm_iommu_register_ioat anchor = ioat_anchor(self->t);
	struct kiommu_vm *vm = &self->k.vm;
	struct kvm_iommu_translate a;
	struct kvm_iommu_refresh r;
	void *mem;

	ASSERT_EQ(0, kiommu_unregister(self->fd));
	mem = kiommu_vm_add_memory(vm, KIOMMU_FREE_SLOT + 2, HOLE_GPA, 16, 0);
	memcpy(mem, kiommu_ptr(self->k.vm.area, self->t->root), 16384);
	anchor.iota += HOLE_GPA - self->t->root;
	ASSERT_EQ(0, kiommu_register(self->fd, &anchor));
	EXPECT_EQ(0, kiommu_refresh(self->fd, BASE, PAGE, NULL));
	kiommu_vm_del_memory(vm, KIOMMU_FREE_SLOT + 2, mem, 16);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, BASE, 2 * PAGE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	EXPECT_EQ(BASE, r.stopped_iova);
	ASSERT_EQ(0, kiommu_translate(self->fd, BASE, &a));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, a.status);
}

TEST_HARNESS_MAIN
