// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMM, as small as one can be: it runs a vCPU and does what the guest asks
 * for. Whatever a real VMM does beyond that would add to the cost.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm_util.h"
#include "processor.h"
#include "ucall_common.h"

#include "sync.h"

#define TYPE1_RIGHTS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)
/* Besides the vCPU that the library creates. */
#define VCPU_ID 1
#define RING_ENTRIES 64

static void add_pool(struct sync *s)
{
	uint64_t pages = SYNC_TARGET_PAGE + 1;

	s->pool = kiommu_vm_add_memory(&s->k.vm, KIOMMU_FREE_SLOT, SYNC_POOL_GPA,
				       pages, 0);
	/* Free pages tend to be contiguous: touch them out of order. */
	madvise(s->pool, pages * KIOMMU_PAGE, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < SYNC_POOL_PAGES; i++)
		s->pool[i * 2731 % SYNC_POOL_PAGES * KIOMMU_PAGE] = 1;
	kiommu_fill(s->pool + SYNC_SOURCE_PAGE * KIOMMU_PAGE, KIOMMU_PAGE, 1);
	kiommu_fill(s->pool + SYNC_TARGET_PAGE * KIOMMU_PAGE, KIOMMU_PAGE, 2);
}

void sync_open(struct sync *s, const struct sync_way *way)
{
	struct kiommu_area *area;

	memset(s, 0, sizeof(*s));
	s->way = way;
	kiommu_setup(&s->k, way->type);
	area = s->k.vm.area;
	s->guest = kiommu_alloc(area, sizeof(*s->guest), 64);
	s->guest->mapped = way->mapped;
	s->guest->unmapped = way->unmapped;
	s->guest->nic = kiommu_nic_open(&s->k.vfio.dev[0], &s->k.vm,
					SYNC_NIC_IOVA);
	s->guest->tables = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	add_pool(s);
	s->vcpu = vm_vcpu_add(s->k.vm.vm, VCPU_ID, sync_guest_main);
	vcpu_args_set(s->vcpu, 1, (uint64_t)s->guest);
	s->stats = vcpu_get_stats_fd(s->vcpu);
	s->guest->ring = kiommu_ring_new(area, RING_ENTRIES);
	kiommu_bell_open(&s->bell, &s->k.vm, s->guest->ring, KIOMMU_BELL_PIO);
}

void sync_close(struct sync *s)
{
	kiommu_bell_close(&s->bell);
	close(s->stats);
	kiommu_teardown(&s->k);
}

/* Returns false when the guest's function has returned. */
static bool serve(struct sync *s)
{
	const struct kvm_run *run = s->vcpu->run;

	struct ucall uc;

	TEST_ASSERT(run->exit_reason == KVM_EXIT_IO, "the guest stopped: exit %s",
		    exit_reason_str(run->exit_reason));
	switch (run->io.port) {
	case SYNC_PORT_DONE:
		return false;
	case SYNC_PORT_TELL:
		s->way->follow(s, s->guest->told.iova, s->guest->told.pages);
		return true;
	case SYNC_PORT_NOTHING:
		return true;
	default:
		if (get_ucall(s->vcpu, &uc) == UCALL_ABORT)
			REPORT_GUEST_ASSERT(uc);
		TEST_FAIL("the guest wrote to port %x", run->io.port);
		return false;
	}
}

void sync_run(struct sync *s, void (*fn)(struct sync_guest *g))
{
	s->guest->fn = fn;
	for (;;) {
		int ret = ioctl(s->vcpu->fd, KVM_RUN, NULL);

		TEST_ASSERT(!ret || errno == EINTR, "KVM_RUN: errno %d", errno);
		if (!ret && !serve(s))
			return;
		s->returns++;
	}
}

static uint64_t read_counter(int stats, const char *name)
{
	struct kvm_stats_header header;
	struct kvm_stats_desc *all, *one = NULL;
	uint64_t value = 0;

	read_stats_header(stats, &header);
	all = read_stats_descriptors(stats, &header);
	for (uint32_t i = 0; i < header.num_desc; i++) {
		one = get_stats_descriptor(all, i, &header);
		if (!strcmp(one->name, name))
			break;
		one = NULL;
	}
	TEST_ASSERT(one, "KVM has no counter %s", name);
	read_stat_data(stats, &header, one, &value, 1);
	free(all);
	return value;
}

struct sync_exits sync_exits(struct sync *s)
{
	return (struct sync_exits){
		.to_user = s->returns,
		.all = read_counter(s->stats, "exits"),
	};
}

/* A VMM looks for the memory slot of a GPA; here the slots are known. */
static void *gpa_to_hva(struct sync *s, uint64_t gpa)
{
	if (gpa - SYNC_POOL_GPA <= SYNC_TARGET_PAGE * KIOMMU_PAGE)
		return s->pool + (gpa - SYNC_POOL_GPA);
	return kiommu_ptr(s->k.vm.area, gpa);
}

static void change_type1(struct sync *s, uint64_t iova, uint64_t *record,
			 uint64_t entry)
{
	uint64_t size = KIOMMU_PAGE;
	int fd = s->k.vfio.fd, ret = 0;

	if (*record)
		ret = kiommu_unmap_dma(fd, iova, &size, 0);
	TEST_ASSERT(!ret, "UNMAP_DMA at %lx: %d", iova, ret);
	if (entry)
		ret = kiommu_map_dma(fd, gpa_to_hva(s, entry & ~0xfffull), iova,
				     KIOMMU_PAGE, TYPE1_RIGHTS);
	TEST_ASSERT(!ret, "MAP_DMA at %lx: %d", iova, ret);
	*record = entry;
}

/*
 * Walks the guest's tables and compares them with what was mapped before; makes
 * an ioctl for each page that differs, as QEMU does for VT-d.
 */
void sync_follow_type1(struct sync *s, uint64_t iova, uint64_t pages)
{
	uint64_t *entry = NULL;

	for (uint64_t i = 0; i < pages; i++, iova += KIOMMU_PAGE) {
		uint64_t *record = &s->records[(iova - SYNC_IOVA) / KIOMMU_PAGE];

		if (!i || !(iova & (KIOMMU_2M - 1)))
			entry = ioat_entry(s->guest->tables, iova, 0, false);
		else
			entry++;
		TEST_ASSERT(entry, "no table at %lx", iova);
		if (*entry != *record)
			change_type1(s, iova, record, *entry);
	}
}

void sync_follow_refresh(struct sync *s, uint64_t iova, uint64_t pages)
{
	struct kvm_iommu_refresh r = {
		.size = sizeof(r),
		.iova = iova,
		.length = pages * KIOMMU_PAGE,
	};
	int ret = ioctl(s->k.vfio.fd, KVM_IOMMU_REFRESH, &r);

	while (ret && errno == EAGAIN) {
		r.length = r.iova + r.length - r.stopped_iova;
		r.iova = r.stopped_iova;
		ret = ioctl(s->k.vfio.fd, KVM_IOMMU_REFRESH, &r);
	}
	TEST_ASSERT(!ret, "REFRESH: errno %d, status %u", errno, r.status);
}

static uint64_t count_mapped(struct sync *s)
{
	uint64_t count = 0;

	if (s->way->type == VFIO_KVM_IOMMU)
		return kiommu_mapped_pages(s->k.vfio.fd);
	for (uint64_t i = 0; i < SYNC_IOVA_PAGES; i++)
		count += !!s->records[i];
	return count;
}

void sync_expect_mapped(struct sync *s, uint64_t pages)
{
	uint64_t count = count_mapped(s) - SYNC_FIXED_PAGES;

	TEST_ASSERT(count == pages, "%s: %lu pages are mapped, not %lu",
		    s->way->name, count, pages);
}

void sync_check_dma(struct sync *s)
{
	const char *source = s->pool + SYNC_SOURCE_PAGE * KIOMMU_PAGE;

	kiommu_fill(s->pool, KIOMMU_PAGE, 3);
	sync_run(s, sync_guest_map_one);
	TEST_ASSERT(s->guest->frames == 1 &&
		    !memcmp(s->pool, source, KIOMMU_PAGE),
		    "%s: DMA misses what is mapped", s->way->name);
	sync_run(s, sync_guest_unmap_one);
	kiommu_fill(s->pool, KIOMMU_PAGE, 3);
	sync_run(s, sync_guest_send_one);
	TEST_ASSERT(s->guest->frames == 1 &&
		    kiommu_count_equal(s->pool, KIOMMU_PAGE, 3) == KIOMMU_PAGE,
		    "%s: DMA reaches what is unmapped", s->way->name);
}
