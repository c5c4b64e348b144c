// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode TRACKED and stores that KVM cannot emulate: cmpxchg16b, and those of AVX,
 * on newer kernels but for its plain moves. The vCPU
 * exits each time it is run, until its VMM has untracked the page or ended the
 * mode. Then the CPU does the whole store, and a refresh brings the shadow up
 * to date. Stores that KVM can emulate, 16 bytes of SSE, do not exit.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"
#include "processor.h"

#include "faults.h"
#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 64ull
#define AVX_STATE 7 /* XCR0: x87, SSE, AVX */
#ifndef X86_FEATURE_AVX
#define X86_FEATURE_AVX KVM_X86_CPU_FEATURE(0x1, 0, ECX, 28)
#endif

FIXTURE(emulation) {
	struct kiommu k;
	int fd;
	int faults;
	struct ioat *t;
	uint64_t gpa; /* that of PAGES pages */
	uint64_t *entry; /* that of IOVA, the first of its table */
	uint64_t table; /* the table's GPA */
	uint64_t *values; /* WORDS entries, of which stores are made */
	uint64_t pins;
};

#define WORDS 4

/* A table between two pages of ordinary memory. */
FIXTURE_SETUP(emulation)
{
	struct kiommu_area *area;

	self->pins = kiommu_pins();
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	vm_enable_cap(self->k.vm.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1);
	area = self->k.vm.area;
	self->fd = self->k.vfio.fd;
	self->faults = kiommu_open_faults(self->fd, 0);
	ASSERT_LE(0, self->faults);
	self->gpa = kiommu_gpa(area, kiommu_alloc(area, PAGES * PAGE, PAGE));
	self->values = kiommu_alloc(area, PAGE, PAGE);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_entry(self->t, IOVA, 1, true);
	kiommu_alloc_page(area);
	self->entry = ioat_entry(self->t, IOVA, 0, true);
	self->table = kiommu_gpa(area, self->entry);
	kiommu_alloc_page(area);
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	ASSERT_EQ(3, kiommu_tracked_pages(self->fd));
}

FIXTURE_TEARDOWN(emulation)
{
	close(self->faults);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(self->pins, kiommu_pins());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/*
 * The stores, from @values to @to. Each function calls GUEST_SYNC() before it
 * stores, which ends the call, and returns after it: in between, the test runs
 * the vCPU.
 */
static uint64_t store_xmm(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("movups (%1), %%xmm0; movups %%xmm0, (%0)"
		     : : "r"(to), "r"(values) : "xmm0", "memory");
	return 0;
}

static uint64_t store_cmpxchg16b(uint64_t *to, const uint64_t *values)
{
	uint64_t low = to[0], high = to[1];

	GUEST_SYNC(0);
	asm volatile("lock cmpxchg16b %0"
		     : "+m"(*(uint64_t(*)[2])to), "+a"(low), "+d"(high)
		     : "b"(values[0]), "c"(values[1]) : "cc");
	return 0;
}

static uint64_t store_avx_xmm(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("vmovdqu (%1), %%xmm0; vmovdqu %%xmm0, (%0)"
		     : : "r"(to), "r"(values) : "xmm0", "memory");
	return 0;
}

static uint64_t store_ymm(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("vmovdqu (%1), %%ymm0; vmovdqu %%ymm0, (%0); vzeroupper"
		     : : "r"(to), "r"(values) : "xmm0", "memory");
	return 0;
}

static uint64_t store_ymm_aligned(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("vmovaps (%1), %%ymm0; vmovaps %%ymm0, (%0); vzeroupper"
		     : : "r"(to), "r"(values) : "xmm0", "memory");
	return 0;
}

/* No kernel emulates these two. */
static uint64_t store_extracted(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("vmovdqu (%1), %%ymm0; vextractf128 $0, %%ymm0, (%0); vzeroupper"
		     : : "r"(to), "r"(values) : "xmm0", "memory");
	return 0;
}

static uint64_t store_masked(void *to, const void *values)
{
	GUEST_SYNC(0);
	asm volatile("vpcmpeqd %%xmm1, %%xmm1, %%xmm1; vinsertf128 $1, %%xmm1, %%ymm1, %%ymm1\n\t"
		     "vmovdqu (%1), %%ymm0; vmaskmovpd %%ymm0, %%ymm1, (%0); vzeroupper"
		     : : "r"(to), "r"(values) : "xmm0", "xmm1", "memory");
	return 0;
}

static const struct kind {
	const char *name;
	void *fn;
	uint32_t words; /* words of 8 bytes that it stores */
	bool avx;
	bool move; /* newer kernels emulate it */
} kinds[] = {
	{ "cmpxchg16b", store_cmpxchg16b, 2, false, false },
	{ "vextractf128", store_extracted, 2, true, false },
	{ "vmaskmovpd", store_masked, 4, true, false },
	{ "vmovdqu of 16 bytes", store_avx_xmm, 2, true, true },
	{ "vmovdqu of 32 bytes", store_ymm, 4, true, true },
	{ "vmovaps of 32 bytes", store_ymm_aligned, 4, true, true },
};

/* Return: NULL, or why guests cannot use AVX here. */
static const char *lacks_avx(void)
{
	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		return "KVM offers no XSAVE to its guests";
	if (!kvm_cpu_has(X86_FEATURE_AVX))
		return "KVM offers no AVX to its guests";
	return NULL;
}

/*
 * A vCPU starts without AVX. The VMM sets XCR0, because what a guest sets by
 * XSETBV is lost on an emulated CPU that does not intercept it.
 */
static void enable_avx(FIXTURE_DATA(emulation) *self)
{
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = AVX_STATE };
	struct kvm_vcpu *vcpu = self->k.vm.vcpu;
	struct kvm_sregs sregs;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr4 |= X86_CR4_OSXSAVE;
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_xcrs_set(vcpu, &xcrs);
}

/* Chooses what is stored next: entries of the pages from @page on. */
static void choose_values(FIXTURE_DATA(emulation) *self, uint64_t page)
{
	for (uint64_t i = 0; i < WORDS; i++)
		self->values[i] = ioat_leaf_value(self->t, 0,
						  self->gpa + (page + i) * PAGE,
						  IOAT_RW);
}

/* How many of @words entries from @index on have been mapped by the store. */
static uint64_t count_mapped(FIXTURE_DATA(emulation) *self, uint64_t index,
			     uint64_t words, uint64_t page)
{
	uint64_t mapped = 0;

	for (uint64_t i = 0; i < words; i++)
		mapped += kiommu_maps(self->fd, IOVA + (index + i) * PAGE,
				      self->gpa + (page + i) * PAGE);
	return mapped;
}

/* Whether the vCPU exits because of a store that KVM cannot emulate. */
static bool fails_to_emulate(FIXTURE_DATA(emulation) *self)
{
	struct kvm_run *run = self->k.vm.vcpu->run;

	return !_vcpu_run(self->k.vm.vcpu) &&
	       run->exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	       run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
}

/* Whether the vCPU goes on, having done the store. */
static bool goes_on(FIXTURE_DATA(emulation) *self)
{
	struct ucall uc;

	return !_vcpu_run(self->k.vm.vcpu) &&
	       get_ucall(self->k.vm.vcpu, &uc) == UCALL_SYNC;
}

static void expect_followed(struct __test_metadata *_metadata,
			    FIXTURE_DATA(emulation) *self, void *store,
			    uint32_t words)
{
	memset(self->entry, 0, PAGE);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	choose_values(self, 1);
	kiommu_guest_call(&self->k.vm, store, self->entry + 8, self->values);
	EXPECT_EQ(0, count_mapped(self, 8, words, 1));
	ASSERT_TRUE(goes_on(self));
	EXPECT_EQ(words, count_mapped(self, 8, words, 1));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(0, kiommu_poll_now(self->faults));
}

TEST_F_TIMEOUT(emulation, what_kvm_emulates_is_followed, 120)
{
	expect_followed(_metadata, self, store_xmm, 2);
}

TEST_F_TIMEOUT(emulation, avx_moves_are_followed, 120)
{
	if (kiommu_host_lacks(KIOMMU_AVX_MOVES))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_AVX_MOVES));
	if (lacks_avx())
		SKIP(return, "%s", lacks_avx());
	enable_avx(self);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].move)
			expect_followed(_metadata, self, kinds[i].fn,
					kinds[i].words);
}

TEST_F_TIMEOUT(emulation, untrack_arguments, 120)
{
	EXPECT_EQ(-EINVAL, kiommu_untrack(self->fd, self->table + 8, PAGE));
	EXPECT_EQ(-EINVAL, kiommu_untrack(self->fd, self->table, 0));
	EXPECT_EQ(-EOVERFLOW, kiommu_untrack(self->fd, -PAGE, 2 * PAGE));
	EXPECT_EQ(0, kiommu_untrack(self->fd, self->gpa, PAGE));
	/* Going over these pages one by one would take a year. */
	EXPECT_EQ(0, kiommu_untrack(self->fd, 1ull << 40, 1ull << 62));
	EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	EXPECT_EQ(3, kiommu_untrack(self->fd, 0, -PAGE));
	EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
}

/*
 * As in docs/tracking.md: UNTRACK, run, refresh. Twice, because a page that is
 * tracked again must exit again, though KVM has seen instruction and address
 * before.
 */
static void recover(struct __test_metadata *_metadata,
		    FIXTURE_DATA(emulation) *self, const struct kind *kind)
{
	struct kvm_iommu_fault fault;

	for (uint64_t round = 0; round < 2; round++) {
		const uint64_t page = 1 + round * 8;

		memset(self->entry, 0, PAGE);
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
		choose_values(self, page);
		kiommu_guest_call(&self->k.vm, kind->fn, self->entry + 8,
				  self->values);
		/* Each run fails, and stores nothing. */
		for (int i = 0; i < 3; i++) {
			ASSERT_TRUE(fails_to_emulate(self));
			EXPECT_NE(self->values[0], self->entry[8]);
			EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
			EXPECT_EQ(0, kiommu_poll_now(self->faults));
		}
		EXPECT_EQ(1, kiommu_untrack(self->fd, self->table, PAGE));
		EXPECT_EQ(0, kiommu_untrack(self->fd, self->table, PAGE));
		ASSERT_TRUE(kiommu_next_fault(self->faults, KVM_IOMMU_FAULT_SYNC,
					      &fault));
		EXPECT_EQ(self->table, fault.gpa);
		EXPECT_EQ(IOVA, fault.iova);
		ASSERT_TRUE(goes_on(self));
		/* The store is complete, but not followed until a refresh. */
		EXPECT_EQ(0, memcmp(self->entry + 8, self->values,
				    kind->words * 8));
		EXPECT_EQ(0, count_mapped(self, 8, kind->words, page));
		EXPECT_EQ(2, kiommu_tracked_pages(self->fd));
		EXPECT_EQ(1, kiommu_unsynced_pages(self->fd));
		/* A refresh of any IOVA of the table will do. */
		EXPECT_EQ(0, kiommu_refresh(self->fd, IOVA, PAGE, NULL));
		EXPECT_EQ(kind->words, count_mapped(self, 8, kind->words, page));
		EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
		EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
		EXPECT_EQ(0, kiommu_poll_now(self->faults));
	}
}

TEST_F_TIMEOUT(emulation, recovers_from_cmpxchg16b, 120)
{
	recover(_metadata, self, &kinds[0]);
}

TEST_F_TIMEOUT(emulation, recovers_from_avx, 120)
{
	if (lacks_avx())
		SKIP(return, "%s", lacks_avx());
	enable_avx(self);
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!kinds[i].avx ||
		    (kinds[i].move && kiommu_host_has(KIOMMU_AVX_MOVES)))
			continue;
		TH_LOG("%s", kinds[i].name);
		recover(_metadata, self, &kinds[i]);
	}
}

/* The store begins or ends in ordinary memory, which the VMM need not know. */
TEST_F_TIMEOUT(emulation, avx_across_the_end_of_a_page, 120)
{
	uint64_t *const places[] = { self->entry - 2, self->entry + 510 };

	if (lacks_avx())
		SKIP(return, "%s", lacks_avx());
	enable_avx(self);
	for (unsigned int i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t *mine = i ? self->entry + 510 : self->entry;
		uint64_t index = mine - self->entry;

		choose_values(self, 1);
		kiommu_guest_call(&self->k.vm, store_masked, places[i],
				  self->values);
		ASSERT_TRUE(fails_to_emulate(self));
		EXPECT_EQ(0, *mine);
		/* Untrack all memory. */
		EXPECT_EQ(3, kiommu_untrack(self->fd, 0, -PAGE));
		EXPECT_EQ(0, kiommu_tracked_pages(self->fd));
		EXPECT_EQ(3, kiommu_unsynced_pages(self->fd));
		ASSERT_TRUE(goes_on(self));
		EXPECT_EQ(0, memcmp(places[i], self->values, WORDS * 8));
		ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
		EXPECT_EQ(2, count_mapped(self, index, 2, i ? 1 : 3));
		EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
	}
}

/* The VMM falls back to another mode instead. */
TEST_F_TIMEOUT(emulation, avx_recovers_by_another_mode, 120)
{
	if (lacks_avx())
		SKIP(return, "%s", lacks_avx());
	enable_avx(self);
	choose_values(self, 1);
	kiommu_guest_call(&self->k.vm, store_masked, self->entry, self->values);
	ASSERT_TRUE(fails_to_emulate(self));
	ASSERT_EQ(0, kiommu_set_explicit(self->fd));
	ASSERT_TRUE(goes_on(self));
	EXPECT_EQ(0, count_mapped(self, 0, WORDS, 1));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, KIOMMU_2M, NULL));
	EXPECT_EQ(WORDS, count_mapped(self, 0, WORDS, 1));
	/* Back in TRACKED, the shadow has all that the tables say. */
	memset(self->entry, 0, PAGE);
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
}

static uint64_t undefined; /* the guest's own copy: #UD exceptions */

static void count_undefined(struct ex_regs *regs)
{
	(void)regs;
	undefined++;
}

static uint64_t get_undefined(void)
{
	return undefined;
}

/* Without KVM_CAP_EXIT_ON_EMULATION_FAILURE the guest gets a #UD, too. */
TEST_F_TIMEOUT(emulation, without_the_capability, 120)
{
	vm_enable_cap(self->k.vm.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 0);
	vm_install_exception_handler(self->k.vm.vm, UD_VECTOR, count_undefined);
	choose_values(self, 1);
	kiommu_guest_call(&self->k.vm, store_cmpxchg16b, self->entry, self->values);
	ASSERT_TRUE(fails_to_emulate(self));
	EXPECT_EQ(1, kiommu_untrack(self->fd, self->table, PAGE));
	ASSERT_TRUE(goes_on(self));
	EXPECT_EQ(1, kiommu_guest_call(&self->k.vm, get_undefined));
	EXPECT_EQ(0, memcmp(self->entry, self->values, 16));
}

TEST_HARNESS_MAIN
