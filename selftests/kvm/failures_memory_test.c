// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thing that can fail fails once, when the guest's memory changes: part of
 * a block goes, because the process gave it up or a memory slot was deleted,
 * and the next call or a kernel thread maps the rest again. No caller can get
 * an error, so the file of faults must report what is lost. Device memory is
 * tested, too. See failures_test.c.
 */
#include <errno.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "failing.h"
#include "ring.h"
#include "world.h"

#define PAGE KIOMMU_PAGE
#define LEAF KIOMMU_WORLD_LEAF
#define ALL KIOMMU_WORLD_PAGES
#define ANY KIOMMU_ANY_STATUS
#define MAY KIOMMU_MAY
#define HALF (KIOMMU_2M / 2)
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT

FIXTURE(memory) {
	struct kiommu_world w;
	int fd;
	uint64_t pins;
	uint64_t kvm_refs;
};

FIXTURE_SETUP(memory)
{
	if (kiommu_fail_nth_lacks())
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	kiommu_world_set_up(&self->w);
	self->fd = self->w.fd;
	self->pins = self->w.pins;
	self->kvm_refs = self->w.kvm_refs;
}

FIXTURE_TEARDOWN(memory)
{
	kiommu_world_tear_down(&self->w);
	EXPECT_EQ(self->w.k->locked_vm, kiommu_locked_vm());
	KIOMMU_EXPECT_NOTHING_LEFT();
}

#define EACH(_call, _answers, _after...) \
	KIOMMU_EACH_FAILURE(&self->w, _call, _answers, _after)

#define EXPECT_CONVERGES() KIOMMU_EXPECT_CONVERGES(&self->w)

/* Restarts the guest, so that nothing can be reused, and maps everything. */
static void begin_anew(struct __test_metadata *_metadata,
		       FIXTURE_DATA(memory) *self)
{
	struct kiommu_world *w = &self->w;

	ASSERT_EQ(0, kiommu_stop(w->fd));
	ASSERT_EQ(0, kiommu_start(w->fd, w->k->vm.fd));
	ASSERT_EQ(0, kiommu_register_tables(w->fd, w->t));
	ASSERT_EQ(0, kiommu_world_map_own(w));
	EXPECT_CONVERGES();
	kiommu_world_forget_faults(w);
}

/* Of the pages that were mapped, at most @_gone are gone without a fault. */
#define EXPECT_TOLD(_gone) do {						\
	struct kiommu_pages _pages = {};				\
									\
	for (uint64_t _i = 0; _i < ALL; _i++) {				\
		const uint64_t _at = _i < 512 ? 512 + _i : 3 * (_i - 512); \
									\
		_pages.bits[_at / 64] |= 1ull << _at % 64;		\
	}								\
	EXPECT_GE(_gone, kiommu_world_lost_silently(&self->w, &_pages));	\
} while (0)

static const struct kiommu_answer info_answers[] = { MAY(-EFAULT, ANY), {} };

/* The next call begins with what has changed; it is the one that fails here. */
static int give_up(struct kiommu_world *w)
{
	struct kvm_iommu_info info;

	if (madvise(w->mem + 7 * PAGE, PAGE, MADV_DONTNEED))
		return -errno;
	return kiommu_get_info(w->fd, &info);
}

TEST_F_TIMEOUT(memory, given_up, 240)
{
	begin_anew(_metadata, self);
	EACH(give_up(&self->w), info_answers, {
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + 7 * PAGE));
		EXPECT_TOLD(1);
		begin_anew(_metadata, self);
	});
}

/* No call comes: a work item of the guest is what fails. */
TEST_F_TIMEOUT(memory, given_up_and_nobody_calls, 240)
{
	struct kiommu_world *w = &self->w;
	unsigned int failures = 0, fired = 1;

	while (fired) {
		uint64_t pins;

		begin_anew(_metadata, self);
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++failures);
		pins = kiommu_pins();
		EXPECT_LT(0, kiommu_fail_nth_of("kworker/u", failures));
		ASSERT_EQ(0, madvise(w->mem + 7 * PAGE, PAGE, MADV_DONTNEED));
		for (int i = 0; i < 1000 && kiommu_pins() == pins; i++)
			usleep(10000);
		fired = kiommu_fail_nth_of_fired();
		EXPECT_GT(pins, kiommu_pins());
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + 7 * PAGE));
		EXPECT_TOLD(1);
	}
	TH_LOG("%u failures", failures - 1);
	EXPECT_LT(1, failures);
}

static int delete_slot(struct kiommu_world *w)
{
	return kiommu_vm_set_slot(&w->k->vm, SLOT + 1, 0, GPA + HALF, 0, NULL);
}

static void add_slot(struct kiommu_world *w)
{
	TEST_ASSERT(!kiommu_vm_set_slot(&w->k->vm, SLOT + 1, 0, GPA + HALF, HALF,
					w->mem + HALF), "slot");
}

static void split_leaf(struct kiommu_world *w)
{
	ioat_unmap(w->t, LEAF, 1);
	ioat_map(w->t, LEAF, GPA, 1, IOAT_RW);
	TEST_ASSERT(!kiommu_vm_set_slot(&w->k->vm, SLOT, 0, GPA, HALF, w->mem),
		    "slot");
	add_slot(w);
}

/* KVM's own errors: the slot still exists then. */
static const struct kiommu_answer slot_answers[] = {
	MAY(-ENOMEM, ANY), MAY(-EFAULT, ANY), {}
};

/* KVM_SET_USER_MEMORY_REGION fails, within which devices lose the slot. */
TEST_F_TIMEOUT(memory, slot_deleted, 240)
{
	struct kiommu_world *w = &self->w;

	split_leaf(w);
	begin_anew(_metadata, self);
	ASSERT_EQ(0, kiommu_set_explicit_slots(self->fd));
	EACH(delete_slot(w), slot_answers, {
		if (!EACH_RET)
			EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + HALF));
		EXPECT_TOLD(256);
		delete_slot(w);
		add_slot(w);
		begin_anew(_metadata, self);
		ASSERT_EQ(0, kiommu_set_explicit_slots(self->fd));
	});
}

static int look(struct kiommu_world *w)
{
	struct kvm_iommu_info info;

	return kiommu_get_info(w->fd, &info);
}

/* The module is not told of the deletion: the next call finds the slot gone. */
TEST_F_TIMEOUT(memory, slot_deleted_before_a_call, 240)
{
	struct kiommu_world *w = &self->w;

	split_leaf(w);
	begin_anew(_metadata, self);
	ASSERT_EQ(0, delete_slot(w));
	EACH(look(w), info_answers, {
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + HALF));
		EXPECT_TOLD(256);
		add_slot(w);
		begin_anew(_metadata, self);
		ASSERT_EQ(0, delete_slot(w));
	});
}

#define BAR_IOVA (KIOMMU_WORLD_IOVA + 0x8000000ull)

static int refresh_bar(struct kiommu_world *w)
{
	struct kvm_iommu_refresh arg = {};
	int ret = kiommu_refresh(w->fd, BAR_IOVA, PAGE, &arg);

	w->status = arg.status;
	return ret;
}

static const struct kiommu_answer refresh_answers[] = {
	MAY(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY), MAY(-EFAULT, ANY), {}
};

/* Device memory of another device is mapped, and its BAR is disabled. */
TEST_F_TIMEOUT(memory, of_a_device, 240)
{
	struct kiommu_world *w = &self->w;
	unsigned int failures = 0;
	bool fired = true, known;

	if (w->k->vfio.count < 2)
		SKIP(return, "needs two devices");
	ioat_map(w->t, BAR_IOVA, KIOMMU_BAR_GPA(1), 0, IOAT_RW);
	while (fired) {
		int ret;

		begin_anew(_metadata, self);
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++failures);
		kiommu_fail_nth(failures);
		ret = refresh_bar(w);
		fired = kiommu_fail_nth_fired();
		known = kiommu_documented(refresh_answers, ret, w->status);
		EXPECT_TRUE(!ret || (fired && known)) {
			TH_LOG("failure %u: %d, status %u", failures, ret, w->status);
		}
		if (ret != -EFAULT)
			EXPECT_EQ(ret ? 0 : IOAT_RW,
				  kiommu_shadow_rights(self->fd, BAR_IOVA));
		EXPECT_EQ(0, refresh_bar(w));
		EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, BAR_IOVA));
		/* Its memory space is disabled: no device reaches it. */
		kiommu_device_enable(&w->k->vfio.dev[1], 0);
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, BAR_IOVA));
		kiommu_device_enable(&w->k->vfio.dev[1], 1);
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
	}
	TH_LOG("%u failures", failures - 1);
	EXPECT_LT(1, failures);
}

TEST_HARNESS_MAIN
