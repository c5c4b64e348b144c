// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thing that can fail fails once: the n-th allocation or copy of a call,
 * for each n until the call has no n-th one. After each failure the error is
 * one that linux/kvm_iommu.h documents for the call, what a device reaches is
 * what is counted, pinned and charged, and the next call works. This needs the
 * kernel of `make test-debug`.
 *
 * The life of a container is tested in failures_life_test.c, what needs a KVM's
 * vCPU in tracked_failures_test.c, a host that refuses maps in refusals_test.c.
 */
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "failing.h"
#include "world.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_WORLD_IOVA
#define LEAF KIOMMU_WORLD_LEAF
#define RANGE KIOMMU_WORLD_RANGE
#define ALL KIOMMU_WORLD_PAGES
#define ANY KIOMMU_ANY_STATUS
#define MAY KIOMMU_MAY
#define OR_NOTHING KIOMMU_OR_NOTHING

FIXTURE(failures) {
	struct kiommu_world w;
	int fd;
	uint64_t pins;
	uint64_t kvm_refs;
};

FIXTURE_SETUP(failures)
{
	if (kiommu_fail_nth_lacks())
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	kiommu_world_set_up(&self->w);
	self->fd = self->w.fd;
	self->pins = self->w.pins;
	self->kvm_refs = self->w.kvm_refs;
}

FIXTURE_TEARDOWN(failures)
{
	kiommu_world_tear_down(&self->w);
	EXPECT_EQ(self->w.k->locked_vm, kiommu_locked_vm());
	KIOMMU_EXPECT_NOTHING_LEFT();
}

#define EACH(_call, _answers, _after...) \
	KIOMMU_EACH_FAILURE(&self->w, _call, _answers, _after)

#define EXPECT_CONVERGES() KIOMMU_EXPECT_CONVERGES(&self->w)

#define UNMAP_ALL() do {						\
	ASSERT_EQ(0, kiommu_world_unmap(&self->w));			\
	ASSERT_EQ(self->w.own, kiommu_mapped_pages(self->fd));		\
} while (0)

/* Errors of a call that allocates nothing. */
static const struct kiommu_answer copies[] = {
	OR_NOTHING(-EFAULT, ANY), {}
};

/*
 * Errors of a call that may have done its work when storing the answer fails.
 */
static const struct kiommu_answer answers[] = { MAY(-EFAULT, ANY), {} };

/* Errors of a call that allocates, and does all or nothing. */
static const struct kiommu_answer memory[] = {
	OR_NOTHING(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY),
	MAY(-EFAULT, ANY), {}
};

/* The same without a status. */
static const struct kiommu_answer memory_alone[] = {
	OR_NOTHING(-ENOMEM, ANY), MAY(-EFAULT, ANY), {}
};

static int do_register(struct kiommu_world *w)
{
	struct kvm_iommu_register_ioat arg = ioat_anchor(w->t);
	int ret = kiommu_ioctl(w->fd, KVM_IOMMU_REGISTER_IOAT, &arg);

	w->status = arg.status;
	return ret;
}

/* After -EFAULT the anchor may be set: only the answer could not be stored. */
TEST_F_TIMEOUT(failures, register_ioat, 120)
{
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EACH(do_register(&self->w), memory, {
		int ret = kiommu_unregister(self->fd);

		if (EACH_RET != -EFAULT)
			EXPECT_EQ(EACH_RET ? -ENXIO : 0, ret);
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->w.t));
		ASSERT_EQ(0, kiommu_world_map_own(&self->w));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, kiommu_unregister(self->fd));
	});
}

TEST_F_TIMEOUT(failures, unregister_ioat, 120)
{
	EXPECT_CONVERGES();
	EACH(kiommu_unregister(self->fd), copies, {
		if (!EACH_RET) {
			EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
			ASSERT_EQ(0, kiommu_register_tables(self->fd, self->w.t));
			ASSERT_EQ(0, kiommu_world_map_own(&self->w));
		}
		EXPECT_CONVERGES();
	});
}

static int do_refresh(struct kiommu_world *w)
{
	struct kvm_iommu_refresh arg = {};
	int ret = kiommu_refresh(w->fd, IOVA, RANGE, &arg);

	w->status = arg.status;
	return ret;
}

static const struct kiommu_answer refresh_answers[] = {
	MAY(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY), MAY(-EFAULT, ANY), {}
};

static int start_anew(struct kiommu_world *w)
{
	return kiommu_stop(w->fd) ?: kiommu_start(w->fd, w->k->vm.fd) ?:
	       kiommu_register_tables(w->fd, w->t);
}

/* The first refresh of a guest: nothing can be reused. */
TEST_F_TIMEOUT(failures, first_refresh, 240)
{
	ASSERT_EQ(0, start_anew(&self->w));
	EACH(do_refresh(&self->w), refresh_answers, {
		if (!EACH_RET)
			EXPECT_EQ(ALL, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, kiommu_world_map_own(&self->w));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, start_anew(&self->w));
	});
}

TEST_F_TIMEOUT(failures, refresh, 240)
{
	EACH(do_refresh(&self->w), refresh_answers, {
		if (!EACH_RET)
			EXPECT_EQ(ALL + self->w.own,
				  kiommu_mapped_pages(self->fd));
		EXPECT_CONVERGES();
		UNMAP_ALL();
	});
}

/* The guest has exchanged and removed pages: those that it removed are gone. */
TEST_F_TIMEOUT(failures, refresh_of_what_has_changed, 240)
{
	struct kiommu_world *w = &self->w;
	const uint64_t one = KIOMMU_WORLD_SINGLE(1), two = KIOMMU_WORLD_SINGLE(2);
	const uint64_t gpa = kiommu_gpa(w->t->area, kiommu_world_memory(w, one));
	const uint64_t other = kiommu_gpa(w->t->area, kiommu_world_memory(w, two));

	EXPECT_CONVERGES();
	EACH(do_refresh(w), refresh_answers, {
		if (_n > 1) {
			EXPECT_EQ(0, kiommu_shadow_rights(self->fd, two));
			/* Restore the tables, so that all pages are mapped. */
			ioat_map(w->t, one, gpa, 0, IOAT_RW);
			ioat_map(w->t, two, other, 0, IOAT_RW);
			ioat_unmap(w->t, LEAF, 1);
			ioat_map(w->t, LEAF, w->gpa, 1, IOAT_RW);
		}
		EXPECT_CONVERGES();
		ioat_map(w->t, one, other, 0, IOAT_RW);
		ioat_unmap(w->t, two, 0);
	});
}

static int do_map(struct kiommu_world *w)
{
	return kiommu_map_dma(w->fd, NULL, IOVA, RANGE, VFIO_DMA_MAP_FLAG_READ |
			      VFIO_DMA_MAP_FLAG_WRITE);
}

static const struct kiommu_answer map_answers[] = {
	MAY(-ENOMEM, ANY), MAY(-EFAULT, ANY), {}
};

TEST_F_TIMEOUT(failures, map_dma, 240)
{
	EACH(do_map(&self->w), map_answers, {
		EXPECT_CONVERGES();
		UNMAP_ALL();
	});
}

/*
 * Unmaps a page within a block: the rest is mapped again, or reported as lost.
 */
static int unmap_hole(struct kiommu_world *w)
{
	uint64_t size = PAGE;

	return kiommu_unmap_dma(w->fd, LEAF + 100 * PAGE, &size, 0);
}

TEST_F_TIMEOUT(failures, unmap_dma, 240)
{
	struct kiommu_world *w = &self->w;

	EXPECT_CONVERGES();
	EACH(unmap_hole(w), map_answers, {
		struct kiommu_pages pages = kiommu_world_pages(w);

		if (EACH_RET != -EFAULT)
			EXPECT_EQ(0, kiommu_shadow_rights(self->fd,
							  LEAF + 100 * PAGE));
		/* ENOMEM reports that more is lost. */
		if (!EACH_RET)
			EXPECT_EQ(ALL - 1, kiommu_world_count(&pages));
		if (EACH_RET == -EFAULT)
			EXPECT_LE(ALL - 1, kiommu_world_count(&pages));
		EXPECT_CONVERGES();
	});
}

/*
 * So many pages that they are unmapped in parts if there is no memory, with the
 * range in the last part.
 */
#define DIRTY_PAGES 4096ull
#define DIRTY_SIZE (DIRTY_PAGES * PAGE)
#define DIRTY_IOVA (IOVA + RANGE - DIRTY_SIZE)

struct dirty_pages {
	uint64_t bits[DIRTY_PAGES / 64];
};

static uint64_t count_dirty(const struct dirty_pages *dirty)
{
	uint64_t count = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(dirty->bits); i++)
		count += __builtin_popcountll(dirty->bits[i]);
	return count;
}

static int unmap_dirty(struct kiommu_world *w, struct dirty_pages *dirty)
{
	uint64_t size = DIRTY_SIZE;

	memset(dirty, 0, sizeof(*dirty));
	return kiommu_unmap_dirty(w->fd, DIRTY_IOVA, &size, dirty->bits,
				  sizeof(dirty->bits));
}

TEST_F_TIMEOUT(failures, unmap_dma_with_bitmap, 240)
{
	struct dirty_pages dirty;

	ASSERT_EQ(0, kiommu_dirty_pages(self->fd,
					VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	EXPECT_CONVERGES();
	/* The pages are unmapped even if ENOMEM reports that more is lost. */
	EACH(unmap_dirty(&self->w, &dirty), map_answers, {
		if (!EACH_RET)
			EXPECT_EQ(ALL, count_dirty(&dirty));
		if (EACH_RET != -EFAULT)
			EXPECT_EQ(self->w.own, kiommu_mapped_pages(self->fd));
		EXPECT_CONVERGES();
	});
}

static int start_and_stop(struct kiommu_world *w)
{
	return kiommu_dirty_pages(w->fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START) ?:
	       kiommu_dirty_pages(w->fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
}

static int get_dirty(struct kiommu_world *w, struct dirty_pages *dirty)
{
	memset(dirty, 0, sizeof(*dirty));
	return kiommu_get_dirty_pages(w->fd, DIRTY_IOVA, DIRTY_SIZE, dirty->bits,
				      sizeof(dirty->bits));
}

/* Reading the bitmap needs no memory. */
TEST_F_TIMEOUT(failures, dirty_pages, 120)
{
	struct dirty_pages all, dirty;

	EXPECT_CONVERGES();
	EACH(start_and_stop(&self->w), memory_alone, {
		EXPECT_EQ(0, start_and_stop(&self->w));
	});
	ASSERT_EQ(0, kiommu_dirty_pages(self->fd,
					VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
	ASSERT_EQ(0, get_dirty(&self->w, &all));
	EXPECT_EQ(ALL, count_dirty(&all));
	EACH(get_dirty(&self->w, &dirty), copies, {
		if (!EACH_RET)
			EXPECT_EQ(0, memcmp(&all, &dirty, sizeof(all)));
	});
}

static int do_translate(struct kiommu_world *w)
{
	struct kvm_iommu_translate arg = {};
	int ret = kiommu_translate(w->fd, IOVA, &arg);

	if (ret)
		w->status = arg.status;
	return ret;
}

static int do_translate_range(struct kiommu_world *w)
{
	struct kvm_iommu_translation records[32];
	struct kvm_iommu_translate_range arg = {
		.iova = IOVA,
		.length = RANGE,
		.records = (uintptr_t)records,
		.capacity = ARRAY_SIZE(records),
	};
	int ret = kiommu_translate_range(w->fd, &arg);

	w->status = arg.status;
	/* A success that does not report all counts as a failure here. */
	return ret ?: arg.status == KVM_IOMMU_STATUS_NO_MEMORY ? -ENOMEM : 0;
}

TEST_F_TIMEOUT(failures, translate, 120)
{
	EXPECT_CONVERGES();
	EACH(do_translate(&self->w), copies, {
		EXPECT_EQ(0, do_translate(&self->w));
	});
	EACH(do_translate_range(&self->w), memory, {
		EXPECT_EQ(0, do_translate_range(&self->w));
	});
}

static int get_info(struct kiommu_world *w)
{
	struct kvm_iommu_info info;

	return kiommu_get_info(w->fd, &info);
}

static int get_type1_info(struct kiommu_world *w)
{
	struct {
		struct vfio_iommu_type1_info info;
		uint8_t capabilities[1024];
	} arg = { .info.argsz = sizeof(arg) };

	return kiommu_ioctl(w->fd, VFIO_IOMMU_GET_INFO, &arg);
}

TEST_F_TIMEOUT(failures, info, 120)
{
	EACH(get_info(&self->w), copies, {
		EXPECT_EQ(0, get_info(&self->w));
	});
	EACH(get_type1_info(&self->w), memory_alone, {
		EXPECT_EQ(0, get_type1_info(&self->w));
	});
}

static int do_pin(struct kiommu_world *w)
{
	struct kvm_iommu_pin_memory arg = { .size = sizeof(arg) };
	int ret;

	arg.gpa = w->t->area->gpa;
	arg.length = w->t->area->size;
	ret = kiommu_ioctl(w->fd, KVM_IOMMU_PIN_MEMORY, &arg);
	w->status = arg.status;
	return ret;
}

static int do_unpin(struct kiommu_world *w)
{
	struct kvm_iommu_unpin_memory arg = { .size = sizeof(arg) };
	int ret;

	arg.gpa = w->t->area->gpa;
	arg.length = w->t->area->size;
	ret = kiommu_ioctl(w->fd, KVM_IOMMU_UNPIN_MEMORY, &arg);
	w->status = arg.status;
	return ret;
}

TEST_F_TIMEOUT(failures, pin_memory, 240)
{
	EXPECT_CONVERGES();
	EACH(do_pin(&self->w), memory, {
		if (!EACH_RET)
			EXPECT_EQ(self->w.t->area->size / PAGE,
				  kiommu_pinned_pages(self->fd));
		EXPECT_EQ(0, do_unpin(&self->w));
		EXPECT_CONVERGES();
	});
	EACH(do_unpin(&self->w), answers, {
		EXPECT_EQ(0, do_pin(&self->w));
	});
}

TEST_F_TIMEOUT(failures, idle_limit, 120)
{
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, 10000));
	EXPECT_CONVERGES();
	UNMAP_ALL();
	EXPECT_LT(0, kiommu_idle_pages(self->fd));
	EACH(kiommu_set_idle_limit(self->fd, 0), copies, {
		if (!EACH_RET)
			EXPECT_EQ(0, kiommu_idle_pages(self->fd));
	});
}

static int open_faults(struct kiommu_world *w)
{
	return w->f.faults = kiommu_open_faults(w->fd, 0);
}

static int read_faults(struct kiommu_world *w)
{
	struct kvm_iommu_fault fault;

	return kiommu_read_faults(w->f.faults, &fault, sizeof(fault));
}

/* A read that fails loses no record. */
TEST_F_TIMEOUT(failures, fault_fd, 120)
{
	struct kiommu_world *w = &self->w;

	if (!w->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	close(w->f.faults);
	w->f.faults = -1;
	EACH(open_faults(w), memory_alone, {
		if (EACH_RET >= 0)
			close(w->f.faults);
		w->f.faults = -1;
	});
	ASSERT_LE(0, open_faults(w));
	kiommu_inject(IOVA, 'w', 1, 0, "thread");
	EACH(read_faults(w), copies, {
		EXPECT_EQ(EACH_RET < 0 ? POLLIN : 0,
			  kiommu_poll_now(w->f.faults));
	});
}

static int dirty_log(struct kiommu_world *w, struct kvm_iommu_dirty_log *arg)
{
	int ret;

	arg->size = sizeof(*arg);
	ret = kiommu_ioctl(w->fd, KVM_IOMMU_DIRTY_LOG, arg);
	w->status = arg->status;
	return ret;
}

static int change_log(struct kiommu_world *w, uint32_t op)
{
	struct kvm_iommu_dirty_log arg = { .op = op };

	return dirty_log(w, &arg);
}

/* Reads the log of the leaf. Return: the number of dirty pages. */
static int read_log(struct kiommu_world *w)
{
	uint64_t bitmap[512 / 64];
	struct kvm_iommu_dirty_log arg = {
		.op = KVM_IOMMU_DIRTY_READ,
		.gpa = w->gpa,
		.length = KIOMMU_2M,
		.bitmap = (uintptr_t)bitmap,
	};

	return dirty_log(w, &arg) ?: (int)arg.dirty;
}

TEST_F_TIMEOUT(failures, dirty_log_start_and_stop, 240)
{
	struct kiommu_world *w = &self->w;

	EXPECT_CONVERGES();
	EACH(change_log(w, KVM_IOMMU_DIRTY_START), memory, {
		int ret = change_log(w, KVM_IOMMU_DIRTY_STOP);

		if (EACH_RET != -EFAULT)
			EXPECT_EQ(EACH_RET ? -ENOENT : 0, ret);
		ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
		EXPECT_EQ(512, read_log(w));
		ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_STOP));
	});
	ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
	EACH(change_log(w, KVM_IOMMU_DIRTY_STOP), answers, {
		if (EACH_RET)
			change_log(w, KVM_IOMMU_DIRTY_STOP);
		EXPECT_EQ(-ENOENT, change_log(w, KVM_IOMMU_DIRTY_STOP));
		ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
	});
}

/* The pages are not mapped any more, so a READ takes them out of the log. */
TEST_F_TIMEOUT(failures, dirty_log_read, 240)
{
	struct kiommu_world *w = &self->w;

	ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
	EXPECT_CONVERGES();
	UNMAP_ALL();
	EACH(read_log(w), memory, {
		/* Nothing is forgotten that was not reported. */
		if (EACH_RET == -ENOMEM)
			EXPECT_EQ(512, read_log(w));
		EXPECT_CONVERGES();
		UNMAP_ALL();
	});
	/* A refresh while a log is kept, of a slot that has none yet. */
	ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_STOP));
	ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
	EACH(do_refresh(w), refresh_answers, {
		EXPECT_CONVERGES();
		EXPECT_EQ(512, read_log(w));
		UNMAP_ALL();
		ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_STOP));
		ASSERT_EQ(0, change_log(w, KVM_IOMMU_DIRTY_START));
	});
}

TEST_HARNESS_MAIN
