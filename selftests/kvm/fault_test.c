// SPDX-License-Identifier: GPL-2.0-only
/*
 * The records of a domain's faults: which there are, what they say, what is
 * counted and what is lost; also for blocked devices.
 *
 * Few hosts report a blocked access, so most cases report by kiommu_inject.ko
 * (selftests/modules/inject), which does what a host's IOMMU driver would.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/resource.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "faults.h"
#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define RECORDS KVM_IOMMU_FAULT_RECORDS
#define RECORD sizeof(struct kvm_iommu_fault)

FIXTURE(fault) {
	struct kiommu_faulty f;
};

FIXTURE_SETUP(fault)
{
	kiommu_faulty_set_up(&self->f);
}

FIXTURE_TEARDOWN(fault)
{
	kiommu_faulty_tear_down(&self->f);
	EXPECT_EQ(0, kiommu_await_refs(0));
}

TEST_F_TIMEOUT(fault, one_file_at_a_time, 120)
{
	int fd = self->f.fd, faults = self->f.faults;
	struct kvm_iommu_get_fault_fd arg = { .size = sizeof(arg) };

	EXPECT_TRUE(fcntl(faults, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_RDONLY, fcntl(faults, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	EXPECT_EQ(-EBUSY, kiommu_open_faults(fd, 0));
	EXPECT_EQ(-EBUSY, kiommu_open_faults(fd, KVM_IOMMU_FAULT_FD_NONBLOCK));
	/* A second descriptor refers to the same file. */
	int other = dup(faults);

	ASSERT_LE(0, other);
	close(faults);
	EXPECT_EQ(-EBUSY, kiommu_open_faults(fd, 0));
	close(other);
	self->f.faults = kiommu_open_faults(fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	ASSERT_LE(0, self->f.faults);
	EXPECT_TRUE(fcntl(self->f.faults, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_RDONLY | O_NONBLOCK, fcntl(self->f.faults, F_GETFL) &
		  (O_ACCMODE | O_NONBLOCK));
	/* In each state. */
	for (int i = 0; i < 3; i++) {
		close(self->f.faults);
		if (i == 1)
			ASSERT_EQ(0, kiommu_register_identity(fd, 0));
		if (i == 2)
			ASSERT_EQ(0, kiommu_stop(fd));
		self->f.faults = kiommu_open_faults(fd, 0);
		ASSERT_LE(0, self->f.faults);
	}
	/* A call that is refused creates no file. */
	close(self->f.faults);
	self->f.faults = -1;
	arg.flags = KVM_IOMMU_FAULT_FD_NONBLOCK << 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_ioctl(fd, KVM_IOMMU_GET_FAULT_FD, &arg));
	self->f.faults = kiommu_open_faults(fd, 0);
	ASSERT_LE(0, self->f.faults);
}

/* Without a free descriptor no file is left behind either. */
TEST_F_TIMEOUT(fault, no_descriptor_left, 120)
{
	struct rlimit limit, none;

	close(self->f.faults);
	self->f.faults = -1;
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, kiommu_open_faults(self->f.fd, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	self->f.faults = kiommu_open_faults(self->f.fd, 0);
	ASSERT_LE(0, self->f.faults);
}

TEST_F_TIMEOUT(fault, nothing_to_read, 120)
{
	struct kvm_iommu_fault records[2];

	EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
	EXPECT_EQ(-EINVAL, kiommu_read_faults(self->f.faults, records, 0));
	EXPECT_EQ(-EINVAL, kiommu_read_faults(self->f.faults, records, RECORD - 1));
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, records, RECORD));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, records, sizeof(records)));
	EXPECT_EQ(-1, write(self->f.faults, records, RECORD));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, lseek(self->f.faults, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED,
				   self->f.faults, 0));
}

#define IOVA (KIOMMU_IOVA_BASE + 0x1234000ull)

TEST_F_TIMEOUT(fault, records_are_whole_and_in_order, 120)
{
	struct kiommu_device *dev = &self->f.k.vfio.dev[0];
	struct kvm_iommu_fault records[4];
	char *hole;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	memset(records, 0x5a, sizeof(records));
	kiommu_inject(IOVA + 0x123, 'w', 1, 0, "thread");
	EXPECT_EQ(0, kiommu_inject_unhandled());
	kiommu_inject(IOVA, 'r', 1, 0, "irq");
	kiommu_inject(IOVA + 8, 'w', 5, 16, "irq");
	kiommu_inject(IOVA + PAGE, 'w', 1, 0, "thread");
	EXPECT_EQ(POLLIN, kiommu_poll_now(self->f.faults));
	EXPECT_EQ(-EINVAL, kiommu_read_faults(self->f.faults, records, RECORD - 1));
	/* Bad memory: nothing is lost. */
	hole = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)hole);
	ASSERT_EQ(0, munmap(hole + PAGE, PAGE));
	EXPECT_EQ(-EFAULT, kiommu_read_faults(self->f.faults, hole + PAGE - 8, RECORD));
	EXPECT_EQ(-EFAULT, kiommu_read_faults(self->f.faults, (void *)-4096l, RECORD));
	/* Only whole records are read. */
	ASSERT_EQ(2 * RECORD, kiommu_read_faults(self->f.faults, records, 3 * RECORD - 1));
	EXPECT_EQ(0, records[0].sequence);
	EXPECT_EQ(IOVA + 0x123, records[0].iova);
	EXPECT_EQ(0, records[0].gpa);
	EXPECT_EQ(6, records[0].count);
	EXPECT_EQ(0, records[0].lost);
	EXPECT_EQ(KVM_IOMMU_FAULT_DMA, records[0].reason);
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI,
		  records[0].flags);
	EXPECT_EQ(0, records[0].code);
	EXPECT_EQ(0, records[0].status);
	EXPECT_EQ(0, records[0].format);
	EXPECT_EQ(KVM_IOMMU_WRITE, records[0].access);
	EXPECT_EQ(0, records[0].level);
	EXPECT_EQ(kiommu_fault_device(dev), records[0].device);
	EXPECT_EQ(0, records[0].pasid);
	EXPECT_EQ(0, records[0].group);
	EXPECT_EQ(0, records[0].cookie);
	EXPECT_EQ(0, records[0].length);
	EXPECT_EQ(1, records[1].sequence);
	EXPECT_EQ(KVM_IOMMU_READ, records[1].access);
	EXPECT_EQ(1, records[1].count);
	EXPECT_EQ(0x5a5a5a5a5a5a5a5aull, records[2].sequence);
	EXPECT_EQ(POLLIN, kiommu_poll_now(self->f.faults));
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, records, sizeof(records)));
	EXPECT_EQ(2, records[0].sequence);
	EXPECT_EQ(IOVA + PAGE, records[0].iova);
	EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
	munmap(hole, PAGE);
}

/* While the guest has tables, the code is that of its architecture. */
TEST_F_TIMEOUT(fault, codes_of_the_guest, 120)
{
	struct kiommu_area *area = self->f.k.vm.area;
	struct kvm_iommu_register_ioat anchor;
	struct kvm_iommu_fault record;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	anchor = ioat_anchor(ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3));
	anchor.first = IOVA;
	anchor.last = IOVA + PAGE - 1;
	ASSERT_EQ(0, kiommu_register(self->f.fd, &anchor));
	kiommu_inject(IOVA, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI |
		  KVM_IOMMU_FAULT_HAS_FORMAT, record.flags);
	EXPECT_EQ(KVM_IOMMU_FORMAT_ZPCI, record.format);
	EXPECT_EQ(4, record.code);
	kiommu_inject(IOVA + PAGE, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(2, record.code);
	ASSERT_EQ(0, kiommu_unregister(self->f.fd));
	ASSERT_EQ(0, kiommu_register_tables(self->f.fd,
					    ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3)));
	kiommu_inject(IOVA, 'w', 1, 0, "irq");
	kiommu_inject(IOVA, 'r', 1, 0, "irq");
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FORMAT_VTD_SS, record.format);
	EXPECT_EQ(5, record.code);
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(6, record.code);
	ASSERT_EQ(0, kiommu_stop(self->f.fd));
	kiommu_inject(IOVA, 'r', 1, 0, "thread");
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI, record.flags);
	EXPECT_EQ(0, record.code);
}

/* Faults that nobody reads are left for the driver to log. */
TEST_F_TIMEOUT(fault, nobody_reads, 120)
{
	struct kvm_iommu_fault record;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	kiommu_inject(IOVA, 'w', 3, 0, "thread");
	EXPECT_EQ(0, kiommu_inject_unhandled());
	close(self->f.faults);
	self->f.faults = -1;
	kiommu_inject(IOVA, 'w', 3, 0, "thread");
	EXPECT_EQ(3, kiommu_inject_unhandled());
	self->f.faults = kiommu_open_faults(self->f.fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	ASSERT_LE(0, self->f.faults);
	EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, &record, RECORD));
	kiommu_inject(IOVA, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(0, record.sequence);
	EXPECT_EQ(1, record.count);
}

/* A guest can cause any number of faults while nobody reads. */
TEST_F_TIMEOUT(fault, flood, 120)
{
	static const char * const contexts[] = { "thread", "irq" };
	static struct kvm_iommu_fault records[2 * RECORDS];
	const uint64_t flood = 200000;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	for (unsigned int c = 0; c < ARRAY_SIZE(contexts); c++) {
		/* Each on a page of its own. */
		kiommu_inject(0, 'w', flood, PAGE, contexts[c]);
		EXPECT_EQ(0, kiommu_inject_unhandled());
		/* All on the same page, which is queued. */
		kiommu_inject(3 * PAGE, 'w', flood, 0, contexts[c]);
		ASSERT_EQ(RECORDS * RECORD,
			  kiommu_read_faults(self->f.faults, records, sizeof(records)));
		for (uint64_t i = 0; i < RECORDS; i++) {
			ASSERT_EQ(c * (flood + 1) + i, records[i].sequence);
			ASSERT_EQ(i * PAGE, records[i].iova);
			ASSERT_EQ(i == 3 ? 1 + flood : 1, records[i].count);
			ASSERT_EQ(i ? 0 : flood - RECORDS, records[i].lost);
		}
		EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
		/* The next record is as if nothing had happened. */
		kiommu_inject(IOVA, 'r', 1, 0, contexts[c]);
		ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, records, RECORD));
		EXPECT_EQ((c + 1) * (flood + 1) - 1, records[0].sequence);
		EXPECT_EQ(0, records[0].lost);
	}
}

/* The time in which a blocked access is reported, if it is at all. */
#define TIMEOUT_MS 3000

/* The whole path: the guest has a device access what is not mapped. */
TEST_F_TIMEOUT(fault, blocked_dma_of_a_device, 120)
{
	struct pollfd pollfd = { .fd = self->f.faults, .events = POLLIN };
	struct kiommu *k = &self->f.k;
	const char *host = getenv("KIOMMU_HOST");
	struct kvm_iommu_fault record;

	ASSERT_EQ(0, kiommu_register_identity(self->f.fd, 0));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, kiommu_guest_call(&k->vm, kiommu_dma_store,
					       k->dma[0], IOVA, 0, 64));
	if (poll(&pollfd, 1, TIMEOUT_MS) != 1)
		SKIP(return, "%s: its driver, or the emulation of it, reports no blocked access",
		     host);
	ASSERT_EQ(0, kiommu_guest_call(&k->vm, kiommu_dma_load, k->dma[0],
				       IOVA, 0, 64));
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_DMA, record.reason);
	EXPECT_EQ(IOVA, record.iova & ~(PAGE - 1));
	EXPECT_EQ(KVM_IOMMU_WRITE, record.access);
	EXPECT_TRUE(record.flags & KVM_IOMMU_FAULT_PCI);
	EXPECT_EQ(kiommu_fault_device(&k->vfio.dev[0]), record.device);
	EXPECT_EQ(KVM_IOMMU_FORMAT_IDENTITY, record.format);
	EXPECT_LE(3, record.count);
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_READ, record.access);
}

TEST_HARNESS_MAIN
