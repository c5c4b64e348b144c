// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thing that can fail fails once: the n-th allocation or copy of a call, for
 * each n until the call has no n-th one (needs the kernel of `make test-debug`);
 * the n-th map of the host's IOMMU (kiommu_inject.ko, any kernel). After each the
 * error is a documented one, what can be reached is what is counted and pinned,
 * and the next call works.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "fail_nth.h"
#include "faults.h"
#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
/* Pages with nothing beside them, in either space; and a leaf of 2M behind. */
#define SINGLES 8ull
#define LEAF (IOVA + KIOMMU_2M)
#define RANGE (2 * KIOMMU_2M)
#define ALL (SINGLES + 512)
/* More failures than any path has: one that never ends is an error. */
#define MOST 4000u

FIXTURE(failures) {
	struct kiommu_faulty f;
	struct kiommu *k;
	int fd;
	struct ioat *t;
	uint64_t gpa;
	char *mem;
	uint64_t pins;
	uint64_t kvm_refs;
};

FIXTURE_SETUP(failures)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	kiommu_faulty_set_up(&self->f);
	self->k = &self->f.k;
	self->fd = self->f.fd;
	area = self->k->vm.area;
	self->mem = kiommu_alloc(area, 2 * KIOMMU_2M, KIOMMU_2M);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	for (uint64_t i = 0; i < SINGLES; i++)
		ioat_map(self->t, IOVA + 3 * i * PAGE,
			 self->gpa + KIOMMU_2M + 2 * i * PAGE, 0, IOAT_RW);
	ioat_map(self->t, LEAF, self->gpa, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(failures)
{
	kiommu_faulty_tear_down(&self->f);
	EXPECT_EQ(self->k->locked_vm, kiommu_locked_vm());
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* The documented errors that a lack of memory or a bad copy can lead to. */
static bool documented(int ret)
{
	return ret == -ENOMEM || ret == -EFAULT || ret == -EIO || ret == -EAGAIN;
}

/* How many pages of the range the shadow lets a device reach. */
static uint64_t reachable(struct __test_metadata *_metadata, int fd)
{
	uint64_t count = 0;

	for (uint64_t iova = IOVA; iova < IOVA + RANGE; iova += PAGE) {
		struct kvm_iommu_translate a;

		ASSERT_EQ(0, kiommu_translate(fd, iova, &a));
		count += !!a.shadow_rights;
	}
	return count;
}

/* What is reachable is what is counted, is pinned, and is charged. */
#define EXPECT_CONSISTENT() do {					\
	uint64_t _pinned = kiommu_pinned_pages(self->fd);		\
	uint64_t _mapped = kiommu_mapped_pages(self->fd);		\
									\
	EXPECT_EQ(_mapped, reachable(_metadata, self->fd));		\
	EXPECT_LE(_mapped, _pinned);					\
	EXPECT_EQ(self->k->locked_vm + _pinned * PAGE, kiommu_locked_vm()); \
} while (0)

/* Now that nothing fails: a refresh succeeds, and all is mapped. */
#define EXPECT_CONVERGES(_pages) do {					\
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, RANGE, NULL));	\
	EXPECT_EQ(_pages, kiommu_mapped_pages(self->fd));		\
	EXPECT_CONSISTENT();						\
} while (0)

static void unmap_all(struct __test_metadata *_metadata, int fd)
{
	uint64_t size = RANGE;

	ASSERT_EQ(0, kiommu_unmap_dma(fd, IOVA, &size, 0));
	ASSERT_EQ(0, kiommu_mapped_pages(fd));
}

static bool told_of_loss(int faults)
{
	struct kvm_iommu_fault fault;

	return kiommu_next_fault(faults, KVM_IOMMU_FAULT_LOST, &fault);
}

TEST_F_TIMEOUT(failures, host_refuses_maps_of_a_refresh, 240)
{
	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	for (int later = 0; later < 2; later++) {
		for (unsigned int n = 1; ; n++) {
			struct kvm_iommu_refresh r;
			int ret;

			kiommu_refuse_maps(n, later ? MOST : 1);
			ret = kiommu_refresh(self->fd, IOVA, RANGE, &r);
			if (!kiommu_allow_maps()) {
				EXPECT_EQ(0, ret);
				EXPECT_LT(1, n);
				break;
			}
			/* One that was refused once may be tried again. */
			if (ret) {
				EXPECT_EQ(-ENOMEM, ret);
				EXPECT_EQ(KVM_IOMMU_STATUS_NO_MEMORY, r.status);
			} else {
				EXPECT_EQ(ALL, kiommu_mapped_pages(self->fd));
			}
			EXPECT_CONSISTENT();
			EXPECT_CONVERGES(ALL);
			unmap_all(_metadata, self->fd);
			ASSERT_LT(n, MOST);
		}
		unmap_all(_metadata, self->fd);
	}
}

/* A page in the middle of a block goes: what is beside it is mapped again. */
TEST_F_TIMEOUT(failures, host_refuses_to_map_the_rest_of_a_block, 240)
{
	uint64_t hole = LEAF + 100 * PAGE, size;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	for (int later = 0; later < 2; later++) {
		for (unsigned int n = 1; ; n++) {
			unsigned long refused;
			int ret;

			EXPECT_CONVERGES(ALL);
			kiommu_refuse_maps(n, later ? MOST : 1);
			size = PAGE;
			ret = kiommu_unmap_dma(self->fd, hole, &size, 0);
			refused = kiommu_allow_maps();
			EXPECT_EQ(0, kiommu_shadow_rights(self->fd, hole));
			if (kiommu_mapped_pages(self->fd) < ALL - 1)
				EXPECT_TRUE(ret == -ENOMEM ||
					    told_of_loss(self->f.faults));
			EXPECT_CONSISTENT();
			unmap_all(_metadata, self->fd);
			if (!refused) {
				EXPECT_EQ(0, ret);
				EXPECT_LT(1, n);
				break;
			}
			ASSERT_LT(n, MOST);
		}
	}
}

/* The process gives a page of a block up. */
TEST_F_TIMEOUT(failures, host_refuses_maps_of_a_memory_change, 240)
{
	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	for (unsigned int n = 1; ; n++) {
		unsigned long refused;

		EXPECT_CONVERGES(ALL);
		kiommu_refuse_maps(n, MOST);
		ASSERT_EQ(0, madvise(self->mem + 7 * PAGE, PAGE, MADV_DONTNEED));
		/* Done before the next call on the container begins. */
		EXPECT_EQ(0, kiommu_shadow_rights(self->fd, LEAF + 7 * PAGE));
		refused = kiommu_allow_maps();
		if (kiommu_mapped_pages(self->fd) < ALL - 1)
			EXPECT_TRUE(told_of_loss(self->f.faults));
		EXPECT_CONSISTENT();
		unmap_all(_metadata, self->fd);
		if (!refused)
			break;
		ASSERT_LT(n, MOST);
	}
}

/*
 * @_call, with its n-th allocation or copy failing, for each n; after each that
 * succeeded, @_undo. A call that fails without cause is an error.
 */
#define EACH_FAILURE(_call, _undo) do {					\
	if (kiommu_fail_nth_lacks())					\
		SKIP(return, "%s", kiommu_fail_nth_lacks());		\
	for (unsigned int _n = 1; ; _n++) {				\
		bool _fired;						\
		int _ret;						\
									\
		kiommu_fail_nth(_n);					\
		_ret = (_call);						\
		_fired = kiommu_fail_nth_fired();			\
		if (_ret < 0 && !(_fired && documented(_ret)))		\
			TH_LOG("failure %u: %d", _n, _ret);		\
		EXPECT_TRUE(_ret >= 0 || (_fired && documented(_ret)));	\
		EXPECT_CONSISTENT();					\
		if (_ret >= 0)						\
			_undo;						\
		if (!_fired)						\
			break;						\
		ASSERT_LT(_n, MOST);					\
	}								\
} while (0)

TEST_F_TIMEOUT(failures, register_ioat, 240)
{
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EACH_FAILURE(kiommu_register_tables(self->fd, self->t), {
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, RANGE, NULL));
		ASSERT_EQ(0, kiommu_unregister(self->fd));
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		ASSERT_EQ(0, kiommu_unregister(self->fd));
	});
}

TEST_F_TIMEOUT(failures, refresh, 240)
{
	EACH_FAILURE(kiommu_refresh(self->fd, IOVA, RANGE, NULL), {
		EXPECT_CONVERGES(ALL);
		unmap_all(_metadata, self->fd);
	});
}

TEST_F_TIMEOUT(failures, fault_fd, 240)
{
	close(self->f.faults);
	self->f.faults = -1;
	EACH_FAILURE(self->f.faults = kiommu_open_faults(self->fd, 0), {
		close(self->f.faults);
		self->f.faults = -1;
	});
}

TEST_F_TIMEOUT(failures, dirty_log, 240)
{
	EACH_FAILURE(kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_START), {
		ASSERT_EQ(0, kiommu_dirty_log(self->fd, KVM_IOMMU_DIRTY_STOP));
	});
}

TEST_F_TIMEOUT(failures, memory_change, 240)
{
	EACH_FAILURE(madvise(self->mem, PAGE, MADV_DONTNEED) ? -errno : 0, {
		EXPECT_CONVERGES(ALL);
	});
}

TEST_HARNESS_MAIN
