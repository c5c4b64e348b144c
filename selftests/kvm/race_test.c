// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that race: ioctls of several threads against each other, against the
 * closing of devices and groups, against a guest that rewrites its tables and
 * a VMM that changes memory slots. v4, defects 13 and 14: a flag read outside
 * of its lock, objects used after they were gone.
 *
 * The outcome of a call depends on the moment; but each must succeed or return
 * an errno that is documented for it, and in the end all pins and charges must
 * be given back. selftests/vm/run checks the kernel's log.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "stress.h"
#include "kiommu_util.h"
#include "ring.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 1024ull
#define MEM_PAGES 128ull /* those of PAGES whose memory changes */
#define SECONDS 2
#define MIN_ROUNDS 2 /* however slow the machine is */

struct race {
	struct kiommu k;
	int fd;
	int vm;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	uint64_t pins;
	char *mem; /* MEM_PAGES pages at KIOMMU_FREE_GPA, or NULL */
	/* Entries above the tables of pages, and their correct values. */
	unsigned int uppers;
	uint64_t *upper[8];
	uint64_t sound[8];
	struct kiommu_stress stress;
	bool others; /* the guest may have other domains for a moment */
};

FIXTURE(race) {
	struct race race;
};

FIXTURE_VARIANT(race) {
	uint32_t format;
};

FIXTURE_VARIANT_ADD(race, zpci) { .format = KVM_IOMMU_FORMAT_ZPCI };
FIXTURE_VARIANT_ADD(race, vtd) { .format = KVM_IOMMU_FORMAT_VTD_SS };

FIXTURE_SETUP(race)
{
	struct race *r = &self->race;
	struct kiommu_area *area;

	r->pins = kiommu_pins();
	kiommu_setup(&r->k, VFIO_KVM_IOMMU);
	area = r->k.vm.area;
	r->fd = r->k.vfio.fd;
	r->vm = r->k.vm.fd;
	r->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, 2 * KIOMMU_2M));
	r->t = ioat_new(area, variant->format, 3);
	ioat_map_pages(r->t, IOVA, r->gpa, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(r->fd, r->t));
}

FIXTURE_TEARDOWN(race)
{
	struct race *r = &self->race;

	kiommu_teardown(&r->k);
	EXPECT_EQ(r->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(r->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

static void remember_upper(struct race *r, uint64_t iova, uint32_t level)
{
	uint64_t *entry = ioat_entry(r->t, iova, level, false);

	TEST_ASSERT(r->uppers < ARRAY_SIZE(r->upper), "too many entries");
	r->upper[r->uppers] = entry;
	r->sound[r->uppers++] = ioat_read(r->t, entry);
}

/*
 * -EINVAL comes from VFIO: the container has no type at the moment. -ESTALE: it
 * has just lost its type, and the status says so.
 */
static int do_refresh(void *arg, uint64_t random)
{
	struct race *r = arg;
	uint64_t first = random % PAGES, count = (random >> 32) % (PAGES - first) + 1;
	struct kvm_iommu_refresh result;
	int ret = kiommu_refresh(r->fd, IOVA + first * PAGE, count * PAGE, &result);

	if (!ret && (result.status || result.stopped_iova != IOVA + (first + count) * PAGE))
		return -EPROTO;
	if (ret == -ESTALE && result.status != KVM_IOMMU_STATUS_RELEASED)
		return -EPROTO;
	if (ret == -EINVAL && result.status)
		return -EPROTO;
	if (ret == -EIO && !(result.status >= KVM_IOMMU_STATUS_ENTRY_TYPE &&
			     result.status <= KVM_IOMMU_STATUS_RESERVED_IOVA))
		return -EPROTO;
	return KIOMMU_ONLY(ret, -EINVAL, -ESTALE, -ENODEV, -ENXIO, -EIO);
}

static int do_translate(void *arg, uint64_t random)
{
	struct race *r = arg;
	struct kvm_iommu_translate answer;

	return KIOMMU_ONLY(kiommu_translate(r->fd, IOVA + random % (PAGES * PAGE),
					    &answer),
			   -EINVAL, -ESTALE, -ENODEV, -ENXIO);
}

static int do_unmap(void *arg, uint64_t random)
{
	struct race *r = arg;
	uint64_t size = random % 4 ? (random % 64 + 1) * PAGE : 0;
	uint32_t flags = size ? 0 : VFIO_DMA_UNMAP_FLAG_ALL;
	uint64_t iova = size ? IOVA + (random >> 32) % PAGES * PAGE : 0;

	return KIOMMU_ONLY(kiommu_unmap_dma(r->fd, iova, &size, flags),
			   -EINVAL, -ESTALE, -ENODEV, -ENXIO);
}

static int do_info(void *arg, uint64_t random)
{
	struct race *r = arg;
	struct kvm_iommu_info info;
	int ret = kiommu_get_info(r->fd, &info);

	(void)random;
	/* The pins are those of all domains of the guest. */
	if (r->others)
		info.pinned_pages = 0;
	if (!ret && info.state != KVM_IOMMU_STATE_ANCHORED &&
	    (info.mapped_pages || info.pinned_pages || info.shadow_bytes))
		return -EPROTO;
	return KIOMMU_ONLY(ret, -EINVAL, -ESTALE);
}

static int do_anchor(void *arg, uint64_t random)
{
	struct race *r = arg;

	if (random % 2)
		return KIOMMU_ONLY(kiommu_unregister(r->fd), -EINVAL, -ESTALE, -ENODEV, -ENXIO);
	return KIOMMU_ONLY(kiommu_register_tables(r->fd, r->t),
			   -EINVAL, -ESTALE, -ENODEV, -EEXIST);
}

static int do_start(void *arg, uint64_t random)
{
	struct race *r = arg;

	if (random % 4 == 0)
		return KIOMMU_ONLY(kiommu_stop(r->fd), -EINVAL, -ESTALE, -ENODEV);
	return KIOMMU_ONLY(kiommu_start(r->fd, r->vm), -EINVAL, -ESTALE, -ENODEV);
}

TEST_F_TIMEOUT(race, states, 120)
{
	struct race *r = &self->race;

	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_translate, r);
	kiommu_stress_add(&r->stress, do_unmap, r);
	kiommu_stress_add(&r->stress, do_info, r);
	kiommu_stress_add(&r->stress, do_anchor, r);
	kiommu_stress_add(&r->stress, do_start, r);
	sleep(SECONDS);
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
}

static void open_all(struct kiommu_container *c)
{
	for (unsigned int i = 0; i < c->count; i++)
		TEST_ASSERT(!kiommu_device_open(&c->dev[i]), "open");
}

static void close_all(struct kiommu_container *c)
{
	for (unsigned int i = 0; i < c->count; i++)
		kiommu_device_close(&c->dev[i]);
}

TEST_F_TIMEOUT(race, devices_close, 120)
{
	struct race *r = &self->race;
	double end = kiommu_now() + SECONDS;
	unsigned int rounds = 0;

	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_translate, r);
	kiommu_stress_add(&r->stress, do_anchor, r);
	kiommu_stress_add(&r->stress, do_start, r);
	kiommu_close_devices(&r->k);
	for (; rounds < MIN_ROUNDS || kiommu_now() < end; rounds++) {
		open_all(&r->k.vfio);
		usleep(1000);
		close_all(&r->k.vfio);
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	/* The file of a domain keeps its guest. */
	if (kiommu_front_is_file())
		kiommu_stop(r->fd);
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(r->fd));
	EXPECT_EQ(r->pins, kiommu_pins());
}

/*
 * Bugs related to v4: a group outlives its container, or the other way round.
 * VFIO releases the container while ioctls are under way.
 */
TEST_F_TIMEOUT(race, groups_leave, 120)
{
	struct race *r = &self->race;
	struct kiommu_container *c = &r->k.vfio;
	double end = kiommu_now() + SECONDS;
	unsigned int rounds = 0;

	/* The file of a domain is closed when another one is in its place. */
	r->others = kiommu_front_is_file();
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_unmap, r);
	kiommu_stress_add(&r->stress, do_info, r);
	kiommu_stress_add(&r->stress, do_anchor, r);
	kiommu_stress_add(&r->stress, do_start, r);
	kiommu_close_devices(&r->k);
	for (; rounds < MIN_ROUNDS || kiommu_now() < end; rounds++) {
		for (unsigned int i = 0; i < c->count; i++)
			ASSERT_EQ(0, kiommu_group_detach(&c->dev[i]));
		for (unsigned int i = 0; i < c->count; i++)
			ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[i]));
		ASSERT_EQ(0, kiommu_set_iommu(c->fd, VFIO_KVM_IOMMU));
		open_all(c);
		usleep(1000);
		close_all(c);
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
}

/* A group joins and leaves a container that is being refreshed. */
TEST_F_TIMEOUT(race, groups_join, 120)
{
	struct race *r = &self->race;
	struct kiommu_container *c = &r->k.vfio;
	double end = kiommu_now() + SECONDS;
	unsigned int rounds = 0;

	if (c->count < 2)
		SKIP(return, "needs two devices");
	kiommu_set_param("domain_per_group", "1");
	kiommu_close_device(&r->k, 1);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_unmap, r);
	kiommu_stress_add(&r->stress, do_translate, r);
	for (; rounds < MIN_ROUNDS || kiommu_now() < end; rounds++) {
		ASSERT_EQ(0, kiommu_group_detach(&c->dev[1]));
		usleep(1000);
		ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[1]));
		usleep(1000);
	}
	kiommu_set_param("domain_per_group", "0");
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, kiommu_get_state(r->fd));
}

/*
 * Writes entries of all kinds, to all places, at all levels: correct ones,
 * nearly correct ones, and wrong ones.
 */
static int do_rewrite(void *arg, uint64_t random)
{
	struct race *r = arg;
	const uint64_t places[] = {
		r->gpa, r->t->root, KIOMMU_BAR_GPA(0), KIOMMU_FREE_GPA,
		r->gpa + random % PAGES * PAGE, random & ~0xfffull, 0,
	};
	uint64_t iova = IOVA + (random >> 20) % PAGES * PAGE;
	uint32_t level = (random >> 40) % 16 ? 0 : 1 + (random >> 44) % 2;
	uint64_t gpa = places[(random >> 32) % ARRAY_SIZE(places)];
	uint64_t *entry = ioat_entry(r->t, iova, level, false);

	if (random >> 60 == 0 || !entry) {
		for (unsigned int i = 0; i < r->uppers; i++)
			ioat_write(r->t, r->upper[i], r->sound[i]);
		return 0;
	}
	switch ((random >> 48) % 5) {
	case 0:
		ioat_write(r->t, entry, ioat_leaf_value(r->t, level, gpa, IOAT_RW));
		break;
	case 1:
		ioat_write(r->t, entry, ioat_leaf_value(r->t, level, r->gpa,
							KVM_IOMMU_READ));
		break;
	case 2:
		if (level)
			ioat_write(r->t, entry, ioat_table_value(r->t, level, gpa));
		break;
	case 3:
		ioat_unmap(r->t, iova, level);
		break;
	default:
		ioat_write(r->t, entry, random ^ gpa);
	}
	return 0;
}

TEST_F_TIMEOUT(race, tables_rewritten, 120)
{
	struct race *r = &self->race;

	for (uint64_t at = 0; at < PAGES * PAGE; at += ioat_span(r->t, 1))
		remember_upper(r, IOVA + at, 1);
	remember_upper(r, IOVA, 2);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_translate, r);
	kiommu_stress_add(&r->stress, do_rewrite, r);
	sleep(SECONDS);
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	/* With correct tables, the shadow is what the tables say. */
	ASSERT_EQ(0, kiommu_unregister(r->fd));
	EXPECT_EQ(r->pins, kiommu_pins());
	r->t = ioat_new(r->k.vm.area, variant->format, 3);
	ioat_map_pages(r->t, IOVA, r->gpa, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(r->fd, r->t));
	ASSERT_EQ(0, kiommu_refresh(r->fd, IOVA, PAGES * PAGE, NULL));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(r->fd));
	EXPECT_EQ(PAGES, kiommu_pinned_pages(r->fd));
}

TEST_F_TIMEOUT(race, slots_change, 120)
{
	struct race *r = &self->race;
	struct kiommu_vm *vm = &r->k.vm;
	double end = kiommu_now() + SECONDS;
	unsigned int rounds = 0;
	char *mem[2];

	for (int i = 0; i < 2; i++) {
		mem[i] = mmap(NULL, KIOMMU_2M, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, (void *)mem[i]);
	}
	/* Otherwise a refresh must be repeated if slots change meanwhile. */
	kiommu_lose_slots_at_once(r->fd);
	ioat_map_pages(r->t, IOVA + 100 * PAGE, KIOMMU_FREE_GPA, 512, IOAT_RW);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_translate, r);
	for (; rounds < MIN_ROUNDS || kiommu_now() < end; rounds++) {
		uint64_t size = rounds % 2 ? KIOMMU_2M : KIOMMU_2M / 2;
		uint32_t flags = rounds % 3 ? 0 : KVM_MEM_READONLY;

		ASSERT_EQ(0, kiommu_vm_set_slot(vm, KIOMMU_FREE_SLOT, flags,
						KIOMMU_FREE_GPA, size,
						mem[rounds % 2]));
		usleep(1000);
		ASSERT_EQ(0, kiommu_vm_set_slot(vm, KIOMMU_FREE_SLOT, 0,
						KIOMMU_FREE_GPA, 0, NULL));
		/* The memory behind the deleted slot goes, too. */
		ASSERT_EQ(0, madvise(mem[rounds % 2], KIOMMU_2M, MADV_DONTNEED));
	}
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));
	EXPECT_EQ(-EIO, kiommu_refresh(r->fd, IOVA, PAGES * PAGE, NULL));
	EXPECT_EQ(0, kiommu_shadow_rights(r->fd, IOVA + 100 * PAGE));
}

/* The process gives memory up, in each possible way. */
static int do_discard(void *arg, uint64_t random)
{
	struct race *r = arg;
	uint64_t first = random % MEM_PAGES;
	uint64_t size = (random >> 16) % (MEM_PAGES - first) * PAGE + PAGE;
	char *at = r->mem + first * PAGE;
	int protection = random >> 61 ? PROT_READ | PROT_WRITE : PROT_READ;

	switch ((random >> 32) % 4) {
	case 0:
		madvise(at, size, MADV_DONTNEED);
		break;
	case 1:
		munmap(at, size);
		break;
	case 2:
		mprotect(at, size, protection);
		break;
	default:
		if (mmap(at, size, protection,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

static int set_mem(struct race *r, uint64_t size)
{
	return kiommu_vm_set_slot(&r->k.vm, KIOMMU_FREE_SLOT, 0, KIOMMU_FREE_GPA,
				  size, r->mem);
}

/* The slot comes and goes; KVM's own errors do not matter. */
static int do_slot(void *arg, uint64_t random)
{
	struct race *r = arg;

	set_mem(r, random % 2 ? MEM_PAGES * PAGE : 0);
	return 0;
}

static int do_pins(void *arg, uint64_t random)
{
	struct race *r = arg;
	const uint64_t size = MEM_PAGES * PAGE;

	switch (random % 4) {
	case 0:
		return KIOMMU_ONLY(kiommu_pin_memory(r->fd, KIOMMU_FREE_GPA, size),
				   -EINVAL, -EIO);
	case 1:
		return KIOMMU_ONLY(kiommu_unpin_memory(r->fd, KIOMMU_FREE_GPA, size),
				   -EINVAL);
	default:
		return kiommu_set_idle_limit(r->fd, (random >> 8) % 2048);
	}
}

/* Enables and disables memory space of the device whose BAR others access. */
static int do_enable(void *arg, uint64_t random)
{
	struct race *r = arg;

	kiommu_device_enable(&r->k.vfio.dev[0], random % 2);
	return 0;
}

/* Everything that can go away does, while all of it is mapped. */
TEST_F_TIMEOUT(race, memory_changes, 120)
{
	struct race *r = &self->race;
	void *dma = r->k.dma[r->k.vfio.count - 1];
	char *buffer = kiommu_alloc_page(r->k.vm.area);

	r->mem = mmap(NULL, MEM_PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)r->mem);
	ASSERT_EQ(0, set_mem(r, MEM_PAGES * PAGE));
	ioat_map_pages(r->t, IOVA + 100 * PAGE, KIOMMU_FREE_GPA, MEM_PAGES, IOAT_RW);
	if (kiommu_host_has(KIOMMU_BARS))
		ioat_map_pages(r->t, IOVA + 600 * PAGE, KIOMMU_BAR_GPA(0), 64,
			       IOAT_RW);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_refresh, r);
	kiommu_stress_add(&r->stress, do_unmap, r);
	kiommu_stress_add(&r->stress, do_discard, r);
	kiommu_stress_add(&r->stress, do_slot, r);
	kiommu_stress_add(&r->stress, do_pins, r);
	kiommu_stress_add(&r->stress, do_enable, r);
	kiommu_stress_add(&r->stress, do_info, r);
	sleep(SECONDS);
	ASSERT_EQ(0, kiommu_stress_join(&r->stress));

	/* At rest, devices reach what the process has. */
	kiommu_device_enable(&r->k.vfio.dev[0], 1);
	if (mmap(r->mem, MEM_PAGES * PAGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		ASSERT_EQ(0, errno);
	set_mem(r, 0);
	ASSERT_EQ(0, set_mem(r, MEM_PAGES * PAGE));
	ASSERT_EQ(0, kiommu_set_idle_limit(r->fd, 0));
	ioat_map(r->t, IOVA, kiommu_gpa(r->k.vm.area, buffer), 0, IOAT_RW);
	ASSERT_EQ(0, kiommu_refresh(r->fd, IOVA, PAGES * PAGE, NULL));
	EXPECT_EQ(PAGES, kiommu_mapped_pages(r->fd));
	for (uint64_t page = 0; page < MEM_PAGES; page += 31) {
		kiommu_fill(buffer, 64, page);
		ASSERT_EQ(0, kiommu_dma_copy(dma, IOVA + (100 + page) * PAGE, IOVA,
					     64));
		EXPECT_EQ(64, kiommu_count_equal(r->mem + page * PAGE, 64, page));
	}
}

TEST_HARNESS_MAIN
