// SPDX-License-Identifier: GPL-2.0-only
/*
 * The file of a domain's faults: how it is made, read and polled, what it
 * outlives, and what is read of it when devices are blocked.
 *
 * Few hosts report a blocked access, so most cases report by kiommu_inject.ko
 * (selftests/inject), which does what the driver of a host's IOMMU would.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define RECORDS KVM_IOMMU_FAULT_RECORDS
#define RECORD sizeof(struct kvm_iommu_fault)
#define INJECT "kiommu_inject"
#define NO_INJECT "there is no /files/" INJECT ".ko"
#define PARAMETERS "/sys/module/" INJECT "/parameters/"

static int open_faults(int fd, uint32_t flags)
{
	struct kvm_iommu_get_fault_fd arg = {
		.size = sizeof(arg),
		.flags = flags,
	};

	return kiommu_ioctl(fd, KVM_IOMMU_GET_FAULT_FD, &arg);
}

/* What read() returned, or -errno. */
static ssize_t read_faults(int faults, void *to, size_t size)
{
	ssize_t ret = read(faults, to, size);

	return ret < 0 ? -errno : ret;
}

/* The events that poll() tells now, of those and of what it always tells. */
static short poll_now(int faults)
{
	struct pollfd pollfd = { .fd = faults, .events = POLLIN | POLLOUT };
	int ret = poll(&pollfd, 1, 0);

	TEST_ASSERT(ret >= 0, "poll: %d", errno);
	return ret ? pollfd.revents : 0;
}

/* 0 or -errno. */
static int write_parameter(const char *name, const char *value)
{
	char path[128];
	int fd, ret = 0;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* Loads kiommu_inject.ko, for this device. */
static bool load_inject(const struct kiommu_device *dev)
{
	int fd = open("/files/" INJECT ".ko", O_RDONLY);
	int ret;

	if (fd < 0)
		return false;
	ret = syscall(SYS_finit_module, fd, "", 0);
	TEST_ASSERT(!ret || errno == EEXIST, INJECT ".ko: %d", errno);
	close(fd);
	TEST_ASSERT(!write_parameter("device", dev->bdf), "%s", dev->bdf);
	return true;
}

static void unload_inject(void)
{
	TEST_ASSERT(!syscall(SYS_delete_module, INJECT, O_NONBLOCK),
		    INJECT ".ko stays: %d", errno);
}

/* @access: 'r', 'w'. @context: "thread", "irq", "late". */
static void inject(uint64_t iova, char access, uint64_t count, uint64_t stride,
		   const char *context)
{
	char text[128];
	int ret;

	snprintf(text, sizeof(text), "%#llx %c %llu %#llx %s",
		 (unsigned long long)iova, access, (unsigned long long)count,
		 (unsigned long long)stride, context);
	ret = write_parameter("report", text);
	TEST_ASSERT(!ret, "%s: %d", text, ret);
}

/* Of the last reports, those that nobody wanted. */
static long unhandled(void)
{
	FILE *file = fopen(PARAMETERS "unhandled", "r");
	long count = -1;

	TEST_ASSERT(file && fscanf(file, "%ld", &count) == 1, "unhandled");
	fclose(file);
	return count;
}

/* How a device is named in a record. */
static uint32_t name_of(const struct kiommu_device *dev)
{
	unsigned int segment, bus, slot, function;

	TEST_ASSERT(sscanf(dev->bdf, "%x:%x:%x.%x", &segment, &bus, &slot,
			   &function) == 4, "%s", dev->bdf);
	return segment << 16 | bus << 8 | slot << 3 | function;
}

FIXTURE(fault) {
	struct kiommu k;
	int fd; /* the container's */
	int faults; /* the file; without O_NONBLOCK */
	bool inject;
};

FIXTURE_SETUP(fault)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->faults = open_faults(self->fd, 0);
	ASSERT_LE(0, self->faults);
	self->inject = load_inject(&self->k.vfio.dev[0]);
}

FIXTURE_TEARDOWN(fault)
{
	if (self->inject)
		unload_inject();
	if (self->faults >= 0)
		close(self->faults);
	kiommu_teardown(&self->k);
	EXPECT_EQ(0, kiommu_module_refs());
}

TEST_F_TIMEOUT(fault, one_file_at_a_time, 120)
{
	int fd = self->fd, faults = self->faults;
	struct kvm_iommu_get_fault_fd arg = { .size = sizeof(arg) };

	EXPECT_TRUE(fcntl(faults, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_RDONLY, fcntl(faults, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	EXPECT_EQ(-EBUSY, open_faults(fd, 0));
	EXPECT_EQ(-EBUSY, open_faults(fd, KVM_IOMMU_FAULT_FD_NONBLOCK));
	/* A second descriptor of it is the same file. */
	int other = dup(faults);

	ASSERT_LE(0, other);
	close(faults);
	EXPECT_EQ(-EBUSY, open_faults(fd, 0));
	close(other);
	self->faults = open_faults(fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	ASSERT_LE(0, self->faults);
	EXPECT_TRUE(fcntl(self->faults, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(O_RDONLY | O_NONBLOCK, fcntl(self->faults, F_GETFL) &
		  (O_ACCMODE | O_NONBLOCK));
	/* In each state. */
	for (int i = 0; i < 3; i++) {
		close(self->faults);
		if (i == 1)
			ASSERT_EQ(0, kiommu_register_identity(fd, 0));
		if (i == 2)
			ASSERT_EQ(0, kiommu_stop(fd));
		self->faults = open_faults(fd, 0);
		ASSERT_LE(0, self->faults);
	}
	/* A struct that cannot be read makes no file. */
	close(self->faults);
	self->faults = -1;
	arg.flags = KVM_IOMMU_FAULT_FD_NONBLOCK << 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_ioctl(fd, KVM_IOMMU_GET_FAULT_FD, &arg));
	self->faults = open_faults(fd, 0);
	ASSERT_LE(0, self->faults);
}

/* No descriptor is left: no file is either. */
TEST_F_TIMEOUT(fault, no_descriptor_left, 120)
{
	struct rlimit limit, none;

	close(self->faults);
	self->faults = -1;
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, open_faults(self->fd, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	self->faults = open_faults(self->fd, 0);
	ASSERT_LE(0, self->faults);
}

TEST_F_TIMEOUT(fault, nothing_to_read, 120)
{
	struct kvm_iommu_fault records[2];

	EXPECT_EQ(0, poll_now(self->faults));
	EXPECT_EQ(-EINVAL, read_faults(self->faults, records, 0));
	EXPECT_EQ(-EINVAL, read_faults(self->faults, records, RECORD - 1));
	ASSERT_EQ(0, fcntl(self->faults, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, read_faults(self->faults, records, RECORD));
	EXPECT_EQ(-EAGAIN, read_faults(self->faults, records, sizeof(records)));
	EXPECT_EQ(-1, write(self->faults, records, RECORD));
	EXPECT_EQ(EBADF, errno);
	EXPECT_EQ(-1, lseek(self->faults, 0, SEEK_SET));
	EXPECT_EQ(ESPIPE, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED,
				   self->faults, 0));
}

#define IOVA (KIOMMU_IOVA_BASE + 0x1234000ull)

TEST_F_TIMEOUT(fault, records_are_whole_and_in_order, 120)
{
	struct kiommu_device *dev = &self->k.vfio.dev[0];
	struct kvm_iommu_fault records[4];
	char *hole;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	memset(records, 0x5a, sizeof(records));
	inject(IOVA + 0x123, 'w', 1, 0, "thread");
	EXPECT_EQ(0, unhandled());
	inject(IOVA, 'r', 1, 0, "irq");
	inject(IOVA + 8, 'w', 5, 16, "irq");
	inject(IOVA + PAGE, 'w', 1, 0, "thread");
	EXPECT_EQ(POLLIN, poll_now(self->faults));
	EXPECT_EQ(-EINVAL, read_faults(self->faults, records, RECORD - 1));
	/* Bad memory: nothing is lost. */
	hole = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)hole);
	ASSERT_EQ(0, munmap(hole + PAGE, PAGE));
	EXPECT_EQ(-EFAULT, read_faults(self->faults, hole + PAGE - 8, RECORD));
	EXPECT_EQ(-EFAULT, read_faults(self->faults, (void *)-4096l, RECORD));
	/* Whole ones alone. */
	ASSERT_EQ(2 * RECORD, read_faults(self->faults, records, 3 * RECORD - 1));
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
	EXPECT_EQ(name_of(dev), records[0].device);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ(0, records[0].__reserved[i]);
	EXPECT_EQ(1, records[1].sequence);
	EXPECT_EQ(KVM_IOMMU_READ, records[1].access);
	EXPECT_EQ(1, records[1].count);
	EXPECT_EQ(0x5a5a5a5a5a5a5a5aull, records[2].sequence);
	EXPECT_EQ(POLLIN, poll_now(self->faults));
	ASSERT_EQ(RECORD, read_faults(self->faults, records, sizeof(records)));
	EXPECT_EQ(2, records[0].sequence);
	EXPECT_EQ(IOVA + PAGE, records[0].iova);
	EXPECT_EQ(0, poll_now(self->faults));
	munmap(hole, PAGE);
}

/* Where the guest's tables are: the code is its architecture's. */
TEST_F_TIMEOUT(fault, codes_of_the_guest, 120)
{
	struct kiommu_area *area = self->k.vm.area;
	struct kvm_iommu_register_ioat anchor;
	struct kvm_iommu_fault record;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	anchor = ioat_anchor(ioat_new(area, KVM_IOMMU_FORMAT_ZPCI, 3));
	anchor.first = IOVA;
	anchor.last = IOVA + PAGE - 1;
	ASSERT_EQ(0, kiommu_register(self->fd, &anchor));
	inject(IOVA, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI |
		  KVM_IOMMU_FAULT_HAS_FORMAT, record.flags);
	EXPECT_EQ(KVM_IOMMU_FORMAT_ZPCI, record.format);
	EXPECT_EQ(4, record.code);
	inject(IOVA + PAGE, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(2, record.code);
	ASSERT_EQ(0, kiommu_unregister(self->fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd,
					    ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3)));
	inject(IOVA, 'w', 1, 0, "irq");
	inject(IOVA, 'r', 1, 0, "irq");
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FORMAT_VTD_SS, record.format);
	EXPECT_EQ(5, record.code);
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(6, record.code);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	inject(IOVA, 'r', 1, 0, "thread");
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_PCI, record.flags);
	EXPECT_EQ(0, record.code);
}

/* A driver logs what nobody reads. */
TEST_F_TIMEOUT(fault, nobody_reads, 120)
{
	struct kvm_iommu_fault record;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	inject(IOVA, 'w', 3, 0, "thread");
	EXPECT_EQ(0, unhandled());
	close(self->faults);
	self->faults = -1;
	inject(IOVA, 'w', 3, 0, "thread");
	EXPECT_EQ(3, unhandled());
	self->faults = open_faults(self->fd, KVM_IOMMU_FAULT_FD_NONBLOCK);
	ASSERT_LE(0, self->faults);
	EXPECT_EQ(0, poll_now(self->faults));
	EXPECT_EQ(-EAGAIN, read_faults(self->faults, &record, RECORD));
	inject(IOVA, 'w', 1, 0, "thread");
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(0, record.sequence);
	EXPECT_EQ(1, record.count);
}

/* What a guest can make happen while nobody reads: as much as it likes. */
TEST_F_TIMEOUT(fault, flood, 120)
{
	static const char * const contexts[] = { "thread", "irq" };
	static struct kvm_iommu_fault records[2 * RECORDS];
	const uint64_t flood = 200000;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	for (unsigned int c = 0; c < ARRAY_SIZE(contexts); c++) {
		/* Each on a page of its own. */
		inject(0, 'w', flood, PAGE, contexts[c]);
		EXPECT_EQ(0, unhandled());
		/* All on the same page, which is queued. */
		inject(3 * PAGE, 'w', flood, 0, contexts[c]);
		ASSERT_EQ(RECORDS * RECORD, read_faults(self->faults, records,
							sizeof(records)));
		for (uint64_t i = 0; i < RECORDS; i++) {
			ASSERT_EQ(c * (flood + 1) + i, records[i].sequence);
			ASSERT_EQ(i * PAGE, records[i].iova);
			ASSERT_EQ(i == 3 ? 1 + flood : 1, records[i].count);
			ASSERT_EQ(i ? 0 : flood - RECORDS, records[i].lost);
		}
		EXPECT_EQ(0, poll_now(self->faults));
		/* As if nothing had been. */
		inject(IOVA, 'r', 1, 0, contexts[c]);
		ASSERT_EQ(RECORD, read_faults(self->faults, records, RECORD));
		EXPECT_EQ((c + 1) * (flood + 1) - 1, records[0].sequence);
		EXPECT_EQ(0, records[0].lost);
	}
}

#define SET(_flag) __atomic_store_n(&(_flag), true, __ATOMIC_RELEASE)
#define IS_SET(_flag) __atomic_load_n(&(_flag), __ATOMIC_ACQUIRE)

struct reader {
	pthread_t thread;
	int faults;
	pid_t tid;
	ssize_t got;
	struct kvm_iommu_fault record;
	bool ready; /* atomic */
};

static void *read_one(void *arg)
{
	struct reader *r = arg;

	r->tid = syscall(SYS_gettid);
	SET(r->ready);
	r->got = read_faults(r->faults, &r->record, RECORD);
	return NULL;
}

/* Whether a thread of this process sleeps, so that a signal will wake it. */
static bool sleeps(pid_t tid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state == 'S';
}

static void start_reader(struct reader *r, int faults)
{
	memset(r, 0, sizeof(*r));
	r->faults = faults;
	TEST_ASSERT(!pthread_create(&r->thread, NULL, read_one, r), "thread");
	while (!IS_SET(r->ready) || !sleeps(r->tid))
		usleep(1000);
}

TEST_F_TIMEOUT(fault, readers_wait, 120)
{
	struct reader readers[2];
	struct kvm_iommu_fault record;
	uint64_t seen = 0;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	start_reader(&readers[0], self->faults);
	start_reader(&readers[1], self->faults);
	/* One who may not wait does not, though others do. */
	ASSERT_EQ(0, fcntl(self->faults, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, read_faults(self->faults, &record, RECORD));
	ASSERT_EQ(0, fcntl(self->faults, F_SETFL, 0));
	EXPECT_EQ(0, poll_now(self->faults));
	inject(IOVA, 'w', 1, 0, "irq");
	inject(IOVA + PAGE, 'w', 1, 0, "thread");
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
		EXPECT_EQ(RECORD, readers[i].got);
		EXPECT_EQ(1, readers[i].record.count);
		seen |= 1u << readers[i].record.sequence;
	}
	/* Each told to one of them. */
	EXPECT_EQ(3, seen);
	EXPECT_EQ(0, poll_now(self->faults));
}

static void on_signal(int signal)
{
	(void)signal;
}

TEST_F_TIMEOUT(fault, a_signal_interrupts, 120)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct reader reader;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	start_reader(&reader, self->faults);
	ASSERT_EQ(0, pthread_kill(reader.thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(reader.thread, NULL));
	EXPECT_EQ(-EINTR, reader.got);
}

TEST_F_TIMEOUT(fault, poll_and_epoll_wake, 120)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(0);
	struct kvm_iommu_fault record;
	int status = -1;
	pid_t child;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->faults, &event));
	ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	child = fork();
	if (!child) {
		inject(IOVA, 'w', 1, 0, "irq");
		_exit(0);
	}
	ASSERT_EQ(1, epoll_wait(epoll, &event, 1, -1));
	EXPECT_EQ(EPOLLIN, event.events);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* Edges: each new record is one, a repeat is none. */
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	inject(IOVA, 'w', 1, 0, "irq");
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	inject(IOVA + PAGE, 'w', 1, 0, "irq");
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(2, record.count);
	close(epoll);
}

/*
 * The file is the last to be closed: it holds the module, what is queued can
 * be read, and then its end is told.
 */
TEST_F_TIMEOUT(fault, outlives_the_container, 120)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(0);
	struct kvm_iommu_fault records[4];

	ASSERT_EQ(2, kiommu_module_refs());
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->faults, &event));
	if (self->inject)
		inject(IOVA, 'w', 2, PAGE, "thread");
	kiommu_teardown(&self->k);
	EXPECT_EQ(1, kiommu_module_refs());
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, -1));
	EXPECT_TRUE(event.events & EPOLLHUP);
	if (self->inject) {
		/* The driver was on its way. */
		inject(IOVA, 'w', 9, PAGE, "late");
		EXPECT_EQ(9, unhandled());
		EXPECT_EQ(POLLIN | POLLHUP, poll_now(self->faults));
		ASSERT_EQ(2 * RECORD, read_faults(self->faults, records,
						  sizeof(records)));
		EXPECT_EQ(IOVA + PAGE, records[1].iova);
	}
	EXPECT_EQ(POLLHUP, poll_now(self->faults));
	EXPECT_EQ(0, read_faults(self->faults, records, sizeof(records)));
	EXPECT_EQ(-EINVAL, read_faults(self->faults, records, 1));
	close(self->faults);
	self->faults = -1;
	EXPECT_EQ(0, kiommu_module_refs());
	/* All that it held is free for another one. */
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->faults = open_faults(self->k.vfio.fd, 0);
	ASSERT_LE(0, self->faults);
	close(epoll);
}

TEST_F_TIMEOUT(fault, the_end_wakes_who_waits, 120)
{
	struct reader readers[2];

	start_reader(&readers[0], self->faults);
	start_reader(&readers[1], self->faults);
	kiommu_teardown(&self->k);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
		EXPECT_EQ(0, readers[i].got);
	}
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
}

/* Killed with the file open, in read() and without. */
TEST_F_TIMEOUT(fault, killed, 120)
{
	close(self->faults);
	self->faults = -1;
	kiommu_teardown(&self->k);
	for (int waits = 0; waits < 2; waits++) {
		int status = -1, ready[2];
		pid_t child;
		char byte;

		ASSERT_EQ(0, pipe(ready));
		child = fork();
		if (!child) {
			struct reader reader;
			struct kiommu k;
			int faults;

			kiommu_setup(&k, VFIO_KVM_IOMMU);
			faults = open_faults(k.vfio.fd, 0);
			TEST_ASSERT(faults >= 0, "GET_FAULT_FD: %d", faults);
			if (waits)
				start_reader(&reader, faults);
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		close(ready[1]);
		ASSERT_EQ(1, read(ready[0], &byte, 1));
		close(ready[0]);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(0, kiommu_module_refs());
	}
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
}

struct busy {
	int faults;
	bool stop; /* atomic */
	uint64_t told;
	uint64_t reported;
};

static void *keep_reading(void *arg)
{
	struct busy *busy = arg;
	struct kvm_iommu_fault records[16];
	uint64_t told = 0;

	for (;;) {
		/* What comes before the stop is there for who reads after it. */
		bool last = IS_SET(busy->stop);
		ssize_t got = read_faults(busy->faults, records, sizeof(records));

		if (got == -EAGAIN && last)
			break;
		if (got == -EAGAIN)
			continue;
		TEST_ASSERT(got > 0 && got % RECORD == 0, "read: %zd", got);
		for (ssize_t i = 0; i < got / (ssize_t)RECORD; i++)
			told += records[i].count + records[i].lost;
	}
	__sync_fetch_and_add(&busy->told, told);
	return NULL;
}

static void *keep_polling(void *arg)
{
	struct busy *busy = arg;

	while (!IS_SET(busy->stop))
		poll_now(busy->faults);
	return NULL;
}

/* Readers, a poller, and faults in interrupts: each is told once. */
TEST_F_TIMEOUT(fault, busy_readers_miss_nothing, 120)
{
	struct busy busy = {};
	pthread_t threads[3];
	struct kvm_iommu_fault record;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	ASSERT_EQ(0, fcntl(self->faults, F_SETFL, O_NONBLOCK));
	busy.faults = self->faults;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, keep_reading, &busy));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, keep_reading, &busy));
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, keep_polling, &busy));
	for (unsigned int i = 0; i < 400; i++) {
		uint64_t count = 1 + i % 7 * 50;

		inject(i * PAGE, i % 2 ? 'r' : 'w', count, i % 3 ? PAGE : 0,
		       i % 2 ? "irq" : "thread");
		busy.reported += count;
	}
	SET(busy.stop);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(-EAGAIN, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(busy.reported, busy.told);
}

static void *keep_reporting(void *arg)
{
	struct busy *busy = arg;

	while (!IS_SET(busy->stop))
		inject(IOVA, 'w', 64, PAGE, "late");
	return NULL;
}

/* A driver that reports while the file and its container come and go. */
TEST_F_TIMEOUT(fault, late_reports, 120)
{
	struct busy busy = {};
	pthread_t thread;

	if (!self->inject)
		SKIP(return, NO_INJECT);
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_reporting, &busy));
	for (int i = 0; i < 300; i++) {
		close(self->faults);
		self->faults = open_faults(self->fd, 0);
		ASSERT_LE(0, self->faults);
	}
	for (int i = 0; i < 5; i++) {
		/* Which of the two is last? */
		if (i % 2)
			close(self->faults);
		kiommu_teardown(&self->k);
		if (!(i % 2))
			close(self->faults);
		kiommu_setup(&self->k, VFIO_KVM_IOMMU);
		self->fd = self->k.vfio.fd;
		self->faults = open_faults(self->fd, 0);
		ASSERT_LE(0, self->faults);
		write_parameter("device", self->k.vfio.dev[0].bdf);
	}
	SET(busy.stop);
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

/* How long a blocked access may take to be told, where it is told at all. */
#define PATIENCE_MS 3000

/* The whole way: a device that the guest lets loose on what is not mapped. */
TEST_F_TIMEOUT(fault, blocked_dma_of_a_device, 120)
{
	struct pollfd pollfd = { .fd = self->faults, .events = POLLIN };
	struct kiommu *k = &self->k;
	const char *host = getenv("KIOMMU_HOST");
	struct kvm_iommu_fault record;

	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, kiommu_guest_call(&k->vm, kiommu_dma_store,
					       k->dma[0], IOVA, 0, 64));
	if (poll(&pollfd, 1, PATIENCE_MS) != 1)
		SKIP(return, "%s: its driver, or the emulation of it, reports no blocked access",
		     host);
	ASSERT_EQ(0, kiommu_guest_call(&k->vm, kiommu_dma_load, k->dma[0],
				       IOVA, 0, 64));
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_FAULT_DMA, record.reason);
	EXPECT_EQ(IOVA, record.iova & ~(PAGE - 1));
	EXPECT_EQ(KVM_IOMMU_WRITE, record.access);
	EXPECT_TRUE(record.flags & KVM_IOMMU_FAULT_PCI);
	EXPECT_EQ(name_of(&k->vfio.dev[0]), record.device);
	EXPECT_EQ(KVM_IOMMU_FORMAT_IDENTITY, record.format);
	EXPECT_LE(3, record.count);
	ASSERT_EQ(RECORD, read_faults(self->faults, &record, RECORD));
	EXPECT_EQ(KVM_IOMMU_READ, record.access);
}

TEST_HARNESS_MAIN
