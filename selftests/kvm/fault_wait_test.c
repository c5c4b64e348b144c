// SPDX-License-Identifier: GPL-2.0-only
/*
 * Waiting for the faults of a domain: threads that read or poll, what wakes
 * them, and what the file outlives. kiommu_inject.ko reports the faults.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "faults.h"
#include "kiommu_util.h"
#include "userfault.h"

#define PAGE KIOMMU_PAGE
#define RECORDS KVM_IOMMU_FAULT_RECORDS
#define RECORD sizeof(struct kvm_iommu_fault)
#define IOVA (KIOMMU_IOVA_BASE + 0x1234000ull)

FIXTURE(fault_wait) {
	struct kiommu_faulty f;
};

FIXTURE_SETUP(fault_wait)
{
	kiommu_faulty_set_up(&self->f);
}

FIXTURE_TEARDOWN(fault_wait)
{
	kiommu_faulty_tear_down(&self->f);
	EXPECT_EQ(0, kiommu_await_refs(0));
}

#define SET(_flag) __atomic_store_n(&(_flag), true, __ATOMIC_RELEASE)
#define IS_SET(_flag) __atomic_load_n(&(_flag), __ATOMIC_ACQUIRE)

struct reader {
	pthread_t thread;
	int faults;
	pid_t tid;
	ssize_t got;
	struct kvm_iommu_fault record;
	struct kvm_iommu_fault *page;
	bool ready; /* atomic */
};

static void *read_one(void *arg)
{
	struct reader *r = arg;

	r->tid = syscall(SYS_gettid);
	SET(r->ready);
	r->got = kiommu_read_faults(r->faults, &r->record, RECORD);
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

TEST_F_TIMEOUT(fault_wait, readers_wait, 120)
{
	struct reader readers[2];
	struct kvm_iommu_fault record;
	uint64_t seen = 0;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	start_reader(&readers[0], self->f.faults);
	start_reader(&readers[1], self->f.faults);
	/* A reader with O_NONBLOCK does not wait, although others do. */
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, &record, RECORD));
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, 0));
	EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
	kiommu_inject(IOVA, 'w', 1, 0, "irq");
	kiommu_inject(IOVA + PAGE, 'w', 1, 0, "thread");
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
		EXPECT_EQ(RECORD, readers[i].got);
		EXPECT_EQ(1, readers[i].record.count);
		seen |= 1u << readers[i].record.sequence;
	}
	/* Each record was read by one of them. */
	EXPECT_EQ(3, seen);
	EXPECT_EQ(0, kiommu_poll_now(self->f.faults));
}

static void *read_to_page(void *arg)
{
	struct reader *r = arg;

	r->got = kiommu_read_faults(r->faults, r->page, RECORD);
	return NULL;
}

/*
 * Records are being copied to memory whose page is not there yet. A reader with
 * O_NONBLOCK does not wait for that, and is told of the records that are left,
 * even if it waits for edges only.
 */
TEST_F_TIMEOUT(fault_wait, a_reader_waits_for_its_memory, 120)
{
	struct kvm_iommu_fault record;
	struct reader reader = {};
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	char zeroes[PAGE] = {};
	int uffd;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->f.faults, &event));
	reader.faults = self->f.faults;
	reader.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)reader.page);
	uffd = kiommu_uffd_open();
	kiommu_uffd_add(uffd, reader.page, PAGE);
	kiommu_inject(IOVA, 'w', 2, PAGE, "thread");
	ASSERT_EQ(0, pthread_create(&reader.thread, NULL, read_to_page, &reader));
	ASSERT_EQ((void *)reader.page, kiommu_uffd_next(uffd));
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, O_NONBLOCK));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(POLLIN, kiommu_poll_now(self->f.faults));
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(0, kiommu_uffd_answer(uffd, reader.page, zeroes));
	ASSERT_EQ(0, pthread_join(reader.thread, NULL));
	EXPECT_EQ(RECORD, reader.got);
	EXPECT_EQ(IOVA, reader.page->iova);
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	EXPECT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(IOVA + PAGE, record.iova);
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, &record, RECORD));
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, 0));
	munmap(reader.page, PAGE);
	close(uffd);
	close(epoll);
}

static void on_signal(int signal)
{
	(void)signal;
}

TEST_F_TIMEOUT(fault_wait, a_signal_interrupts, 120)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct reader reader;

	ASSERT_EQ(0, sigaction(SIGUSR1, &action, NULL));
	start_reader(&reader, self->f.faults);
	ASSERT_EQ(0, pthread_kill(reader.thread, SIGUSR1));
	ASSERT_EQ(0, pthread_join(reader.thread, NULL));
	EXPECT_EQ(-EINTR, reader.got);
}

TEST_F_TIMEOUT(fault_wait, poll_and_epoll_wake, 120)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(0);
	struct kvm_iommu_fault record;
	int status = -1;
	pid_t child;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_LE(0, epoll);
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->f.faults, &event));
	ASSERT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	child = fork();
	if (!child) {
		kiommu_inject(IOVA, 'w', 1, 0, "irq");
		_exit(0);
	}
	ASSERT_EQ(1, epoll_wait(epoll, &event, 1, -1));
	EXPECT_EQ(EPOLLIN, event.events);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	/* Edge-triggered: a new record is an edge, a repeat is not. */
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	kiommu_inject(IOVA, 'w', 1, 0, "irq");
	EXPECT_EQ(0, epoll_wait(epoll, &event, 1, 0));
	kiommu_inject(IOVA + PAGE, 'w', 1, 0, "irq");
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, 0));
	ASSERT_EQ(RECORD, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(2, record.count);
	close(epoll);
}

/*
 * The file is closed last: it holds the module, queued records can still be
 * read, and then reading returns the end of the file.
 */
TEST_F_TIMEOUT(fault_wait, outlives_the_container, 120)
{
	struct epoll_event event = { .events = EPOLLIN };
	const long refs = kiommu_front_refs(1) + 1;
	int epoll = epoll_create1(0);
	struct kvm_iommu_fault records[4];

	ASSERT_EQ(refs, kiommu_await_refs(refs));
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_ADD, self->f.faults, &event));
	if (self->f.inject)
		kiommu_inject(IOVA, 'w', 2, PAGE, "thread");
	kiommu_teardown(&self->f.k);
	EXPECT_EQ(1, kiommu_await_refs(1));
	EXPECT_EQ(1, epoll_wait(epoll, &event, 1, -1));
	EXPECT_TRUE(event.events & EPOLLHUP);
	if (self->f.inject) {
		/* A driver was just about to report. */
		kiommu_inject(IOVA, 'w', 9, PAGE, "late");
		EXPECT_EQ(9, kiommu_inject_unhandled());
		EXPECT_EQ(POLLIN | POLLHUP, kiommu_poll_now(self->f.faults));
		ASSERT_EQ(2 * RECORD,
			  kiommu_read_faults(self->f.faults, records, sizeof(records)));
		EXPECT_EQ(IOVA + PAGE, records[1].iova);
	}
	EXPECT_EQ(POLLHUP, kiommu_poll_now(self->f.faults));
	EXPECT_EQ(0, kiommu_read_faults(self->f.faults, records, sizeof(records)));
	EXPECT_EQ(-EINVAL, kiommu_read_faults(self->f.faults, records, 1));
	close(self->f.faults);
	self->f.faults = -1;
	EXPECT_EQ(0, kiommu_await_refs(0));
	/* All that it held is free for another container. */
	kiommu_setup(&self->f.k, VFIO_KVM_IOMMU);
	self->f.faults = kiommu_open_faults(self->f.k.vfio.fd, 0);
	ASSERT_LE(0, self->f.faults);
	close(epoll);
}

TEST_F_TIMEOUT(fault_wait, the_end_wakes_who_waits, 120)
{
	struct reader readers[2];

	start_reader(&readers[0], self->f.faults);
	start_reader(&readers[1], self->f.faults);
	kiommu_teardown(&self->f.k);
	for (int i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_join(readers[i].thread, NULL));
		EXPECT_EQ(0, readers[i].got);
	}
	kiommu_setup(&self->f.k, VFIO_KVM_IOMMU);
}

/* Killed with the file open, in read() and without. */
TEST_F_TIMEOUT(fault_wait, killed, 120)
{
	close(self->f.faults);
	self->f.faults = -1;
	kiommu_teardown(&self->f.k);
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
			faults = kiommu_open_faults(k.vfio.fd, 0);
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
		EXPECT_EQ(0, kiommu_await_refs(0));
	}
	kiommu_setup(&self->f.k, VFIO_KVM_IOMMU);
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
		/* Faults before the stop are there for a read after it. */
		bool last = IS_SET(busy->stop);
		ssize_t got = kiommu_read_faults(busy->faults, records, sizeof(records));

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
		kiommu_poll_now(busy->faults);
	return NULL;
}

/* Readers, a poller, and faults in interrupts: each fault is read once. */
TEST_F_TIMEOUT(fault_wait, busy_readers_miss_nothing, 120)
{
	struct busy busy = {};
	pthread_t threads[3];
	struct kvm_iommu_fault record;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_EQ(0, fcntl(self->f.faults, F_SETFL, O_NONBLOCK));
	busy.faults = self->f.faults;
	ASSERT_EQ(0, pthread_create(&threads[0], NULL, keep_reading, &busy));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, keep_reading, &busy));
	ASSERT_EQ(0, pthread_create(&threads[2], NULL, keep_polling, &busy));
	for (unsigned int i = 0; i < 400; i++) {
		uint64_t count = 1 + i % 7 * 50;

		kiommu_inject(i * PAGE, i % 2 ? 'r' : 'w', count, i % 3 ? PAGE : 0,
			      i % 2 ? "irq" : "thread");
		busy.reported += count;
	}
	SET(busy.stop);
	for (int i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(-EAGAIN, kiommu_read_faults(self->f.faults, &record, RECORD));
	EXPECT_EQ(busy.reported, busy.told);
}

static void *keep_reporting(void *arg)
{
	struct busy *busy = arg;

	while (!IS_SET(busy->stop))
		kiommu_inject(IOVA, 'w', 64, PAGE, "late");
	return NULL;
}

/* A driver that reports while the file and its container come and go. */
TEST_F_TIMEOUT(fault_wait, late_reports, 120)
{
	struct busy busy = {};
	pthread_t thread;

	if (!self->f.inject)
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_EQ(0, pthread_create(&thread, NULL, keep_reporting, &busy));
	for (int i = 0; i < 300; i++) {
		close(self->f.faults);
		self->f.faults = kiommu_open_faults(self->f.fd, 0);
		ASSERT_LE(0, self->f.faults);
	}
	for (int i = 0; i < 5; i++) {
		/* File and container are closed last in turn. */
		if (i % 2)
			close(self->f.faults);
		kiommu_teardown(&self->f.k);
		if (!(i % 2))
			close(self->f.faults);
		kiommu_setup(&self->f.k, VFIO_KVM_IOMMU);
		self->f.fd = self->f.k.vfio.fd;
		self->f.faults = kiommu_open_faults(self->f.fd, 0);
		ASSERT_LE(0, self->f.faults);
		ASSERT_TRUE(kiommu_load_inject(&self->f.k.vfio.dev[0]));
	}
	SET(busy.stop);
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

TEST_HARNESS_MAIN
