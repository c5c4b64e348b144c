// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IOMMU_TRANSLATE_RANGE: many IOVAs at once, as KVM_IOMMU_TRANSLATE answers
 * for each; how far a call gets, and with which buffers.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define PAGES 512ull
#define RECORDS 600

FIXTURE(range) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	struct kvm_iommu_translation *records; /* RECORDS, before a hole */
	struct kvm_iommu_translate_range cmd;
};

FIXTURE_VARIANT(range) {
	uint32_t format;
};

FIXTURE_VARIANT_ADD(range, zpci) { .format = KVM_IOMMU_FORMAT_ZPCI };
FIXTURE_VARIANT_ADD(range, vtd) { .format = KVM_IOMMU_FORMAT_VTD_SS };

#define BUFFER_SIZE ((RECORDS * sizeof(struct kvm_iommu_translation) + PAGE - 1) \
		     / PAGE * PAGE)

FIXTURE_SETUP(range)
{
	struct kiommu_area *area;
	char *buffer;

	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	area = self->k.vm.area;
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, KIOMMU_2M));
	self->t = ioat_new(area, variant->format, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	buffer = mmap(NULL, BUFFER_SIZE + PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)buffer);
	ASSERT_EQ(0, munmap(buffer + BUFFER_SIZE, PAGE));
	self->records = (void *)(buffer + BUFFER_SIZE -
				 RECORDS * sizeof(*self->records));
}

FIXTURE_TEARDOWN(range)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

static int tell(FIXTURE_DATA(range) *self, uint64_t iova, uint64_t length,
		uint32_t capacity)
{
	memset(self->records, 0x5a, RECORDS * sizeof(*self->records));
	self->cmd = (struct kvm_iommu_translate_range){
		.iova = iova,
		.length = length,
		.records = (uintptr_t)self->records,
		.capacity = capacity,
	};
	return kiommu_translate_range(self->fd, &self->cmd);
}

#define EXPECT_RECORD(_i, _page, _gpa, _pages, _rights, _shadow, _status) do { \
	const struct kvm_iommu_translation *r = &self->records[_i];	\
	EXPECT_EQ(IOVA + (_page) * PAGE, r->iova);			\
	EXPECT_EQ(_gpa, r->gpa);					\
	EXPECT_EQ((_pages) * PAGE, r->length);				\
	EXPECT_EQ(_rights, r->rights);					\
	EXPECT_EQ(_shadow, r->shadow_rights);				\
	EXPECT_EQ(_status, r->status);					\
	EXPECT_EQ((_status) ? 0 : PAGE, r->page_size);			\
	EXPECT_EQ(0, r->__reserved);					\
} while (0)

TEST_F_TIMEOUT(range, what_the_guest_maps_and_the_device_can_do, 120)
{
	const uint32_t wrong = variant->format == KVM_IOMMU_FORMAT_ZPCI ?
			       KVM_IOMMU_STATUS_ENTRY_TYPE :
			       KVM_IOMMU_STATUS_ENTRY_RESERVED;
	struct kiommu *k = &self->k;
	uint64_t *bad;

	kiommu_guest_call(&k->vm, ioat_map_pages, self->t, IOVA, self->gpa, 20,
			  IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 20 * PAGE, NULL));
	/* The tables change, but are not refreshed. */
	kiommu_guest_call(&k->vm, ioat_unmap_pages, self->t, IOVA, 2);
	kiommu_guest_call(&k->vm, ioat_map_pages, self->t, IOVA + 4 * PAGE,
			  self->gpa + 100 * PAGE, 6, KVM_IOMMU_READ);
	kiommu_guest_call(&k->vm, ioat_map_pages, self->t, IOVA + 30 * PAGE,
			  KIOMMU_FREE_GPA, 1, IOAT_RW);
	bad = ioat_entry(self->t, IOVA + 512 * PAGE, 1, true);
	ioat_write(self->t, bad, variant->format == KVM_IOMMU_FORMAT_ZPCI ?
		   ioat_table_value(self->t, 2, self->gpa) :
		   self->gpa | VTD_READ | 1ull << 11);
	ASSERT_EQ(0, tell(self, IOVA - 0x1000000, 0x2000000, RECORDS));
	EXPECT_EQ(KVM_IOMMU_STATUS_OK, self->cmd.status);
	EXPECT_EQ(IOVA + 0x1000000, self->cmd.next_iova);
	ASSERT_EQ(6, self->cmd.count);
	EXPECT_RECORD(0, 0, 0, 2, 0, IOAT_RW, KVM_IOMMU_STATUS_NOT_MAPPED);
	EXPECT_RECORD(1, 2, self->gpa + 2 * PAGE, 2, IOAT_RW, IOAT_RW, 0);
	EXPECT_RECORD(2, 4, self->gpa + 100 * PAGE, 6, KVM_IOMMU_READ, IOAT_RW, 0);
	EXPECT_RECORD(3, 10, self->gpa + 10 * PAGE, 10, IOAT_RW, IOAT_RW, 0);
	EXPECT_RECORD(4, 30, 0, 1, 0, 0, KVM_IOMMU_STATUS_NO_SLOT);
	EXPECT_RECORD(5, 512, 0, ioat_span(self->t, 1) / PAGE, 0, 0, wrong);
	/* The call changed nothing: the device still writes where it could. */
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA));
	EXPECT_EQ(20, kiommu_mapped_pages(self->fd));
}

/* Each page is a record, and the records fill more than a page. */
TEST_F_TIMEOUT(range, as_translate_tells_it, 120)
{
	uint64_t at = IOVA;
	uint32_t told = 0;

	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t gpa = self->gpa + i * 37 % PAGES * PAGE;

		if (i % 5)
			ioat_map(self->t, IOVA + i * PAGE, gpa, 0,
				 i % 3 ? IOAT_RW : KVM_IOMMU_READ);
	}
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA + 50 * PAGE, 300 * PAGE, NULL));
	while (at < IOVA + PAGES * PAGE) {
		/* Sizes around those of the kernel's buffer. */
		ASSERT_EQ(0, tell(self, at, IOVA + PAGES * PAGE - at,
				  told < 100 ? 1 + told % 3 : 200));
		ASSERT_LT(0, self->cmd.count);
		for (uint32_t i = 0; i < self->cmd.count; i++, told++) {
			struct kvm_iommu_translation *r = &self->records[i];
			struct kvm_iommu_translate one;

			for (; at < r->iova; at += PAGE) {
				ASSERT_EQ(0, kiommu_translate(self->fd, at, &one));
				ASSERT_EQ(KVM_IOMMU_STATUS_NOT_MAPPED, one.status);
				ASSERT_EQ(0, one.shadow_rights);
			}
			ASSERT_EQ(0, kiommu_translate(self->fd, at, &one));
			ASSERT_EQ(PAGE, r->length);
			ASSERT_EQ(one.gpa, r->gpa);
			ASSERT_EQ(one.rights, r->rights);
			ASSERT_EQ(one.shadow_rights, r->shadow_rights);
			ASSERT_EQ(one.status, r->status);
			at += PAGE;
		}
		ASSERT_EQ(0x5a, *(uint8_t *)&self->records[self->cmd.count]);
		ASSERT_LE(at, self->cmd.next_iova);
		if (self->cmd.status)
			ASSERT_EQ(KVM_IOMMU_STATUS_BUDGET, self->cmd.status);
		at = self->cmd.next_iova;
	}
	EXPECT_EQ(IOVA + PAGES * PAGE, at);
	EXPECT_EQ(PAGES - (PAGES + 4) / 5, told);
}

static int tell_elsewhere(FIXTURE_DATA(range) *self)
{
	int status = -1;
	pid_t child = fork();

	if (!child)
		_exit(tell(self, IOVA, PAGE, 1) != -EPERM);
	waitpid(child, &status, 0);
	return status;
}

TEST_F_TIMEOUT(range, refused, 120)
{
	uint64_t span = ioat_span(self->t, 3);

	EXPECT_EQ(-EINVAL, tell(self, IOVA + 1, PAGE, 1));
	EXPECT_EQ(-EINVAL, tell(self, IOVA, 1, 1));
	EXPECT_EQ(-EINVAL, tell(self, IOVA, 0, 1));
	EXPECT_EQ(-EINVAL, tell(self, IOVA, PAGE, 0));
	EXPECT_EQ(-EOVERFLOW, tell(self, -PAGE, 2 * PAGE, 1));
	EXPECT_EQ(-EINVAL, tell(self, span, PAGE, 1));
	EXPECT_EQ(0, tell_elsewhere(self));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(-ENXIO, tell(self, IOVA, PAGE, 1));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	EXPECT_EQ(-ENODEV, tell(self, IOVA, PAGE, 1));
}

TEST_F_TIMEOUT(range, bad_buffers, 120)
{
	const uint64_t length = PAGES * PAGE;

	/* Nothing is written if there is nothing to report. */
	self->cmd = (struct kvm_iommu_translate_range){
		.iova = IOVA, .length = length, .capacity = 1,
	};
	EXPECT_EQ(0, kiommu_translate_range(self->fd, &self->cmd));
	EXPECT_EQ(0, self->cmd.count);
	for (uint64_t i = 0; i < PAGES; i++)
		ioat_map(self->t, IOVA + i * PAGE,
			 self->gpa + i * 37 % PAGES * PAGE, 0, IOAT_RW);
	self->cmd.records = 0;
	EXPECT_EQ(-EFAULT, kiommu_translate_range(self->fd, &self->cmd));
	self->cmd.records = -64;
	EXPECT_EQ(-EFAULT, kiommu_translate_range(self->fd, &self->cmd));
	/* Up to the last byte that there is, and over it. */
	self->records += RECORDS - 100;
	self->cmd.records = (uintptr_t)self->records;
	self->cmd.capacity = 100;
	EXPECT_EQ(0, kiommu_translate_range(self->fd, &self->cmd));
	EXPECT_EQ(100, self->cmd.count);
	EXPECT_EQ(KVM_IOMMU_STATUS_BUDGET, self->cmd.status);
	self->cmd.capacity = 101;
	EXPECT_EQ(-EFAULT, kiommu_translate_range(self->fd, &self->cmd));
	/* It reports what was copied, and the first IOVA that was not. */
	EXPECT_EQ(PAGE / sizeof(*self->records), self->cmd.count);
	EXPECT_EQ(IOVA + self->cmd.count * PAGE, self->cmd.next_iova);
	/* More room than a call needs. */
	self->cmd.capacity = ~0u;
	EXPECT_EQ(-EFAULT, kiommu_translate_range(self->fd, &self->cmd));
	self->records -= RECORDS - 100;
	self->cmd.records = (uintptr_t)self->records;
	EXPECT_EQ(0, kiommu_translate_range(self->fd, &self->cmd));
	EXPECT_EQ(PAGES, self->cmd.count);
	EXPECT_EQ(KVM_IOMMU_STATUS_OK, self->cmd.status);
	EXPECT_EQ(~0u, self->cmd.capacity);
}

TEST_HARNESS_MAIN
