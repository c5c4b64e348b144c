// SPDX-License-Identifier: GPL-2.0-only
/*
 * RPCIT by the kernel's hook, on the real domain: the answer to each, and what
 * devices reach afterwards. The registers are prepared; on a machine with SIE,
 * KVM takes them from the CPU that it intercepts.
 *
 * For the answers and their sources see arch/s390/rpcit.hpp. v4, defects 1, 2,
 * 3, 9, 10 and 11.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "faults.h"
#include "kiommu_util.h"
#include "memlock.h"
#include "zpci_hook.h"

#define PAGE KIOMMU_PAGE
/* Spans of all levels begin at this address. */
#define IOVA (2 * KIOMMU_IOVA_BASE)
#define PBA KIOMMU_IOVA_BASE
#define PAL (KIOMMU_IOVA_BASE + (1ull << 36) - 1)
#define PAGES 64ull
#define SEGMENT (1ull << 20)
#define REGION (1ull << 31)

/* Program interruptions. */
#define PRIVILEGED_OPERATION 0x02
#define SPECIFICATION 0x06

/* PCI event codes. */
enum { PEC_ADDRESS_SPACE = 1, PEC_RANGE = 2, PEC_ENTRY = 7, PEC_LENGTH = 8, PEC_TYPE = 9 };

FIXTURE(rpcit) {
	struct kiommu k;
	struct kiommu_device *dev;
	int fd;
	int vm;
	uint32_t fh;
	struct ioat *t;
	char *mem;	/* PAGES */
	uint64_t gpa;
	int faults;
};

static void start_function(struct __test_metadata *_metadata,
			   FIXTURE_DATA(rpcit) *self)
{
	ASSERT_EQ(0, zpci_start(self->vm, self->dev));
	ASSERT_EQ(0, zpci_set_state(self->vm, self->dev, ZPCI_ENABLED));
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, self->dev, ioat_iota(self->t), PBA,
				   PAL));
	kiommu_dma_anchor(self->fd, self->t, 0);
	self->fh = zpci_handle(self->vm, self->dev);
}

static void set_up(struct __test_metadata *_metadata, FIXTURE_DATA(rpcit) *self,
		   const char *shadow_limit_mb)
{
	struct kiommu_area *area;

	kiommu_set_param("shadow_limit_mb", shadow_limit_mb);
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	kiommu_set_param("shadow_limit_mb", "256");
	self->fd = self->k.vfio.fd;
	self->vm = self->k.vm.fd;
	self->dev = &self->k.vfio.dev[0];
	area = self->k.vm.area;
	self->mem = kiommu_alloc(area, PAGES * PAGE, SEGMENT);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3);
	if (!zpci_lacks_hook(self->vm, self->dev))
		start_function(_metadata, self);
}

FIXTURE_SETUP(rpcit)
{
	set_up(_metadata, self, "256");
	self->faults = kiommu_open_faults(self->fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	ASSERT_LE(0, self->faults);
}

FIXTURE_TEARDOWN(rpcit)
{
	if (self->faults >= 0)
		close(self->faults);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

#define RPCIT(_iova, _length) zpci_rpcit(self->vm, self->fh, _iova, _length)
#define SET_STATE(_state) zpci_set_state(self->vm, self->dev, ZPCI_##_state)
#define MAP(_page, _gpa_page)						\
	ioat_map(self->t, IOVA + (_page) * PAGE, self->gpa + (_gpa_page) * PAGE, \
		 0, IOAT_RW)
#define RIGHTS(_iova) kiommu_shadow_rights(self->fd, _iova)
#define MAPPED() kiommu_mapped_pages(self->fd)

/* A table, or a page, outside of the guest's memory. */
#define NOWHERE (1ull << 45)

/*
 * An RPCIT puts the function in error; there is one event for the guest; and
 * the function gets out of it again. @level: that of the table with the entry
 * that is to blame, from 1; 0 if there is none.
 */
static void expect_error(struct __test_metadata *_metadata,
			 FIXTURE_DATA(rpcit) *self, uint64_t iova,
			 uint64_t length, uint32_t pec, uint64_t address,
			 uint32_t status, uint32_t level)
{
	bool names = status == KVM_IOMMU_STATUS_NO_SLOT;
	struct kvm_iommu_fault fault = {};
	ssize_t size;

	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(iova, length)) {
		TH_LOG("iova %#llx, length %#llx, pec %u",
		       (unsigned long long)iova, (unsigned long long)length, pec);
	}
	size = read(self->faults, &fault, sizeof(fault));
	EXPECT_EQ((ssize_t)sizeof(fault), size);
	EXPECT_EQ(pec, fault.code);
	EXPECT_EQ(address, fault.iova);
	EXPECT_EQ(status, fault.status);
	EXPECT_EQ(self->fh, fault.device);
	EXPECT_EQ(1, fault.count);
	EXPECT_EQ(level, fault.level);
	EXPECT_EQ(names ? NOWHERE : 0, fault.gpa);
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_ZPCI |
		  KVM_IOMMU_FAULT_HAS_FORMAT |
		  (names ? KVM_IOMMU_FAULT_HAS_GPA : 0), fault.flags);
	EXPECT_EQ(pec == PEC_ADDRESS_SPACE ? KVM_IOMMU_FAULT_STATE :
		  pec == PEC_RANGE ? KVM_IOMMU_FAULT_RANGE :
		  KVM_IOMMU_FAULT_ENTRY, fault.reason);
	/* No second event, and nothing is refreshed. */
	EXPECT_EQ(ZPCI_RECOVER, RPCIT(iova, length));
	EXPECT_EQ(ZPCI_RECOVER, RPCIT(IOVA, PAGE));
	EXPECT_EQ(-1, read(self->faults, &fault, sizeof(fault)));
	EXPECT_EQ(0, SET_STATE(BLOCKED));
	EXPECT_EQ(0, SET_STATE(ENABLED));
}

#define EXPECT_ERROR(_iova, _length, _pec, _address, _status)		\
	expect_error(_metadata, self, _iova, _length, PEC_##_pec, _address, \
		     KVM_IOMMU_STATUS_##_status, 0)

TEST_F_TIMEOUT(rpcit, maps_and_unmaps, 120)
{
	struct kvm_iommu_translate answer;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	ioat_map_pages(self->t, IOVA, self->gpa, 8, IOAT_RW);
	/* Nothing is mapped before the RPCIT. */
	EXPECT_EQ(0, MAPPED());
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 8 * PAGE));
	EXPECT_EQ(8, MAPPED());
	ASSERT_EQ(0, kiommu_translate(self->fd, IOVA + 3 * PAGE, &answer));
	EXPECT_EQ(self->gpa + 3 * PAGE, answer.gpa);
	EXPECT_EQ(IOAT_RW, answer.shadow_rights);
	/* One page is replaced, one protected, one unmapped. */
	MAP(1, 20);
	ioat_protect(self->t, IOVA + 2 * PAGE, 0);
	ioat_unmap(self->t, IOVA + 3 * PAGE, 0);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + PAGE, 2 * PAGE));
	EXPECT_EQ(KVM_IOMMU_READ, RIGHTS(IOVA + 2 * PAGE));
	EXPECT_EQ(IOAT_RW, RIGHTS(IOVA + 3 * PAGE));
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + 3 * PAGE, PAGE));
	EXPECT_EQ(0, RIGHTS(IOVA + 3 * PAGE));
	EXPECT_EQ(7, MAPPED());
	/* Entries of upper tables: all of their span, and the range beyond. */
	ioat_map(self->t, IOVA + SEGMENT, self->gpa, 0, IOAT_RW);
	ioat_map(self->t, IOVA + REGION, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 2 * REGION));
	EXPECT_EQ(9, MAPPED());
	ioat_unmap(self->t, IOVA, 1);
	ioat_map(self->t, IOVA + 2 * SEGMENT, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 2 * REGION));
	EXPECT_EQ(3, MAPPED());
	ioat_unmap(self->t, IOVA, 2);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 2 * REGION));
	EXPECT_EQ(1, MAPPED());
	EXPECT_EQ(IOAT_RW, RIGHTS(IOVA + REGION));
	/* A frame, and the whole DMA space, as Linux does it. */
	ioat_map(self->t, IOVA + 3 * SEGMENT, self->gpa - self->gpa % SEGMENT, 1,
		 IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(PBA, PAL + 1 - PBA));
	EXPECT_EQ(1 + SEGMENT / PAGE, MAPPED());
}

/* What a device reaches, byte by byte. */
TEST_F_TIMEOUT(rpcit, devices_follow, 120)
{
	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	MAP(0, 5);
	kiommu_fill(self->mem + 5 * PAGE, PAGE, 50);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ASSERT_EQ(0, kiommu_dma_load(self->k.dma[0], IOVA, 0, 2048));
	MAP(0, 6);
	kiommu_fill(self->mem + 6 * PAGE, PAGE, 60);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ASSERT_EQ(0, kiommu_dma_store(self->k.dma[0], IOVA, 0, 2048));
	EXPECT_EQ(2048, kiommu_count_equal(self->mem + 6 * PAGE, 2048, 50));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + 5 * PAGE, PAGE, 50));
	/* Protected, and gone: nothing is written. */
	kiommu_fill(self->mem + 6 * PAGE, PAGE, 61);
	ioat_protect(self->t, IOVA, 0);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ASSERT_EQ(0, kiommu_dma_store(self->k.dma[0], IOVA, 0, 2048));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + 6 * PAGE, PAGE, 61));
	MAP(0, 6);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ioat_unmap(self->t, IOVA, 0);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ASSERT_EQ(0, kiommu_dma_store(self->k.dma[0], IOVA, 0, 2048));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + 6 * PAGE, PAGE, 61));
	/* A function in error keeps its mappings; one without tables, none. */
	MAP(0, 6);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	ASSERT_EQ(0, SET_STATE(ERROR));
	ASSERT_EQ(0, kiommu_dma_store(self->k.dma[0], IOVA, 0, 2048));
	EXPECT_EQ(2048, kiommu_count_equal(self->mem + 6 * PAGE, 2048, 50));
	kiommu_fill(self->mem + 6 * PAGE, PAGE, 62);
	ASSERT_EQ(0, zpci_dereg_ioat(self->vm, self->dev));
	ASSERT_EQ(0, kiommu_dma_store(self->k.dma[0], IOVA, 0, 2048));
	EXPECT_EQ(PAGE, kiommu_count_equal(self->mem + 6 * PAGE, PAGE, 62));
}

TEST_F_TIMEOUT(rpcit, operands, 60)
{
	uint64_t gr1 = (uint64_t)self->fh << 32;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	MAP(0, 0);
#define REGISTERS(_problem, _r2, _gr1) \
	zpci_rpcit_registers(self->vm, _problem, _r2, _gr1, IOVA, PAGE)
	/* Checked in this order: problem state, odd r2, handle. */
	EXPECT_EQ(ZPCI_PROGRAM(PRIVILEGED_OPERATION), REGISTERS(1, 6, gr1));
	EXPECT_EQ(ZPCI_PROGRAM(PRIVILEGED_OPERATION), REGISTERS(1, 7, 0));
	for (unsigned int r2 = 1; r2 < 16; r2 += 2)
		EXPECT_EQ(ZPCI_PROGRAM(SPECIFICATION), REGISTERS(0, r2, gr1));
	EXPECT_EQ(ZPCI_PROGRAM(SPECIFICATION), REGISTERS(0, 15, 0));
	/* Not enabled; QEMU's zPCI gives the host handles with SHM bits. */
	gr1 &= ~((uint64_t)(ZPCI_FH_ENABLED | ZPCI_FH_SHM) << 32);
	EXPECT_EQ(ZPCI_NO_HANDLE, REGISTERS(0, 6, gr1));
	EXPECT_EQ(-EOPNOTSUPP, REGISTERS(0, 6, gr1 | 1ull << 48));
	gr1 = (uint64_t)self->fh << 32;
	/* Not a function of ours: the VMM may know it. */
	EXPECT_EQ(-EOPNOTSUPP, REGISTERS(0, 6, gr1 ^ 1ull << 32));
	EXPECT_EQ(-EOPNOTSUPP, REGISTERS(0, 6, 0xffffffff00000000ull &
					 ~(0xffull << 48)));
	EXPECT_EQ(0, MAPPED());
	/* The rest of r1 does not matter, and is kept; r2 is any pair. */
	for (unsigned int r2 = 0; r2 < 16; r2 += 2) {
		EXPECT_EQ(ZPCI_DONE, REGISTERS(0, r2, gr1 | 0x12345678));
		EXPECT_EQ(1, MAPPED());
	}
	/* It is also kept if there is a status. */
	ASSERT_EQ(0, SET_STATE(ERROR));
	EXPECT_EQ(ZPCI_RECOVER, REGISTERS(0, 6, gr1 | 0xff123456));
}

TEST_F_TIMEOUT(rpcit, ranges, 60)
{
	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	ioat_map_pages(self->t, IOVA, self->gpa, 8, IOAT_RW);
	/* An empty range, anywhere. */
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 0));
	EXPECT_EQ(ZPCI_DONE, RPCIT(0, 0));
	EXPECT_EQ(0, MAPPED());
	/* Each page that has a byte of the range. */
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + PAGE - 1, 1));
	EXPECT_EQ(1, MAPPED());
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + PAGE - 1, 2));
	EXPECT_EQ(2, MAPPED());
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + 2 * PAGE + 123, 2 * PAGE));
	EXPECT_EQ(5, MAPPED());
	/* Below and above what was registered. */
	EXPECT_ERROR(PBA - PAGE, PAGE, RANGE, PBA - PAGE, OK);
	EXPECT_ERROR(0, PAGE, RANGE, 0, OK);
	EXPECT_ERROR(PAL + 1, PAGE, RANGE, PAL + 1, OK);
	/* Across the end of all addresses: no alias of the beginning. */
	EXPECT_ERROR(~0xfffull, 2 * PAGE, RANGE, ~0xfffull, OK);
	EXPECT_ERROR(IOVA, ~0ull, RANGE, IOVA, OK);
	EXPECT_ERROR(IOVA + (1ull << 42), PAGE, RANGE, IOVA + (1ull << 42),
		     OK);
	EXPECT_EQ(5, MAPPED());
	/* The part of a range that is within is done. */
	EXPECT_EQ(ZPCI_DONE, RPCIT(0, PAL + PAGE));
	EXPECT_EQ(8, MAPPED());
	EXPECT_EQ(ZPCI_DONE, RPCIT(PBA - PAGE, 2 * PAGE));
}

TEST_F_TIMEOUT(rpcit, not_registered, 60)
{
	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	ASSERT_EQ(0, zpci_dereg_ioat(self->vm, self->dev));
	EXPECT_ERROR(IOVA, PAGE, ADDRESS_SPACE, IOVA, OK);
	/* User space registers tables, which are not the function's. */
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	EXPECT_ERROR(IOVA, PAGE, ADDRESS_SPACE, IOVA, OK);
	EXPECT_EQ(-EEXIST, zpci_reg_ioat(self->vm, self->dev,
					 ioat_iota(self->t), PBA, PAL));
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, self->dev, ioat_iota(self->t), PBA,
				   PAL));
	/* User space unregisters the function's tables. */
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	EXPECT_ERROR(IOVA, PAGE, ADDRESS_SPACE, IOVA, OK);
	EXPECT_EQ(-EPROTO, zpci_dereg_ioat(self->vm, self->dev));
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, self->dev, ioat_iota(self->t), PBA,
				   PAL));
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
}

/* A bad entry: what lies below is done, and nothing is mapped there. */
static void expect_bad(struct __test_metadata *_metadata,
		       FIXTURE_DATA(rpcit) *self, uint32_t level, uint64_t value,
		       uint32_t pec, uint32_t status)
{
	const uint64_t span = ioat_span(self->t, level);
	uint64_t *entry, good;

	TH_LOG("level %u, entry %#llx", level, (unsigned long long)value);
	for (unsigned int i = 0; i < 3; i++)
		ioat_map(self->t, IOVA + i * span, self->gpa + i * PAGE, 0, IOAT_RW);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, 3 * span));
	ASSERT_EQ(3, MAPPED());
	entry = ioat_entry(self->t, IOVA + span, level, false);
	good = ioat_read(self->t, entry);
	ioat_write(self->t, entry, value);
	ioat_protect(self->t, IOVA, 0);
	expect_error(_metadata, self, IOVA, 3 * span, pec, IOVA + span, status,
		     level + 1);
	EXPECT_EQ(KVM_IOMMU_READ, RIGHTS(IOVA));
	EXPECT_EQ(0, RIGHTS(IOVA + span));
	/* Once the entry is corrected, the RPCIT succeeds. */
	ioat_write(self->t, entry, good);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 3 * span));
	EXPECT_EQ(3, MAPPED());
	EXPECT_EQ(IOAT_RW, RIGHTS(IOVA + span));
	for (unsigned int i = 0; i < 3; i++)
		ioat_unmap(self->t, IOVA + i * span, 0);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 3 * span));
	EXPECT_EQ(0, MAPPED());
}

#define EXPECT_BAD(_level, _value, _pec, _status)			\
	expect_bad(_metadata, self, _level, _value, PEC_##_pec,		\
		   KVM_IOMMU_STATUS_##_status)

TEST_F_TIMEOUT(rpcit, bad_tables, 120)
{
	const uint64_t table = self->t->root;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	for (uint32_t level = 1; level <= 2; level++)
		for (uint64_t type = 0; type <= ZPCI_TYPE; type += 4)
			if (type != (level - 1) << 2)
				EXPECT_BAD(level, table | type | ZPCI_LENGTH,
					   TYPE, ENTRY_TYPE);
	for (uint64_t length = 0; length < 3; length++)
		EXPECT_BAD(2, table | 4 | length, LENGTH, ENTRY_LENGTH);
	EXPECT_BAD(2, table | 4 | ZPCI_LENGTH | 0x40, LENGTH, ENTRY_LENGTH);
	/* Tables and pages outside of the guest's memory. */
	for (uint32_t level = 1; level <= 2; level++)
		EXPECT_BAD(level, ioat_table_value(self->t, level, NOWHERE),
			   ENTRY, NO_SLOT);
	EXPECT_BAD(0, ioat_leaf_value(self->t, 0, NOWHERE, IOAT_RW), ENTRY,
		   NO_SLOT);
}

/*
 * More tables than a round reads, all of them the same empty one; a last page.
 */
TEST_F_TIMEOUT(rpcit, several_rounds, 120)
{
	const uint64_t regions = 17, segments = REGION / SEGMENT;
	const uint64_t last = IOVA + regions * REGION;
	uint64_t segment, region;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	ioat_map(self->t, IOVA, self->gpa, 0, IOAT_RW);
	ioat_unmap(self->t, IOVA, 0);
	segment = ioat_read(self->t, ioat_entry(self->t, IOVA, 1, false));
	for (uint64_t i = 1; i < segments; i++)
		ioat_write(self->t, ioat_entry(self->t, IOVA + i * SEGMENT, 1, true),
			   segment);
	region = ioat_read(self->t, ioat_entry(self->t, IOVA, 2, false));
	for (uint64_t i = 1; i < regions; i++)
		ioat_write(self->t, ioat_entry(self->t, IOVA + i * REGION, 2, true),
			   region);
	ioat_map(self->t, last, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, last + PAGE - IOVA));
	EXPECT_EQ(IOAT_RW, RIGHTS(last));
	EXPECT_EQ(1, MAPPED());
}

/*
 * What Linux does without room: an RPCIT over everything, which frees what it
 * has given up; then it tries again.
 */
TEST_F_TIMEOUT(rpcit, memlock_limit, 60)
{
	const uint64_t allowed = 20;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	kiommu_limit_memlock(kiommu_locked_vm() + allowed * PAGE);
	ioat_map_pages(self->t, IOVA, self->gpa, allowed, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, allowed * PAGE));
	MAP(40, 40);
	EXPECT_EQ(ZPCI_NO_ROOM, RPCIT(IOVA + 40 * PAGE, PAGE));
	EXPECT_EQ(allowed, MAPPED());
	/* This is not an error of the function. */
	EXPECT_EQ(ZPCI_NO_ROOM, RPCIT(IOVA + 40 * PAGE, PAGE));
	EXPECT_EQ(-EPROTO, SET_STATE(ENABLED));
	/* Lazily: pages were given up without an RPCIT. */
	ioat_unmap_pages(self->t, IOVA + 3 * PAGE, 2);
	EXPECT_EQ(ZPCI_NO_ROOM, RPCIT(IOVA + 40 * PAGE, PAGE));
	EXPECT_EQ(ZPCI_DONE, RPCIT(PBA, PAL + 1 - PBA));
	EXPECT_EQ(allowed - 1, MAPPED());
	MAP(41, 41);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + 41 * PAGE, PAGE));
	/* Idle pins make room, too. */
	ASSERT_EQ(0, kiommu_set_idle_limit(self->fd, PAGES));
	ioat_unmap_pages(self->t, IOVA, 10);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, 10 * PAGE));
	EXPECT_EQ(8, kiommu_idle_pages(self->fd));
	ioat_map_pages(self->t, IOVA + 50 * PAGE, self->gpa + 50 * PAGE, 8, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA + 50 * PAGE, 8 * PAGE));
	EXPECT_EQ(allowed, MAPPED());
}

#define STRIDE KIOMMU_2M
#define SCATTERED 400ull

TEST_F_TIMEOUT(rpcit, shadow_limit, 60)
{
	uint64_t mapped;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	close(self->faults);
	self->faults = -1;
	kiommu_teardown(&self->k);
	set_up(_metadata, self, "1");
	for (uint64_t i = 0; i < SCATTERED; i++)
		ioat_map(self->t, IOVA + i * STRIDE, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(ZPCI_NO_ROOM, RPCIT(IOVA, SCATTERED * STRIDE));
	mapped = MAPPED();
	EXPECT_LT(100, mapped);
	EXPECT_GT(SCATTERED, mapped);
	/* The guest gives up the lower half, and flushes. */
	for (uint64_t i = 0; i < SCATTERED / 2; i++)
		ioat_unmap(self->t, IOVA + i * STRIDE, 0);
	/* The host keeps its tables: there is room where pages were mapped. */
	EXPECT_EQ(ZPCI_NO_ROOM, RPCIT(PBA, PAL + 1 - PBA));
	EXPECT_EQ(mapped - SCATTERED / 2, MAPPED());
	ioat_map(self->t, IOVA, self->gpa, 0, IOAT_RW);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, STRIDE));
	EXPECT_EQ(mapped - SCATTERED / 2 + 1, MAPPED());
}

/* An RPCIT with the old handle does not reach the function any more. */
TEST_F_TIMEOUT(rpcit, handle_changes, 60)
{
	const uint32_t fh = self->fh, other = self->fh ^ 0x100;
	const uint32_t disabled = other & ~(ZPCI_FH_ENABLED | ZPCI_FH_SHM);

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	MAP(0, 0);
	ASSERT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit(self->vm, other, IOVA, PAGE));
	ASSERT_EQ(0, zpci_set_handle(self->vm, self->dev, other));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit(self->vm, fh, IOVA, PAGE));
	EXPECT_EQ(ZPCI_DONE, zpci_rpcit(self->vm, other, IOVA, PAGE));
	/* A disabled function has a handle like this. */
	ASSERT_EQ(0, zpci_set_handle(self->vm, self->dev, disabled));
	EXPECT_EQ(-EOPNOTSUPP, zpci_rpcit(self->vm, other, IOVA, PAGE));
	EXPECT_EQ(ZPCI_NO_HANDLE, zpci_rpcit(self->vm, disabled, IOVA, PAGE));
	ASSERT_EQ(0, zpci_set_handle(self->vm, self->dev, fh));
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	EXPECT_EQ(1, MAPPED());
	/* Operations follow the handle, too. */
	ASSERT_EQ(0, zpci_set_handle(self->vm, self->dev, other));
	ASSERT_EQ(0, SET_STATE(ERROR));
	EXPECT_EQ(ZPCI_RECOVER, zpci_rpcit(self->vm, other, IOVA, PAGE));
	ASSERT_EQ(0, zpci_set_handle(self->vm, self->dev, fh));
}

/* Two functions of a guest, in a container each: each has its own tables. */
TEST_F_TIMEOUT(rpcit, function_of_another_container, 60)
{
	struct kiommu_device *dev = &self->k.vfio.dev[1];
	struct kiommu_container own;
	struct ioat *t;
	uint32_t fh;

	if (zpci_lacks_hook(self->vm, self->dev))
		SKIP(return, NO_HOOK);
	if (self->k.vfio.count < 2)
		SKIP(return, "one device");
	kiommu_close_device(&self->k, 1);
	kiommu_group_close(dev);
	kiommu_container_open(&own);
	dev = &own.dev[1];
	ASSERT_EQ(0, kiommu_group_open(&own, dev));
	ASSERT_EQ(0, kiommu_group_attach(&own, dev));
	ASSERT_EQ(0, kiommu_set_iommu(own.fd, VFIO_KVM_IOMMU));
	ASSERT_EQ(0, kiommu_device_open(dev));
	t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_ZPCI, 3);
	ASSERT_EQ(0, zpci_start(self->vm, dev));
	ASSERT_EQ(0, zpci_set_state(self->vm, dev, ZPCI_ENABLED));
	ASSERT_EQ(0, zpci_reg_ioat(self->vm, dev, ioat_iota(t), PBA, PAL));
	fh = zpci_handle(self->vm, dev);
	ASSERT_NE(fh, self->fh);

	MAP(0, 0);
	ioat_map(t, IOVA, self->gpa + PAGE, 0, KVM_IOMMU_READ);
	EXPECT_EQ(ZPCI_DONE, RPCIT(IOVA, PAGE));
	EXPECT_EQ(0, kiommu_mapped_pages(own.fd));
	EXPECT_EQ(ZPCI_DONE, zpci_rpcit(self->vm, fh, IOVA, PAGE));
	EXPECT_EQ(KVM_IOMMU_READ, kiommu_shadow_rights(own.fd, IOVA));
	EXPECT_EQ(IOAT_RW, RIGHTS(IOVA));
	/* One is in error, then stopped: the other one goes on. */
	EXPECT_EQ(ZPCI_IN_ERROR, RPCIT(0, PAGE));
	EXPECT_EQ(ZPCI_DONE, zpci_rpcit(self->vm, fh, IOVA, PAGE));
	ASSERT_EQ(0, zpci_stop(self->vm, self->dev));
	EXPECT_EQ(-EOPNOTSUPP, RPCIT(IOVA, PAGE));
	EXPECT_EQ(ZPCI_DONE, zpci_rpcit(self->vm, fh, IOVA, PAGE));
	ASSERT_EQ(0, zpci_stop(self->vm, dev));
	kiommu_container_close(&own);
}

TEST_HARNESS_MAIN
