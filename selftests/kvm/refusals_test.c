// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host's IOMMU refuses maps, by kiommu_inject.ko: the n-th map of a call, for
 * each n until the call has no n-th one; alone, or with all that follow it.
 * After each refusal, mappings that are lost have been reported; what a device
 * reaches is what is counted, pinned and charged; and everything comes back
 * once the host maps again.
 */
#include <errno.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "ring.h"
#include "world.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_WORLD_IOVA
#define LEAF KIOMMU_WORLD_LEAF
#define RANGE KIOMMU_WORLD_RANGE
#define ALL KIOMMU_WORLD_PAGES
/*
 * More maps than any call makes: exceeding it means that the loop never ends.
 */
#define MOST 4000u

FIXTURE(refusals) {
	struct kiommu_world w;
	int fd;
	bool blocks; /* the host can map more than a page by one entry */
	uint64_t pins;
	uint64_t kvm_refs;
};

FIXTURE_SETUP(refusals)
{
	struct kvm_iommu_info info;

	kiommu_world_set_up(&self->w);
	self->fd = self->w.fd;
	self->pins = self->w.pins;
	self->kvm_refs = self->w.kvm_refs;
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	self->blocks = info.page_sizes & ~PAGE;
}

FIXTURE_TEARDOWN(refusals)
{
	kiommu_world_tear_down(&self->w);
	EXPECT_EQ(self->w.k->locked_vm, kiommu_locked_vm());
	KIOMMU_EXPECT_NOTHING_LEFT();
}

FIXTURE_VARIANT(refusals) {
	unsigned int count; /* maps that are refused, from the n-th on */
};

FIXTURE_VARIANT_ADD(refusals, one) { .count = 1 };
FIXTURE_VARIANT_ADD(refusals, all) { .count = MOST };

#define EXPECT_RIGHT() KIOMMU_EXPECT_RIGHT(&self->w)

#define EXPECT_CONVERGES() KIOMMU_EXPECT_CONVERGES(&self->w)

/*
 * Runs @_before, @_call while maps are refused, and @_after, in which REFUSED
 * is the number of maps that were. At least one map must have been refused.
 */
#define EACH_REFUSAL(_before, _call, _after...) do {			\
	unsigned long REFUSED = 1;					\
	unsigned int _n = 0;						\
									\
	while (REFUSED) {						\
		ASSERT_GT(MOST, ++_n);					\
		_before;						\
		kiommu_world_forget_faults(&self->w);			\
		kiommu_refuse_maps(_n, variant->count);			\
		_call;							\
		REFUSED = kiommu_allow_maps();				\
		_after;							\
	}								\
	TH_LOG("%u refusals", _n - 1);					\
	EXPECT_LT(1, _n);						\
} while (0)

TEST_F_TIMEOUT(refusals, refresh, 240)
{
	struct kvm_iommu_refresh r;
	int ret;

	if (!self->w.f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	EACH_REFUSAL({
		ASSERT_EQ(0, kiommu_world_unmap(&self->w));
	}, {
		ret = kiommu_refresh(self->fd, IOVA, RANGE, &r);
	}, {
		struct kiommu_pages pages = kiommu_world_pages(&self->w);

		/* A map that was refused once may be tried again. */
		EXPECT_TRUE(!ret || (REFUSED && ret == -ENOMEM));
		EXPECT_EQ(ret ? KVM_IOMMU_STATUS_NO_MEMORY : KVM_IOMMU_STATUS_OK,
			  r.status);
		if (!ret)
			EXPECT_EQ(ALL, kiommu_world_count(&pages));
		EXPECT_RIGHT();
		EXPECT_CONVERGES();
	});
}

/* The new page is refused: the device does not reach the old one any more. */
TEST_F_TIMEOUT(refusals, refresh_of_another_page, 240)
{
	struct kiommu_world *w = &self->w;
	const uint64_t one = KIOMMU_WORLD_SINGLE(1), two = KIOMMU_WORLD_SINGLE(2);
	const uint64_t gpa = kiommu_gpa(w->t->area, kiommu_world_memory(w, one));
	const uint64_t other = kiommu_gpa(w->t->area, kiommu_world_memory(w, two));
	int ret;

	if (!self->w.f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	EACH_REFUSAL({
		ioat_map(w->t, one, gpa, 0, IOAT_RW);
		ioat_map(w->t, two, other, 0, IOAT_RW);
		EXPECT_CONVERGES();
		ioat_map(w->t, one, other, 0, IOAT_RW);
		ioat_map(w->t, two, gpa, 0, IOAT_RW);
	}, {
		ret = kiommu_refresh(self->fd, one, two + PAGE - one, NULL);
	}, {
		EXPECT_TRUE(!ret || (REFUSED && ret == -ENOMEM));
		/* DMA reaches the new page, or none. */
		EXPECT_EQ(!!kiommu_shadow_rights(self->fd, one),
			  kiommu_world_reaches(w, one));
		EXPECT_EQ(!!kiommu_shadow_rights(self->fd, two),
			  kiommu_world_reaches(w, two));
		EXPECT_RIGHT();
		EXPECT_CONVERGES();
	});
}

/*
 * Part of what a host maps by one entry goes: the rest is mapped again, or
 * reported as lost.
 */
#define EACH_SPLIT(_hole, _call) do {					\
	struct kiommu_pages _all;					\
	int ret;							\
									\
	EACH_REFUSAL({							\
		EXPECT_CONVERGES();					\
		_all = kiommu_world_pages(&self->w);			\
	}, {								\
		ret = (_call);						\
	}, {								\
		struct kiommu_pages _now;				\
									\
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, _hole));	\
		_now = kiommu_world_pages(&self->w);			\
		EXPECT_TRUE(!ret || (REFUSED && ret == -ENOMEM));	\
		if (!REFUSED)						\
			EXPECT_EQ(ALL - 1, kiommu_world_count(&_now));	\
		/* Only the page that was to go. */			\
		EXPECT_GE(1, kiommu_world_lost_silently(&self->w, &_all)); \
		EXPECT_RIGHT();						\
	});								\
} while (0)

static int unmap_page(int fd, uint64_t iova)
{
	uint64_t size = PAGE;

	return kiommu_unmap_dma(fd, iova, &size, 0);
}

TEST_F_TIMEOUT(refusals, unmap_dma, 240)
{
	if (!self->w.f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	if (!self->blocks)
		SKIP(return, "the host maps page by page");
	EACH_SPLIT(LEAF + 100 * PAGE, unmap_page(self->fd, LEAF + 100 * PAGE));
}

/* The next call on the container does the work, if it is not done already. */
static int give_up(struct kiommu_world *w, uint64_t page)
{
	struct kvm_iommu_info info;

	return madvise(w->mem + page * PAGE, PAGE, MADV_DONTNEED) ?
		-errno : kiommu_get_info(w->fd, &info);
}

TEST_F_TIMEOUT(refusals, memory_change, 240)
{
	if (!self->w.f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	if (!self->blocks)
		SKIP(return, "the host maps page by page");
	EACH_SPLIT(LEAF + 7 * PAGE, give_up(&self->w, 7));
}

/* Half of the leaf is in a slot of its own, which is deleted. */
TEST_F_TIMEOUT(refusals, slot_change, 240)
{
	struct kiommu_world *w = &self->w;
	const uint64_t gpa = KIOMMU_FREE_GPA, half = KIOMMU_2M / 2;
	const uint32_t slot = KIOMMU_FREE_SLOT;
	struct kiommu_pages all;

	if (!self->w.f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	if (!self->blocks)
		SKIP(return, "the host maps page by page");
	kiommu_lose_slots_at_once(self->fd);
	ioat_unmap(w->t, LEAF, 1);
	ioat_map(w->t, LEAF, gpa, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_vm_set_slot(&w->k->vm, slot, 0, gpa, half, w->mem));
	EACH_REFUSAL({
		ASSERT_EQ(0, kiommu_vm_set_slot(&w->k->vm, slot + 1, 0, gpa + half,
						half, w->mem + half));
		EXPECT_CONVERGES();
		all = kiommu_world_pages(w);
	}, {
		ASSERT_EQ(0, kiommu_vm_set_slot(&w->k->vm, slot + 1, 0, gpa + half,
						0, NULL));
	}, {
		struct kiommu_pages now = kiommu_world_pages(w);

		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + half));
		if (!REFUSED)
			EXPECT_EQ(ALL - 256, kiommu_world_count(&now));
		EXPECT_GE(256, kiommu_world_lost_silently(w, &all));
		EXPECT_RIGHT();
	});
}

/* A host that was to be renewed, and could not be, is as good as before. */
TEST_F_TIMEOUT(refusals, unregister_ioat, 240)
{
	struct kiommu_world *w = &self->w;

	if (!w->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	for (int i = 0; i < 3; i++) {
		EXPECT_CONVERGES();
		kiommu_refuse_maps(1, MOST);
		EXPECT_EQ(0, kiommu_unregister(self->fd));
		EXPECT_EQ(self->pins, kiommu_pins());
		EXPECT_EQ(0, kiommu_register_tables(self->fd, w->t));
		EXPECT_RIGHT();
		kiommu_allow_maps();
		EXPECT_EQ(0, kiommu_world_map_own(w));
	}
	EXPECT_CONVERGES();
}

/*
 * If devices can be attached neither to the new domain of a renewed host nor
 * back to the old one, each is reported by a fault, and they reach nothing.
 */
TEST_F_TIMEOUT(refusals, unregister_ioat_and_no_way_back, 240)
{
	struct kiommu_world *w = &self->w;
	const struct kiommu_container *c = &w->k->vfio;
	unsigned int told[KIOMMU_MAX_DEVICES] = {};
	struct kvm_iommu_fault fault;
	struct kvm_iommu_info info;

	if (!w->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	EXPECT_CONVERGES();
	kiommu_world_forget_faults(w);
	kiommu_refuse_maps(1, MOST);
	kiommu_refuse_attach(true);
	EXPECT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_TRUE(kiommu_world_blocks(w, LEAF));
	kiommu_refuse_attach(false);
	kiommu_allow_maps();
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	while (kiommu_next_fault(w->f.faults, KVM_IOMMU_FAULT_HOST, &fault)) {
		EXPECT_EQ(KVM_IOMMU_FAULT_PCI, fault.flags);
		EXPECT_EQ(KVM_IOMMU_STATUS_HOST, fault.status);
		EXPECT_EQ(1, fault.count);
		for (unsigned int i = 0; i < c->count; i++)
			told[i] += fault.device == kiommu_fault_device(&c->dev[i]);
	}
	/* A host without tables is not renewed: its devices stay. */
	for (unsigned int i = 0; i < c->count; i++)
		EXPECT_EQ(info.shadow_bytes > 0, told[i]);
	EXPECT_EQ(0, kiommu_register_tables(self->fd, w->t));
	EXPECT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_FALSE(kiommu_next_fault(w->f.faults, KVM_IOMMU_FAULT_HOST, &fault));
	EXPECT_EQ(0, kiommu_register_tables(self->fd, w->t));
	EXPECT_EQ(0, kiommu_world_map_own(w));
	EXPECT_CONVERGES();
}

TEST_HARNESS_MAIN
