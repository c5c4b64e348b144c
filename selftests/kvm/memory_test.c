// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's memory: what may be behind a slot, and what happens when slots or
 * the memory behind them change. A real device's DMA shows what is mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define SIZE KIOMMU_2M
#define PAGES (SIZE / PAGE)
#define BYTES 256ull

FIXTURE(memory) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	void *mem; /* SIZE bytes in SLOT at GPA, or NULL */
	uint64_t pins;
};

FIXTURE_SETUP(memory)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->pins = kiommu_pins();
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
}

FIXTURE_TEARDOWN(memory)
{
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	kiommu_teardown(&self->k);
}

static void *map_memory(int fd, int prot, int flags)
{
	void *mem = mmap(NULL, SIZE, prot, flags | (fd < 0 ? MAP_ANONYMOUS : 0),
			 fd, 0);

	TEST_ASSERT(mem != MAP_FAILED, "mmap: %s", strerror(errno));
	return mem;
}

static int set_slot(struct kiommu *k, uint32_t slot, uint64_t gpa, uint64_t size,
		    void *mem)
{
	return kiommu_vm_set_slot(&k->vm, slot, 0, gpa, size, mem);
}

/* The device copies BYTES from @from to @to, which are IOVAs. */
static int dma(struct kiommu *k, uint64_t to, uint64_t from)
{
	return kiommu_guest_call(&k->vm, kiommu_dma_copy, k->dma[0], to, from, BYTES);
}

/* Puts @mem behind the slot; the device must reach it through the tables. */
static void expect_usable(struct __test_metadata *_metadata,
			  FIXTURE_DATA(memory) *self, char *mem)
{
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE, mem));
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(PAGES, r.mapped);
	EXPECT_EQ(PAGES, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + SIZE - PAGE));
	kiommu_fill(mem + 3 * PAGE, BYTES, 1);
	ASSERT_EQ(0, dma(&self->k, IOVA + SIZE - PAGE, IOVA + 3 * PAGE));
	EXPECT_EQ(BYTES, kiommu_count_equal(mem + SIZE - PAGE, BYTES, 1));
}

TEST_F_TIMEOUT(memory, anonymous, 120)
{
	expect_usable(_metadata, self, map_memory(-1, PROT_READ | PROT_WRITE,
						  MAP_PRIVATE));
}

TEST_F_TIMEOUT(memory, memfd, 120)
{
	int fd = memfd_create("guest", 0);

	ASSERT_EQ(0, ftruncate(fd, SIZE));
	expect_usable(_metadata, self, map_memory(fd, PROT_READ | PROT_WRITE,
						  MAP_SHARED));
}

TEST_F_TIMEOUT(memory, hugetlb, 120)
{
	int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY);
	void *mem;

	if (fd < 0)
		SKIP(return, "the kernel has no huge pages");
	ASSERT_EQ(1, write(fd, "4", 1));
	close(fd);
	mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (mem == MAP_FAILED)
		SKIP(return, "the machine has no huge page to give");
	expect_usable(_metadata, self, mem);
}

/* A file of a file system in memory, which keeps no track of dirty pages. */
TEST_F_TIMEOUT(memory, tmpfs_file, 120)
{
	int fd = open("/dev/shm/guest", O_RDWR | O_CREAT | O_TRUNC, 0600);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, unlink("/dev/shm/guest"));
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	expect_usable(_metadata, self, map_memory(fd, PROT_READ | PROT_WRITE,
						  MAP_SHARED));
}

/* The page at IOVA is refused with @status; its lower neighbour is mapped. */
static void expect_refused(struct __test_metadata *_metadata,
			   FIXTURE_DATA(memory) *self, uint32_t status)
{
	struct kvm_iommu_refresh r;
	char *good = kiommu_alloc_page(self->k.vm.area);

	ioat_map(self->t, IOVA - PAGE, kiommu_gpa(self->k.vm.area, good), 0, IOAT_RW);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA - PAGE, 2 * PAGE, &r));
	EXPECT_EQ(status, r.status);
	EXPECT_EQ(IOVA, r.stopped_iova);
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA - PAGE));
	EXPECT_EQ(1, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + PAGE, kiommu_locked_vm());
	ioat_unmap(self->t, IOVA - PAGE, 0);
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA - PAGE, PAGE, &r));
	EXPECT_EQ(self->pins, kiommu_pins());
}

TEST_F_TIMEOUT(memory, nothing_behind_the_slot, 120)
{
	int fd = memfd_create("guest", 0);
	void *mem;

	ioat_map_pages(self->t, IOVA, GPA, 4, IOAT_RW);
	mem = map_memory(-1, PROT_NONE, MAP_PRIVATE);
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE, mem));
	expect_refused(_metadata, self, KVM_IOMMU_STATUS_UNBACKED);
	/* The memory is unmapped under the slot. */
	ASSERT_EQ(0, munmap(mem, SIZE));
	expect_refused(_metadata, self, KVM_IOMMU_STATUS_UNBACKED);
	/* The memory is beyond the end of a file. */
	mem = mmap(mem, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	expect_refused(_metadata, self, KVM_IOMMU_STATUS_UNBACKED);
	/* The file grows, so now there is memory. */
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, 4 * PAGE, NULL));
	EXPECT_EQ(4, kiommu_mapped_pages(self->fd));
}

/* Memory that the kernel does not pin for anybody. */
TEST_F_TIMEOUT(memory, pin_refused, 120)
{
	int fd = syscall(__NR_memfd_secret, 0);

	if (fd < 0)
		SKIP(return, "the kernel has no secret memory");
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE,
			      map_memory(fd, PROT_READ | PROT_WRITE, MAP_SHARED)));
	/* Secret memory is charged to locked_vm when it is mapped. */
	self->k.locked_vm = kiommu_locked_vm();
	ioat_map(self->t, IOVA, GPA, 0, IOAT_RW);
	expect_refused(_metadata, self, KVM_IOMMU_STATUS_PIN_REFUSED);
}

/*
 * Rights only shrink: a writable slot over read-only memory. Memory that the
 * host protects is not kept secret from the guest, so a device may read it.
 */
TEST_F_TIMEOUT(memory, read_only_memory, 120)
{
	char *mem = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *from = kiommu_alloc_page(self->k.vm.area);
	struct kvm_iommu_refresh r;

	kiommu_fill(mem + 2 * PAGE, PAGE, 3);
	kiommu_fill(from, BYTES, 2);
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE, mem));
	ioat_map_pages(self->t, IOVA, GPA, 8, IOAT_RW);
	ioat_map(self->t, IOVA + SIZE, kiommu_gpa(self->k.vm.area, from), 0, IOAT_RW);
	ASSERT_EQ(0, mprotect(mem + 2 * PAGE, 2 * PAGE, PROT_READ));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE + PAGE, &r));
	for (uint64_t i = 0; i < 8; i++)
		EXPECT_EQ(i == 2 || i == 3 ? KVM_IOMMU_READ : IOAT_RW,
			  kiommu_shadow_rights(self->fd, IOVA + i * PAGE));
	ASSERT_EQ(0, dma(&self->k, IOVA + 2 * PAGE, IOVA + SIZE));
	ASSERT_EQ(0, dma(&self->k, IOVA + 4 * PAGE, IOVA + SIZE));
	EXPECT_EQ(BYTES, kiommu_count_equal(mem + 4 * PAGE, BYTES, 2));
	/* The protected page is as it was. */
	EXPECT_EQ(PAGE, kiommu_count_equal(mem + 2 * PAGE, PAGE, 3));
	/* Nothing has changed: nothing is done. */
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE + PAGE, &r));
	EXPECT_EQ(0, r.mapped | r.unmapped);
}

/*
 * A bug related to v4: a memory slot was moved or deleted while its pages were
 * mapped (CVE-2013-4592).
 */
TEST_F_TIMEOUT(memory, slot_deleted_and_replaced, 120)
{
	char *old = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *new = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	struct kvm_iommu_translate a;
	struct kvm_iommu_refresh r;

	kiommu_lose_slots_at_once(self->fd);
	expect_usable(_metadata, self, old);
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, 0, NULL));
	EXPECT_EQ(self->pins, kiommu_pins());
	ASSERT_EQ(0, kiommu_translate(self->fd, IOVA, &a));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, a.status);
	EXPECT_EQ(0, a.shadow_rights);
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	EXPECT_EQ(IOVA, r.stopped_iova);
	EXPECT_EQ(0, r.unmapped);
	/* The same GPA gets other memory. */
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE, new));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(PAGES, r.mapped);
	EXPECT_EQ(PAGES, kiommu_pinned_pages(self->fd));
	kiommu_fill(new, BYTES, 5);
	kiommu_fill(old, PAGE, 6);
	ASSERT_EQ(0, dma(&self->k, IOVA + PAGE, IOVA));
	EXPECT_EQ(BYTES, kiommu_count_equal(new + PAGE, BYTES, 5));
	EXPECT_EQ(PAGE, kiommu_count_equal(old, PAGE, 6));
}

/* A slot becomes read-only, and writable again. */
TEST_F_TIMEOUT(memory, slot_flags_change, 120)
{
	char *mem = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	expect_usable(_metadata, self, mem);
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, 0, NULL));
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, KVM_MEM_READONLY, GPA,
					SIZE, mem));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(self->fd, IOVA));
	kiommu_fill(mem, PAGE, 8);
	kiommu_fill(mem + PAGE, PAGE, 9);
	ASSERT_EQ(0, dma(&self->k, IOVA, IOVA + PAGE));
	EXPECT_EQ(PAGE, kiommu_count_equal(mem, PAGE, 8));
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, 0, NULL));
	expect_usable(_metadata, self, mem);
}

/*
 * Firmware memory is read-only until the guest unlocks it. Pages that were
 * pinned only for reading are pinned for writing then.
 */
TEST_F_TIMEOUT(memory, read_only_slot_is_unlocked, 120)
{
	char *mem = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT, KVM_MEM_READONLY, GPA,
					SIZE, mem));
	ioat_map_pages(self->t, IOVA, GPA, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, NULL));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(self->fd, IOVA));
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, 0, NULL));
	expect_usable(_metadata, self, mem);
}

/*
 * A bug related to v4: a pin of several pages that crossed memory slots
 * translated only the first page.
 */
TEST_F_TIMEOUT(memory, frame_across_slots, 120)
{
	char *low = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	char *high = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	const uint64_t half = SIZE / 2;
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, half, high));
	ASSERT_EQ(0, set_slot(&self->k, SLOT + 1, GPA + half, half, low));
	ioat_map(self->t, IOVA, GPA, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(PAGES, r.mapped);
	kiommu_fill(high + half - PAGE, BYTES, 1);
	ASSERT_EQ(0, dma(&self->k, IOVA + half + PAGE, IOVA + half - PAGE));
	EXPECT_EQ(BYTES, kiommu_count_equal(low + PAGE, BYTES, 1));
	/* One slot goes: the frame is mapped up to there. */
	ASSERT_EQ(0, set_slot(&self->k, SLOT + 1, GPA + half, 0, NULL));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, SIZE, &r));
	EXPECT_EQ(IOVA + half, r.stopped_iova);
	EXPECT_EQ(KVM_IOMMU_STATUS_NO_SLOT, r.status);
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + half - PAGE));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, IOVA + half));
}

/* The same memory in two slots is pinned for each. */
TEST_F_TIMEOUT(memory, two_slots_one_memory, 120)
{
	char *mem = map_memory(-1, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, SIZE, mem));
	ASSERT_EQ(0, set_slot(&self->k, SLOT + 1, GPA + SIZE, SIZE, mem));
	ioat_map_pages(self->t, IOVA, GPA, 16, IOAT_RW);
	ioat_map_pages(self->t, IOVA + SIZE, GPA + SIZE, 16, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 2 * SIZE, NULL));
	EXPECT_EQ(32, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(32, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + 32 * PAGE, kiommu_locked_vm());
	ASSERT_EQ(0, set_slot(&self->k, SLOT, GPA, 0, NULL));
	EXPECT_EQ(-EIO, kiommu_refresh(self->fd, IOVA, PAGE, NULL));
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, IOVA + SIZE));
	EXPECT_EQ(16, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(16, kiommu_pinned_pages(self->fd));
}

/* All memory of a guest, with devices and without holes. */
TEST_F_TIMEOUT(memory, identity_maps_all_memory, 120)
{
	const uint64_t offset = KIOMMU_IOVA_BASE + (1ull << 32);
	struct kvm_iommu_translate a;
	uint64_t mapped, pinned;

	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	ASSERT_EQ(0, kiommu_refresh(self->fd, 0, 1ull << 33, NULL));
	mapped = kiommu_mapped_pages(self->fd);
	pinned = mapped;
	/* BARs, where they can be slots, are not pinned. */
	for (unsigned int i = 0; i < self->k.vfio.count; i++)
		pinned -= self->k.vfio.dev[i].bar_size / PAGE;
	EXPECT_LE(KIOMMU_AREA_SIZE / PAGE, pinned);
	EXPECT_EQ(pinned, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm + pinned * PAGE, kiommu_locked_vm());
	EXPECT_EQ(IOAT_RW, kiommu_shadow_rights(self->fd, KIOMMU_AREA_GPA));
	EXPECT_EQ(kiommu_host_has(KIOMMU_BARS) ? IOAT_RW : 0,
		  kiommu_shadow_rights(self->fd, KIOMMU_BAR_GPA(0)));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, KIOMMU_FREE_GPA));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, 0xfee00000));
	/* At an offset: IOVA = GPA + offset. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, offset));
	EXPECT_EQ(-EINVAL, kiommu_refresh(self->fd, KIOMMU_AREA_GPA, PAGE, NULL));
	ASSERT_EQ(0, kiommu_refresh(self->fd, offset, offset, NULL));
	EXPECT_EQ(mapped, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_translate(self->fd, offset + KIOMMU_AREA_GPA + 5, &a));
	EXPECT_EQ(KIOMMU_AREA_GPA + 5, a.gpa);
	EXPECT_EQ(IOAT_RW, a.shadow_rights);
}

TEST_HARNESS_MAIN
