// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains that are HWPTs of an iommufd: what their devices reach, what an IOAS that
 * changes takes from them, what is refused. On a kernel whose iommufd takes providers
 * (tools/setup/build-modules hwpt).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <linux/iommufd.h>

#include "kvm_util.h"

#include "counters.h"
#include "dma.h"
#include "faults.h"
#include "hwpt.h"
#include "hwpt_fixture.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_HWPT_IOVA
#define PAGES KIOMMU_HWPT_PAGES
#define DATA_GPA (KIOMMU_HWPT_GPA + KIOMMU_HWPT_DATA * KIOMMU_HWPT_AREA)
#define READ_ONLY_GPA (KIOMMU_HWPT_GPA + KIOMMU_HWPT_READ_ONLY * KIOMMU_HWPT_AREA)
#define RW (IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

TEST_F_TIMEOUT(hwpt, maps_what_is_refreshed, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t);

	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 1));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
	for (unsigned int i = 1; i < PAGES; i++)
		EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, i, 1 + i));
	ioat_unmap(h->t, IOVA + 3 * PAGE, 0);
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 20));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA + 3 * PAGE, PAGE, NULL));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 21));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 4, 22));
	EXPECT_EQ(0, kiommu_hwpt_detach(h, 0));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 4, 23));
	/* What is mapped stays, whatever is attached. */
	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 4, 24));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 25));
}

#define MANY 4096u

TEST_F_TIMEOUT(hwpt, entries, 240)
{
	struct kvm_iommu_hwpt_invalidate *entries = calloc(MANY + 1, sizeof(*entries));
	struct kiommu_hwpt *h = &self->h;
	const uint64_t many = IOVA + KIOMMU_1G;
	uint32_t id = kiommu_hwpt_alloc(h, h->t), count;

	/* Each is done by itself, and maps nothing beside it. */
	for (unsigned int i = 0; i < MANY; i++) {
		ioat_map(h->t, many + i * PAGE, DATA_GPA + i % 256 * PAGE, 0, IOAT_RW);
		entries[i].iova = many + i * PAGE;
		entries[i].length = PAGE;
	}
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	count = 0;
	EXPECT_EQ(0, kiommu_hwpt_invalidate(h, id, NULL, 0, &count));
	EXPECT_EQ(0, count);
	count = 1;
	EXPECT_EQ(0, kiommu_hwpt_invalidate(h, id, entries, sizeof(*entries), &count));
	EXPECT_EQ(1, count);
	EXPECT_EQ(many + PAGE, entries[0].stopped_iova);
	count = MANY;
	EXPECT_EQ(0, kiommu_hwpt_invalidate(h, id, entries, sizeof(*entries), &count));
	EXPECT_EQ(MANY, count);
	EXPECT_EQ(many + MANY * PAGE, entries[MANY - 1].stopped_iova);
	for (unsigned int i = 1; i < MANY; i += 1023) {
		kiommu_fill(h->data + i % 256 * PAGE, 128, i);
		EXPECT_EQ(0, kiommu_dma_load(h->devices.dev[0].bar, many + i * PAGE, 0, 128));
		EXPECT_EQ(0, kiommu_dma_store(h->devices.dev[0].bar, many, 0, 128));
		EXPECT_EQ(128, kiommu_count_equal(h->data, 128, i));
	}
	free(entries);
}

TEST_F_TIMEOUT(hwpt, stops_at_what_is_wrong, 120)
{
	struct kvm_iommu_hwpt_invalidate entries[8] = {};
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t), count = 8, status;

	for (unsigned int i = 0; i < 8; i++) {
		entries[i].iova = IOVA + i * PAGE;
		entries[i].length = PAGE;
	}
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	entries[5].length = 17;
	EXPECT_EQ(-EINVAL, kiommu_hwpt_invalidate(h, id, entries, sizeof(entries[0]), &count));
	EXPECT_EQ(5, count);
	EXPECT_EQ(0, (int)entries[4].status);
	EXPECT_EQ(KVM_IOMMU_STATUS_MISALIGNED, (int)entries[5].status);
	EXPECT_EQ(0, entries[6].stopped_iova);
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 4, 1));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 5, 2));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 6, 3));

	/* A page that the guest may not have: what is before it is mapped. */
	ioat_map(h->t, IOVA + 9 * PAGE, 0x1000, 0, IOAT_RW);
	entries[0] = (struct kvm_iommu_hwpt_invalidate){ IOVA, PAGES * PAGE, 0, 0, 0 };
	count = 1;
	EXPECT_EQ(-EIO, kiommu_hwpt_invalidate(h, id, entries, sizeof(entries[0]), &count));
	EXPECT_EQ(0, count);
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, (int)entries[0].status);
	EXPECT_EQ(IOVA + 9 * PAGE, entries[0].stopped_iova);
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 8, 4));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 10, 5));

	EXPECT_EQ(-EINVAL, kiommu_hwpt_refresh(h, id, IOVA, 0, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_MISALIGNED, (int)status);
	EXPECT_EQ(-EINVAL, kiommu_hwpt_refresh(h, id, IOVA + 1, PAGE, NULL));
	EXPECT_EQ(-EOVERFLOW, kiommu_hwpt_refresh(h, id, IOVA, -PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_OVERFLOW, (int)status);
	EXPECT_EQ(-EINVAL, kiommu_hwpt_refresh(h, id, 1ull << 50, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_RANGE, (int)status);
	/* The host has other plans for it. */
	ioat_map(h->t, 0xfee00000, DATA_GPA, 0, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, 0xfee00000, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, (int)status);
}

TEST_F_TIMEOUT(hwpt, bad_entries, 120)
{
	struct kvm_iommu_hwpt_invalidate entry = { .iova = IOVA, .length = PAGE };
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t), count = 1;
	uint64_t longer[6] = { IOVA, PAGE };

	/* Without answers. */
	longer[2] = 7;
	EXPECT_EQ(0, kiommu_hwpt_invalidate(h, id, longer, 16, &count));
	EXPECT_EQ(1, count);
	EXPECT_EQ(7, longer[2]);
	longer[2] = 0;
	EXPECT_EQ(0, kiommu_hwpt_invalidate(h, id, longer, sizeof(longer), &count));
	EXPECT_EQ(1, count);
	longer[5] = 1;
	EXPECT_EQ(-E2BIG, kiommu_hwpt_invalidate(h, id, longer, sizeof(longer), &count));
	EXPECT_EQ(0, count);
	count = 1;
	EXPECT_EQ(-EINVAL, kiommu_hwpt_invalidate(h, id, &entry, 15, &count));
	EXPECT_EQ(0, count);
	count = 1;
	EXPECT_EQ(-EFAULT, kiommu_hwpt_invalidate(h, id, (void *)8, sizeof(entry), &count));
	EXPECT_EQ(0, count);
	count = 1;
	entry.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_hwpt_invalidate(h, id, &entry, sizeof(entry), &count));
	EXPECT_EQ(KVM_IOMMU_STATUS_FIELD, (int)entry.status);
	EXPECT_EQ(0, count);
	/* The parent is none of ours. */
	EXPECT_EQ(-ENOENT, kiommu_hwpt_refresh(h, h->parent, IOVA, PAGE, NULL));
}

#define EXPECT_REFUSED(_error, _status, _field, _value) do {		\
	struct kvm_iommu_hwpt _data = kiommu_hwpt_data(h->t);		\
									\
	_data._field = _value;						\
	EXPECT_EQ(_error, kiommu_hwpt_alloc_with(h, 0, h->parent, &_data, \
						 sizeof(_data), &id));	\
	EXPECT_EQ(KVM_IOMMU_STATUS_##_status, (int)_data.status);	\
} while (0)

TEST_F_TIMEOUT(hwpt, bad_data, 120)
{
	struct { struct kvm_iommu_hwpt data; uint64_t more[512]; } big;
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt *stuck;
	uint32_t id = 0;

	EXPECT_REFUSED(-EOPNOTSUPP, FLAGS, flags, 2);
	EXPECT_REFUSED(-EOPNOTSUPP, FIELD, __reserved, 1);
	EXPECT_REFUSED(-EINVAL, OTHER, kvm_fd, h->iommufd);
	EXPECT_REFUSED(-EOPNOTSUPP, FORMAT, format, 99);
	EXPECT_REFUSED(-EOPNOTSUPP, FIELD, offset, PAGE);
	EXPECT_REFUSED(-EINVAL, DESIGNATION, levels, 7);
	EXPECT_REFUSED(-EINVAL, RIGHTS, rights, 0);
	EXPECT_REFUSED(-EINVAL, TABLE, iota, 0x1000);
	EXPECT_REFUSED(-EINVAL, TABLE, iota, READ_ONLY_GPA);

	memset(&big, 0, sizeof(big));
	big.data = kiommu_hwpt_data(h->t);
	EXPECT_EQ(-EINVAL, kiommu_hwpt_alloc_with(h, 0, h->parent, &big, 8, &id));
	EXPECT_EQ(-EINVAL, kiommu_hwpt_alloc_with(h, 0, h->parent, &big,
						  sizeof(big.data) - 4, &id));
	EXPECT_EQ(-EINVAL, kiommu_hwpt_alloc_with(h, 0, h->parent, NULL, 0, &id));
	EXPECT_EQ(-EFAULT, kiommu_hwpt_alloc_with(h, 0, h->parent, (void *)8,
						  sizeof(big.data), &id));
	EXPECT_EQ(-E2BIG, kiommu_hwpt_alloc_with(h, 0, h->parent, &big, 4097, &id));
	big.more[9] = 1;
	EXPECT_EQ(-E2BIG, kiommu_hwpt_alloc_with(h, 0, h->parent, &big, 4096, &id));
	big.more[9] = 0;
	EXPECT_EQ(0, kiommu_hwpt_alloc_with(h, 0, h->parent, &big, 4096, &id));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));

	/* Nor do we need what iommufd offers its own: a nest parent, faults. */
	EXPECT_EQ(-EOPNOTSUPP, kiommu_hwpt_alloc_with(h, IOMMU_HWPT_ALLOC_NEST_PARENT,
						      h->parent, &big, sizeof(big.data),
						      &id));
	EXPECT_NE(0, kiommu_hwpt_alloc_with(h, 0, h->ioas, &big, sizeof(big.data), &id));
	EXPECT_EQ(0, kiommu_module_refs());

	/* Nobody would have the answer. */
	stuck = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*stuck = big.data;
	stuck->flags = KVM_IOMMU_HWPT_FAULT_FD;
	mprotect(stuck, PAGE, PROT_READ);
	EXPECT_EQ(-EFAULT, kiommu_hwpt_alloc_with(h, 0, h->parent, stuck, sizeof(*stuck),
						  &id));
	EXPECT_EQ(0, kiommu_await_refs(0));
	munmap(stuck, PAGE);
}

/* References to the module of an HWPT: its own and that of its guest. */
#define REFS 2

TEST_F_TIMEOUT(hwpt, lifetime, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t ids[3];

	EXPECT_EQ(0, kiommu_module_refs());
	for (unsigned int i = 0; i < 3; i++) {
		ids[i] = kiommu_hwpt_alloc(h, h->t);
		EXPECT_EQ((i + 1) * REFS, kiommu_module_refs());
	}
	EXPECT_EQ(-EWOULDBLOCK, kiommu_module_unload());
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, ids[0], IOVA, PAGES * PAGE, NULL));
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, ids[0]));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(h, ids[0]));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(h, h->parent));
	EXPECT_EQ(-EBUSY, kiommu_iommufd_destroy(h, h->ioas));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, ids[1]));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 2));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, ids[0]));
	EXPECT_EQ(-ENOENT, kiommu_hwpt_refresh(h, ids[0], IOVA, PAGE, NULL));
	EXPECT_EQ(2 * REFS, kiommu_module_refs());
	/* From ours to iommufd's own and back. */
	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, h->parent));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, ids[1]));
	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, ids[2]));
	EXPECT_EQ(0, kiommu_hwpt_detach(h, 0));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, ids[2]));
	EXPECT_EQ(0, kiommu_module_refs());
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, h->parent));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, h->ioas));
	EXPECT_EQ(self->pins, kiommu_pins());
	/* Only the file is left, and nobody holds it: the module can go. */
	EXPECT_EQ(0, kiommu_module_unload());
	kiommu_module_load();
}

/* What an IOAS takes away, devices and pins lose before the call returns. */
TEST_F_TIMEOUT(hwpt, ioas_unmaps, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint64_t pins = kiommu_pins();
	uint32_t id = kiommu_hwpt_attached(h), status;

	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
	EXPECT_LT(pins, kiommu_pins() + 1);
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
	EXPECT_EQ(pins - KIOMMU_HWPT_AREA / PAGE, kiommu_pins());
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 2));
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, IOVA, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, (int)status);

	/* The same place, other memory: nothing of it before it is refreshed. */
	ASSERT_EQ(h->data, mmap(h->data, KIOMMU_HWPT_AREA, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_DATA, RW));
	EXPECT_EQ(pins, kiommu_pins());
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 3));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 4));

	/* The tables go, too. */
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_TABLES));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 5));
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, IOVA, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, (int)status);
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 6));
	ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_TABLES, RW));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 7));
}

/*
 * A leaf of 2M, in memory that is contiguous in the host: pinned and mapped as a whole,
 * and the same when parts of it are mapped otherwise.
 */
TEST_F_TIMEOUT(hwpt, large_page, 120)
{
	struct kiommu_hwpt *h = &self->h;
	const uint64_t large = IOVA + KIOMMU_1G;
	uint32_t id = kiommu_hwpt_alloc(h, h->t);
	void *dma = h->devices.dev[0].bar;

	ioat_map(h->t, large, DATA_GPA, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	for (unsigned int i = 0; i < 3; i++) {
		ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, large, KIOMMU_2M, NULL));
		ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
		kiommu_fill(h->data + KIOMMU_2M - PAGE, 128, i);
		EXPECT_EQ(0, kiommu_dma_load(dma, large + KIOMMU_2M - PAGE, 0, 128));
		EXPECT_EQ(0, kiommu_dma_store(dma, large + 7 * PAGE, 0, 128));
		EXPECT_EQ(128, kiommu_count_equal(h->data + 7 * PAGE, 128, i));
		EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 10 + i));
		ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
		EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 20 + i));
		kiommu_fill(h->data + 7 * PAGE, 128, 100);
		EXPECT_EQ(0, kiommu_dma_store(dma, large + 7 * PAGE, 0, 128));
		EXPECT_EQ(128, kiommu_count_equal(h->data + 7 * PAGE, 128, 100));
		ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_DATA, RW));
	}
}

/* Memory that was never mapped for devices goes without a word, and comes back as other. */
TEST_F_TIMEOUT(hwpt, ioas_changes_unseen, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t), status;

	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	/* Looked at, but not pinned. */
	ioat_map(h->t, IOVA, READ_ONLY_GPA, 0, KVM_IOMMU_WRITE);
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, IOVA, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_READ_ONLY, (int)status);
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_READ_ONLY));
	ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_READ_ONLY, RW));
	EXPECT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGE, NULL));
}

TEST_F_TIMEOUT(hwpt, rights_of_the_ioas, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_attached(h), status;
	void *dma = h->devices.dev[0].bar;

	/* What it maps for reading only is not written, whatever the tables say. */
	ioat_map(h->t, IOVA + 20 * PAGE, READ_ONLY_GPA, 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA + 20 * PAGE, PAGE, NULL));
	kiommu_fill(h->read_only, 128, 1);
	EXPECT_EQ(0, kiommu_dma_load(dma, IOVA + 20 * PAGE, 0, 128));
	EXPECT_EQ(0, kiommu_dma_store(dma, IOVA + 3 * PAGE, 0, 128));
	EXPECT_EQ(128, kiommu_count_equal(h->data + 3 * PAGE, 128, 1));
	kiommu_fill(h->read_only, 128, 2);
	EXPECT_EQ(0, kiommu_dma_store(dma, IOVA + 20 * PAGE, 0, 128));
	EXPECT_EQ(128, kiommu_count_equal(h->read_only, 128, 2));
	/* What it does not map for reading, devices would read all the same. */
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_READ_ONLY));
	ASSERT_EQ(0, kiommu_ioas_map(h, KIOMMU_HWPT_READ_ONLY, IOMMU_IOAS_MAP_WRITEABLE));
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, id, IOVA + 20 * PAGE, PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, (int)status);
	EXPECT_EQ(0, kiommu_dma_store(dma, IOVA + 20 * PAGE, 0, 128));
	EXPECT_EQ(128, kiommu_count_equal(h->read_only, 128, 2));
}

/* Two devices, two HWPTs of one IOAS, in each combination. */
TEST_F_TIMEOUT(hwpt, two_devices, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t ids[2];

	if (h->devices.count < 2)
		SKIP(return, "needs two devices");
	kiommu_hwpt_open_device(h, 1);
	ids[0] = kiommu_hwpt_attached(h);
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 1, ids[0]));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 1, 3, 2));
	ids[1] = kiommu_hwpt_alloc(h, h->t);
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 1, ids[1]));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 3));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 1, 3, 4));
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, ids[1], IOVA, PAGES * PAGE, NULL));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 1, 3, 5));
	ASSERT_EQ(0, kiommu_ioas_unmap(h, KIOMMU_HWPT_DATA));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 3, 6));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 1, 3, 7));
}

/*
 * What a device reserves is asked for at each attachment, also of a group that was
 * attached before, and may not be mapped.
 */
TEST_F_TIMEOUT(hwpt, reserved_windows, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t other = kiommu_hwpt_alloc(h, h->t), id, status;

	if (!kiommu_load_inject(&h->devices.dev[0]))
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, other));
	ASSERT_EQ(0, kiommu_hwpt_detach(h, 0));
	id = kiommu_hwpt_attached(h);
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
	/* Mapped by one, not by the other. */
	kiommu_reserve(IOVA + 3 * PAGE, PAGE);
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, other));
	EXPECT_EQ(-EINVAL, kiommu_hwpt_attach(h, 0, id));
	EXPECT_FALSE(kiommu_hwpt_reaches(h, 0, 4, 2));
	ASSERT_EQ(0, kiommu_hwpt_detach(h, 0));
	EXPECT_EQ(-EINVAL, kiommu_hwpt_attach(h, 0, id));
	/* It is not mapped any more, also when it is reserved no longer. */
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, other, IOVA, PAGES * PAGE, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_RESERVED_IOVA, (int)status);
	kiommu_reserve(0, 0);
	EXPECT_EQ(-EIO, kiommu_hwpt_refresh(h, other, IOVA, PAGES * PAGE, &status));
	/* The one that was refused is as it was. */
	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 3));
	ASSERT_EQ(0, kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL));
	kiommu_unload_inject();
}

/*
 * A device whose IOMMU enforces coherency, and an HWPT that does not: KVM would be told
 * that it does.
 */
TEST_F_TIMEOUT(hwpt, another_coherency, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t);

	if (strcmp(getenv("KIOMMU_HOST") ?: "", "intel-iommu"))
		SKIP(return, "the host's IOMMU must be one that does not");
	if (!kiommu_load_claims("coherent=1"))
		SKIP(return, KIOMMU_NO_CLAIMS);
	EXPECT_EQ(-EINVAL, kiommu_hwpt_attach(h, 0, id));
	kiommu_unload_claims();
	EXPECT_EQ(0, kiommu_hwpt_attach(h, 0, id));
}

/* Whoever has the iommufd may call: what is read is the IOAS, not the caller. */
TEST_F_TIMEOUT(hwpt, another_process, 120)
{
	struct kiommu_hwpt *h = &self->h;
	uint32_t id = kiommu_hwpt_alloc(h, h->t);
	int status = -1;
	pid_t child;

	ASSERT_EQ(0, kiommu_hwpt_attach(h, 0, id));
	child = fork();
	if (!child) {
		munmap(h->memory, KIOMMU_HWPT_AREAS * KIOMMU_HWPT_AREA - PAGE);
		_exit(kiommu_hwpt_refresh(h, id, IOVA, PAGES * PAGE, NULL) ? 1 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(kiommu_hwpt_reaches(h, 0, 3, 1));
}

TEST_F_TIMEOUT(hwpt, faults, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(h->t);
	struct pollfd faults = { .events = POLLIN };
	uint32_t id;

	data.flags = KVM_IOMMU_HWPT_FAULT_FD;
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id));
	EXPECT_EQ(0, (int)data.status);
	ASSERT_LE(0, data.fault_fd);
	faults.fd = data.fault_fd;
	EXPECT_EQ(0, poll(&faults, 1, 0));
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));
	EXPECT_EQ(1, poll(&faults, 1, 0));
	EXPECT_TRUE(faults.revents & POLLHUP);
	close(data.fault_fd);
}

/*
 * iommufd's answer is the last one, and cannot be stored: there is no HWPT, and the
 * file that its number was stored for is not open either.
 */
TEST_F_TIMEOUT(hwpt, no_faults_without_an_hwpt, 120)
{
	struct kiommu_hwpt *h = &self->h;
	struct kvm_iommu_hwpt data = kiommu_hwpt_data(h->t);
	struct iommu_hwpt_alloc *cmd;
	uint32_t id;

	cmd = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, cmd);
	*cmd = (struct iommu_hwpt_alloc){
		.size = sizeof(*cmd),
		.dev_id = h->dev_id[0],
		.pt_id = h->parent,
		.data_type = IOMMU_HWPT_DATA_KVM_IOMMU,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};
	mprotect(cmd, PAGE, PROT_READ);
	data.flags = KVM_IOMMU_HWPT_FAULT_FD;
	EXPECT_EQ(-1, ioctl(h->iommufd, IOMMU_HWPT_ALLOC, cmd));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_LE(0, data.fault_fd);
	EXPECT_EQ(-1, fcntl(data.fault_fd, F_GETFD));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(0, kiommu_await_refs(0));
	munmap(cmd, PAGE);
	/* Nor is the number lost. */
	ASSERT_EQ(0, kiommu_hwpt_alloc_with(h, 0, h->parent, &data, sizeof(data), &id));
	EXPECT_EQ(0, fcntl(data.fault_fd, F_GETFD) & ~FD_CLOEXEC);
	close(data.fault_fd);
	EXPECT_EQ(0, kiommu_iommufd_destroy(h, id));
}

TEST_HARNESS_MAIN
