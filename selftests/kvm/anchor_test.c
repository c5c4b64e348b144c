// SPDX-License-Identifier: GPL-2.0-only
/*
 * The anchor: what REGISTER_IOAT accepts of each format, each documented errno,
 * the window, and re-anchoring at new places.
 */
#include <errno.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define ZPCI KVM_IOMMU_FORMAT_ZPCI
#define VTD KVM_IOMMU_FORMAT_VTD_SS
#define DT(_type) ((uint64_t)(_type) << ZPCI_IOTA_DT_SHIFT)

/*
 * Besides the area: a slot of two pages, too small for a zPCI table; a
 * read-only slot; and a GPA without a slot.
 */
#define SHORT_GPA KIOMMU_FREE_GPA
#define ROM_GPA (KIOMMU_FREE_GPA + KIOMMU_2M)
#define HOLE_GPA (KIOMMU_FREE_GPA + 2 * KIOMMU_2M)

/* IOVA of what tests map. */
#define WINDOW (KIOMMU_IOVA_BASE + 0x100000ull)

FIXTURE(anchor) {
	struct kiommu k;
	int fd;
};

FIXTURE_SETUP(anchor)
{
	struct kiommu_vm *vm = &self->k.vm;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	kiommu_vm_add_memory(vm, KIOMMU_FREE_SLOT, SHORT_GPA, 2, 0);
	kiommu_vm_add_memory(vm, KIOMMU_FREE_SLOT + 1, ROM_GPA, 16,
			     KVM_MEM_READONLY);
	ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));
}

FIXTURE_TEARDOWN(anchor)
{
	kiommu_teardown(&self->k);
}

/* The errno that goes with a status. */
static int error_of(uint32_t status)
{
	switch (status) {
	case KVM_IOMMU_STATUS_FORMAT:
	case KVM_IOMMU_STATUS_FIELD:
	case KVM_IOMMU_STATUS_FLAGS:
		return -EOPNOTSUPP;
	default:
		return -EINVAL;
	}
}

/* A well-formed anchor, changed by one assignment, is refused with @status. */
#define EXPECT_ANCHOR(_status, _good, _assignment) do {			\
	struct kvm_iommu_register_ioat a = (_good);			\
									\
	a._assignment;							\
	EXPECT_EQ(error_of(KVM_IOMMU_STATUS_ ## _status),		\
		  kiommu_ioctl(self->fd, KVM_IOMMU_REGISTER_IOAT, &a));	\
	EXPECT_EQ(KVM_IOMMU_STATUS_ ## _status, a.status);		\
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));	\
} while (0)

/* ... or accepted. */
#define EXPECT_GOOD_ANCHOR(_good, _assignment) do {			\
	struct kvm_iommu_register_ioat a = (_good);			\
									\
	a._assignment;							\
	EXPECT_EQ(0, kiommu_register(self->fd, &a));			\
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, kiommu_get_state(self->fd)); \
	EXPECT_EQ(0, kiommu_unregister(self->fd));			\
} while (0)

/* v4, defect 8: designations without tables were accepted. */
TEST_F_TIMEOUT(anchor, zpci_designation, 120)
{
	for (uint32_t type = 0; type < 8; type++) {
		uint32_t levels = type < 4 ? type + 2 : 2;
		struct ioat *t = ioat_new(self->k.vm.area, ZPCI, levels);
		struct kvm_iommu_register_ioat good = ioat_anchor(t);
		uint64_t iota = t->root | ZPCI_IOTA_T | DT(type);

		if (type < 4)
			EXPECT_GOOD_ANCHOR(good, iota = iota);
		else
			EXPECT_ANCHOR(DESIGNATION, good, iota = iota);
		/* Without T the guest's DMA is not translated by tables. */
		EXPECT_ANCHOR(DESIGNATION, good, iota = iota & ~ZPCI_IOTA_T);
		/* Frame sizes belong to the forms without tables. */
		for (uint64_t fs = 1; fs < 4; fs++)
			EXPECT_ANCHOR(DESIGNATION, good, iota = iota | fs);
	}
}

TEST_F_TIMEOUT(anchor, zpci_table, 120)
{
	struct ioat *t = ioat_new(self->k.vm.area, ZPCI, 3);
	struct kvm_iommu_register_ioat good = ioat_anchor(t);
	uint64_t bits = good.iota - t->root;

	EXPECT_ANCHOR(MISALIGNED, good, iota += 0x1000);
	EXPECT_ANCHOR(MISALIGNED, good, iota += 0x2000);
	EXPECT_ANCHOR(TABLE, good, iota = HOLE_GPA | bits);
	EXPECT_ANCHOR(TABLE, good, iota = (1ull << 63) | bits);
	EXPECT_ANCHOR(TABLE, good, iota = -0x4000ull | bits);
	EXPECT_ANCHOR(TABLE, good, iota = ROM_GPA | bits);
	/* The table begins in a slot, and ends behind it. */
	EXPECT_ANCHOR(TABLE, good, iota = SHORT_GPA | bits);
	/* Key and cache hints are ignored. */
	EXPECT_GOOD_ANCHOR(good, iota |= 0x1e0);
	EXPECT_ANCHOR(FIELD, good, levels = 3);
	EXPECT_ANCHOR(FIELD, good, offset = 0x1000);
}

TEST_F_TIMEOUT(anchor, vtd_table, 120)
{
	static const uint32_t bad_levels[] = { 0, 1, 2, 6, 0x80000004 };

	for (uint32_t levels = 3; levels <= 5; levels++) {
		struct ioat *t = ioat_new(self->k.vm.area, VTD, levels);
		struct kvm_iommu_register_ioat good = ioat_anchor(t);

		EXPECT_GOOD_ANCHOR(good, levels = levels);
		for (size_t i = 0; i < ARRAY_SIZE(bad_levels); i++)
			EXPECT_ANCHOR(DESIGNATION, good, levels = bad_levels[i]);
		for (uint64_t bit = 1; bit < KIOMMU_PAGE; bit <<= 1)
			EXPECT_ANCHOR(MISALIGNED, good, iota |= bit);
		EXPECT_ANCHOR(TABLE, good, iota = HOLE_GPA);
		EXPECT_ANCHOR(TABLE, good, iota = ROM_GPA);
		EXPECT_ANCHOR(TABLE, good, iota |= 1ull << 51);
		EXPECT_ANCHOR(TABLE, good, iota |= 1ull << 52);
		EXPECT_ANCHOR(TABLE, good, iota |= 1ull << 63);
		EXPECT_ANCHOR(FIELD, good, offset = 0x1000);
	}
}

TEST_F_TIMEOUT(anchor, identity_and_unknown_formats, 120)
{
	const struct kvm_iommu_register_ioat good = {
		.size = sizeof(good), .rights = IOAT_RW,
	};

	EXPECT_GOOD_ANCHOR(good, offset = 0);
	EXPECT_GOOD_ANCHOR(good, offset = 0x1000);
	EXPECT_ANCHOR(MISALIGNED, good, offset = 0x800);
	EXPECT_ANCHOR(MISALIGNED, good, offset = 1);
	EXPECT_ANCHOR(FIELD, good, iota = KIOMMU_AREA_GPA);
	EXPECT_ANCHOR(FIELD, good, levels = 3);
	EXPECT_ANCHOR(FORMAT, good, format = 63);
	EXPECT_ANCHOR(FORMAT, good, format = 64);
	EXPECT_ANCHOR(FORMAT, good, format = UINT32_MAX);
	/* IOVAs below the offset have no GPA. */
	EXPECT_ANCHOR(RANGE, ((struct kvm_iommu_register_ioat) {
		.size = sizeof(good), .offset = 0x10000, .last = 0x1ffff,
		.rights = IOAT_RW }),
		first = 0x8000);
}

/*
 * The anchor's rights limit what devices may do: each format's tables allow
 * both rights, but TRANSLATE, TRANSLATE_RANGE and the shadow have only those of
 * the anchor.
 */
TEST_F_TIMEOUT(anchor, rights, 120)
{
	const uint64_t iova = KIOMMU_IOVA_BASE + 0x100000ull, page = KIOMMU_PAGE;
	int fd = self->fd;

	for (int tables = 0; tables < 2; tables++) {
		struct ioat *t = ioat_new(self->k.vm.area, VTD, 3);
		struct kvm_iommu_register_ioat good = ioat_anchor(t);
		uint64_t at = tables ? iova : KIOMMU_AREA_GPA;

		TH_LOG("%s", tables ? "tables" : "identity");
		if (!tables)
			good = (struct kvm_iommu_register_ioat){
				.size = sizeof(good), .rights = IOAT_RW };
		EXPECT_ANCHOR(RIGHTS, good, rights = 0);
		EXPECT_ANCHOR(RIGHTS, good, rights = 4);
		EXPECT_ANCHOR(RIGHTS, good, rights = IOAT_RW | 1u << 31);
		ioat_map(t, iova, KIOMMU_AREA_GPA, 0, IOAT_RW);
		for (uint32_t rights = 1; rights <= IOAT_RW; rights++) {
			struct kvm_iommu_register_ioat a = good;
			struct kvm_iommu_translation record = {};
			struct kvm_iommu_translate_range range = {
				.iova = at, .length = page, .capacity = 1,
				.records = (uintptr_t)&record,
			};
			struct kvm_iommu_translate one;

			a.rights = rights;
			ASSERT_EQ(0, kiommu_register(fd, &a));
			ASSERT_EQ(0, kiommu_refresh(fd, at, page, NULL));
			ASSERT_EQ(0, kiommu_translate(fd, at, &one));
			EXPECT_EQ(rights, one.rights);
			EXPECT_EQ(rights, one.shadow_rights);
			ASSERT_EQ(0, kiommu_translate_range(fd, &range));
			ASSERT_EQ(1, range.count);
			EXPECT_EQ(rights, record.rights);
			EXPECT_EQ(rights, record.shadow_rights);
			ASSERT_EQ(0, kiommu_unregister(fd));
		}
	}
}

/* The reach of the tables, and the guest's DMA window within it. */
TEST_F_TIMEOUT(anchor, window, 120)
{
	static const struct {
		uint32_t format, levels, bits;
	} shapes[] = {
		{ ZPCI, 2, 31 }, { ZPCI, 3, 42 }, { ZPCI, 4, 53 }, { ZPCI, 5, 64 },
		{ VTD, 3, 39 }, { VTD, 4, 48 }, { VTD, 5, 57 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct ioat *t = ioat_new(self->k.vm.area, shapes[i].format,
					  shapes[i].levels);
		struct kvm_iommu_register_ioat good = ioat_anchor(t);
		uint64_t last = shapes[i].bits < 64 ?
			(1ull << shapes[i].bits) - 1 : ~0ull;

		TH_LOG("format %u, levels %u", shapes[i].format, shapes[i].levels);
		good.first = 0x100000;
		good.last = 0x1fffff;
		EXPECT_GOOD_ANCHOR(good, last = last);
		EXPECT_GOOD_ANCHOR(good, last = 0x100fff);
		EXPECT_ANCHOR(MISALIGNED, good, first = 0x100800);
		EXPECT_ANCHOR(MISALIGNED, good, last = 0x1ffffe);
		EXPECT_ANCHOR(MISALIGNED, good, last = 0x200000);
		EXPECT_ANCHOR(RANGE, good, last = 0xfffff);
		EXPECT_ANCHOR(RANGE, good, first = 0x200000);
		if (shapes[i].bits < 64) {
			EXPECT_ANCHOR(RANGE, good, last = last + KIOMMU_PAGE);
			EXPECT_ANCHOR(RANGE, good, last = ~0ull);
		}
	}
}

TEST_F_TIMEOUT(anchor, calls_outside_the_window, 120)
{
	struct ioat *t = ioat_new(self->k.vm.area, ZPCI, 3);
	struct kvm_iommu_register_ioat anchor = ioat_anchor(t);
	const uint64_t page = KIOMMU_PAGE, first = WINDOW, end = WINDOW + 2 * page;
	struct kvm_iommu_translate answer;
	uint64_t size = page;
	int fd = self->fd;

	ioat_map_pages(t, first - page, KIOMMU_AREA_GPA, 4, IOAT_RW);
	anchor.first = first;
	anchor.last = end - 1;
	ASSERT_EQ(0, kiommu_register(fd, &anchor));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, first - page, page, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, first - page, 2 * page, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, end - page, 2 * page, NULL));
	EXPECT_EQ(-EINVAL, kiommu_refresh(fd, end, page, NULL));
	EXPECT_EQ(-EINVAL, kiommu_translate(fd, first - 1, &answer));
	EXPECT_EQ(-EINVAL, kiommu_translate(fd, end, &answer));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(fd, first - page, &size, 0));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(fd, end, &size, 0));
	EXPECT_EQ(0, kiommu_mapped_pages(fd));
	EXPECT_EQ(0, kiommu_refresh(fd, first, 2 * page, NULL));
	EXPECT_EQ(0, kiommu_translate(fd, end - 1, &answer));
	EXPECT_EQ(KVM_IOMMU_STATUS_OK, answer.status);
	EXPECT_EQ(2, kiommu_mapped_pages(fd));
}

/* v4, defect 10: an IOVA beyond the reach of the tables aliased a low one. */
TEST_F_TIMEOUT(anchor, calls_beyond_the_reach, 120)
{
	static const struct {
		uint32_t format, levels, bits;
	} shapes[] = { { ZPCI, 2, 31 }, { ZPCI, 3, 42 }, { VTD, 3, 39 } };
	struct kvm_iommu_translate answer;

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		struct ioat *t = ioat_new(self->k.vm.area, shapes[i].format,
					  shapes[i].levels);
		uint64_t beyond = 1ull << shapes[i].bits;

		ioat_map_pages(t, 0, KIOMMU_AREA_GPA, 2, IOAT_RW);
		ASSERT_EQ(0, kiommu_register_tables(self->fd, t));
		EXPECT_EQ(-EINVAL, kiommu_refresh(self->fd, beyond, KIOMMU_PAGE, NULL));
		EXPECT_EQ(-EINVAL, kiommu_refresh(self->fd, beyond - KIOMMU_PAGE,
						  2 * KIOMMU_PAGE, NULL));
		EXPECT_EQ(-EINVAL, kiommu_translate(self->fd, beyond, &answer));
		EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, kiommu_unregister(self->fd));
	}
}

/* The protection bit of the IOTA removes the right to write from all pages. */
TEST_F_TIMEOUT(anchor, protected_iota, 120)
{
	struct ioat *t = ioat_new(self->k.vm.area, ZPCI, 3);
	struct kvm_iommu_register_ioat anchor = ioat_anchor(t);
	struct kvm_iommu_translate answer;

	ioat_map(t, WINDOW, KIOMMU_AREA_GPA, 0, IOAT_RW);
	anchor.iota |= ZPCI_PROTECT;
	ASSERT_EQ(0, kiommu_register(self->fd, &anchor));
	ASSERT_EQ(0, kiommu_refresh(self->fd, WINDOW, KIOMMU_PAGE, NULL));
	ASSERT_EQ(0, kiommu_translate(self->fd, WINDOW, &answer));
	EXPECT_EQ(KVM_IOMMU_READ, answer.rights);
	EXPECT_EQ(KVM_IOMMU_READ, answer.shadow_rights);
}

/*
 * A guest unsets its anchor and sets another one at any time. v4, defect 7:
 * whether a call fails or succeeds, it gives back what it took; defect 12: the
 * cost depends on what is mapped.
 */
TEST_F_TIMEOUT(anchor, again_and_again_at_new_places, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	uint64_t pins = kiommu_pins();
	char *page = kiommu_alloc(area, 8 * KIOMMU_PAGE, KIOMMU_PAGE);
	struct kvm_iommu_info info;
	int fd = self->fd;

	for (int i = 0; i < 60; i++) {
		uint32_t format = i % 2 ? ZPCI : VTD;
		struct ioat *t = ioat_new(area, format, 3 + i % 3);
		struct kvm_iommu_register_ioat bad = ioat_anchor(t);
		uint64_t iova = KIOMMU_IOVA_BASE + ((uint64_t)(i + 1) << 26);

		bad.iota = ioat_iota(t) - t->root + HOLE_GPA;
		ASSERT_EQ(-EINVAL, kiommu_register(fd, &bad));
		ioat_map_pages(t, iova, kiommu_gpa(area, page), 8, IOAT_RW);
		ASSERT_EQ(0, kiommu_register_tables(fd, t));
		ASSERT_EQ(-EEXIST, kiommu_register_tables(fd, t));
		ASSERT_EQ(0, kiommu_get_info(fd, &info));
		ASSERT_EQ(format, info.format);
		ASSERT_EQ(ioat_iota(t), info.iota);
		ASSERT_EQ(0, kiommu_refresh(fd, iova, 8 * KIOMMU_PAGE, NULL));
		ASSERT_EQ(8, kiommu_mapped_pages(fd));
		ASSERT_EQ(self->k.locked_vm + 8 * KIOMMU_PAGE, kiommu_locked_vm());
		ASSERT_EQ(0, kiommu_unregister(fd));
		ASSERT_EQ(-ENXIO, kiommu_unregister(fd));
		ASSERT_EQ(0, kiommu_get_info(fd, &info));
		ASSERT_EQ(0, info.mapped_pages);
		ASSERT_EQ(0, info.pinned_pages);
		ASSERT_EQ(0, info.shadow_bytes);
		ASSERT_EQ(self->k.locked_vm, kiommu_locked_vm());
		ASSERT_EQ(pins, kiommu_pins());
	}
}

TEST_HARNESS_MAIN
