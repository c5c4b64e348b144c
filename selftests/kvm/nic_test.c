// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device whose DMA completes at once, and a guest with several vCPUs, which
 * other tests rely on. Frames of each size go through the module's mappings,
 * driven by the test and by the guest, and are blocked where nothing is mapped.
 */
#include <pthread.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "nic.h"

#define PAGE KIOMMU_PAGE
#define NIC_IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define IOVA (KIOMMU_IOVA_BASE + 0x123400000ull) /* above 4G */
#define PAGES 8ull

FIXTURE(nic) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	struct kiommu_nic *nic;
	char *mem; /* PAGES, at IOVA */
};

FIXTURE_SETUP(nic)
{
	struct kiommu_area *area;

	if (kiommu_nic_lacks())
		SKIP(return, "%s", kiommu_nic_lacks());
	kiommu_nic_first();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->mem = kiommu_alloc(area, PAGES * PAGE, PAGE);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	self->nic = kiommu_nic_open(&self->k.vfio.dev[0], &self->k.vm, NIC_IOVA);
	kiommu_nic_map(self->nic, self->t);
	ioat_map_pages(self->t, IOVA, kiommu_gpa(area, self->mem), PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_refresh(self->fd, NIC_IOVA, KIOMMU_NIC_SIZE, NULL));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGES * PAGE, NULL));
}

FIXTURE_TEARDOWN(nic)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

FIXTURE_VARIANT(nic) {
	bool guest; /* the guest drives the device, else the test does */
};

FIXTURE_VARIANT_ADD(nic, by_test) { };
FIXTURE_VARIANT_ADD(nic, by_guest) { .guest = true };

#define DRIVE(_fn, _dst, _src, _bytes)					\
	(variant->guest ? kiommu_guest_call(&self->k.vm, _fn, self->nic, _dst,	\
					    _src, _bytes) :		\
			  _fn(self->nic, _dst, _src, _bytes))
#define COPY(_to, _from, _bytes)					\
	DRIVE(kiommu_nic_copy, IOVA + (_to), IOVA + (_from), _bytes)
#define SEND(_to, _from, _bytes)					\
	DRIVE(kiommu_nic_send, IOVA + (_to), IOVA + (_from), _bytes)

static int unmap_page(FIXTURE_DATA(nic) *self, uint64_t i)
{
	ioat_unmap(self->t, IOVA + i * PAGE, 0);
	return kiommu_refresh(self->fd, IOVA + i * PAGE, PAGE, NULL);
}

static int set_rights(FIXTURE_DATA(nic) *self, uint64_t i, uint32_t rights)
{
	uint64_t gpa = kiommu_gpa(self->k.vm.area, self->mem + i * PAGE);

	ioat_map(self->t, IOVA + i * PAGE, gpa, 0, rights);
	return kiommu_refresh(self->fd, IOVA + i * PAGE, PAGE, NULL);
}

TEST_F_TIMEOUT(nic, frames_of_each_size, 120)
{
	static const uint64_t sizes[] = {
		KIOMMU_NIC_LEAST, 61, 255, 256, 1514, 1518, 1519, 2048, 4000, 4095,
		KIOMMU_NIC_MOST,
	};

	for (uint64_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t size = sizes[i];

		kiommu_fill(self->mem, PAGE, 10 + i);
		kiommu_fill(self->mem + PAGE, PAGE, 100);
		ASSERT_EQ(1, COPY(PAGE, 0, size));
		EXPECT_EQ(size, kiommu_count_equal(self->mem + PAGE, size, 10 + i));
		/* Not a byte more. */
		kiommu_fill(self->mem + 2 * PAGE, PAGE, 100);
		EXPECT_EQ(0, memcmp(self->mem + PAGE + size,
				    self->mem + 2 * PAGE + size, PAGE - size));
	}
}

/* The first 12 bytes of a frame are the addresses of receiver and sender. */
TEST_F_TIMEOUT(nic, frames_for_anybody, 120)
{
	static const uint8_t first[] = { 0x00, 0x01, 0x33, 0x52, 0xff };

	for (uint64_t i = 0; i < ARRAY_SIZE(first); i++) {
		memset(self->mem, first[i], PAGE);
		self->mem[100] = 1 + i;
		memset(self->mem + PAGE, 0x77, PAGE);
		ASSERT_EQ(1, COPY(PAGE, 0, 256));
		EXPECT_EQ(0, memcmp(self->mem + PAGE, self->mem, 256));
	}
}

TEST_F_TIMEOUT(nic, crosses_pages, 120)
{
	kiommu_fill(self->mem, 2 * PAGE, 1);
	kiommu_fill(self->mem + 4 * PAGE, 2 * PAGE, 2);
	ASSERT_EQ(1, COPY(5 * PAGE - 1000, PAGE - 500, 4000));
	EXPECT_EQ(0, memcmp(self->mem + 5 * PAGE - 1000, self->mem + PAGE - 500,
			    4000));
}

TEST_F_TIMEOUT(nic, blocked_where_nothing_is_mapped, 120)
{
	kiommu_fill(self->mem, PAGE, 1);
	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(1, COPY(PAGE, 0, 512));
	/* The read is blocked. */
	ASSERT_EQ(0, unmap_page(self, 0));
	kiommu_fill(self->mem + PAGE, PAGE, 3);
	EXPECT_EQ(0, COPY(PAGE, 0, 512));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + PAGE, PAGE, 3));
	EXPECT_EQ(1, SEND(PAGE, 0, 512));
	for (uint64_t i = 0; i < 512; i++)
		EXPECT_EQ(0, self->mem[PAGE + i]);
	/* The write is blocked. */
	ASSERT_EQ(0, set_rights(self, 0, IOAT_RW));
	ASSERT_EQ(0, unmap_page(self, 1));
	kiommu_fill(self->mem + PAGE, PAGE, 4);
	EXPECT_EQ(0, COPY(PAGE, 0, 512));
	EXPECT_EQ(1, SEND(PAGE, 0, 512));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + PAGE, PAGE, 4));
	ASSERT_EQ(0, set_rights(self, 1, IOAT_RW));
	EXPECT_EQ(1, COPY(PAGE, 0, 512));
	EXPECT_EQ(512, kiommu_count_equal(self->mem + PAGE, 512, 1));
}

TEST_F_TIMEOUT(nic, blocked_by_rights, 120)
{
	kiommu_fill(self->mem, PAGE, 1);
	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ASSERT_EQ(0, set_rights(self, 0, KVM_IOMMU_READ));
	ASSERT_EQ(0, set_rights(self, 1, KVM_IOMMU_READ));
	EXPECT_EQ(0, COPY(PAGE, 0, 512));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + PAGE, PAGE, 2));
	ASSERT_EQ(0, set_rights(self, 1, IOAT_RW));
	EXPECT_EQ(1, COPY(PAGE, 0, 512));
	EXPECT_EQ(512, kiommu_count_equal(self->mem + PAGE, 512, 1));
}

TEST_F_TIMEOUT(nic, blocked_without_its_own_memory, 120)
{
	kiommu_fill(self->mem, PAGE, 1);
	kiommu_fill(self->mem + PAGE, PAGE, 2);
	ioat_unmap(self->t, NIC_IOVA, 0);
	ASSERT_EQ(0, kiommu_refresh(self->fd, NIC_IOVA, PAGE, NULL));
	EXPECT_EQ(0, SEND(PAGE, 0, 512));
	EXPECT_EQ(0, COPY(PAGE, 0, 512));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + PAGE, PAGE, 2));
	kiommu_nic_map(self->nic, self->t);
	ASSERT_EQ(0, kiommu_refresh(self->fd, NIC_IOVA, PAGE, NULL));
	EXPECT_EQ(1, COPY(PAGE, 0, 512));
	EXPECT_EQ(512, kiommu_count_equal(self->mem + PAGE, 512, 1));
}

/* Each vCPU announces itself, and waits for the other one. */
static uint64_t meet(uint64_t *here, uint64_t me, uint64_t rounds)
{
	for (uint64_t i = 1; i <= rounds; i++) {
		__atomic_store_n(&here[me], i, __ATOMIC_RELEASE);
		while (__atomic_load_n(&here[!me], __ATOMIC_ACQUIRE) < i)
			asm volatile("" ::: "memory");
	}
	return 100 + me;
}

struct meeting {
	pthread_t thread;
	struct kiommu_vcpu vcpu;
	uint64_t *here;
	uint64_t answer;
};

#define MEETINGS 20ull

static void *meet_by_other(void *arg)
{
	struct meeting *m = arg;

	m->answer = kiommu_vcpu_call(&m->vcpu, meet, m->here, 1, MEETINGS);
	return NULL;
}

TEST_F_TIMEOUT(nic, vcpus_run_at_once, 120)
{
	struct meeting m = { .here = kiommu_alloc(self->k.vm.area, 64, 64) };

	kiommu_vm_add_vcpu(&self->k.vm, &m.vcpu);
	EXPECT_EQ(101, kiommu_vcpu_call(&m.vcpu, meet, m.here, 1, 0));
	ASSERT_EQ(0, pthread_create(&m.thread, NULL, meet_by_other, &m));
	EXPECT_EQ(100, kiommu_guest_call(&self->k.vm, meet, m.here, 0, MEETINGS));
	ASSERT_EQ(0, pthread_join(m.thread, NULL));
	EXPECT_EQ(101, m.answer);
	EXPECT_EQ(MEETINGS, m.here[0]);
	EXPECT_EQ(MEETINGS, m.here[1]);
}

TEST_HARNESS_MAIN
