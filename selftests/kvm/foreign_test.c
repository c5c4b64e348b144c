// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another process has the container: inherited by fork(), or passed through a
 * socket to a process that has nothing else of the guest. Calls that set a
 * mode, untrack, log or translate fail with EPERM there, in each mode, and
 * change nothing. Calls that need neither the guest's memory nor its tables
 * work.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "faults.h"
#include "kiommu_util.h"
#include "ring.h"
#include "tracked.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define IOVA (KIOMMU_IOVA_BASE + 0x10000000ull)
#define PAGES 64ull
#define MODES (KVM_IOMMU_SYNC_TRACKED + 1u)
#define RING_GPA (GPA + 32 * PAGE)

/* Messages to the other process, and its answers. */
struct order {
	int call; /* index of calls[] */
};

struct answer {
	int ret;
};

FIXTURE(foreign) {
	struct kiommu k;
	int fd;
	struct ioat *t;
	int eventfd;
	uint32_t modes; /* bits: modes that the kernel has */
	pid_t other;
	int to, from; /* pipes to and from the other process */
};

FIXTURE_VARIANT(foreign) {
	bool inherited; /* else the process exists before the container does */
};

FIXTURE_VARIANT_ADD(foreign, inherited) { .inherited = true };
FIXTURE_VARIANT_ADD(foreign, passed) { .inherited = false };

static int set_mode(int fd, uint32_t mode, int kick)
{
	const struct kvm_iommu_set_sync cmd = {
		.size = sizeof(cmd),
		.mode = mode,
		.entries = mode == KVM_IOMMU_SYNC_RING ? 8 : 0,
		.ring = mode == KVM_IOMMU_SYNC_RING ? RING_GPA : 0,
		.kick_fd = mode == KVM_IOMMU_SYNC_RING ? kick : 0,
		.notify_fd = mode == KVM_IOMMU_SYNC_RING ? -1 : 0,
	};

	return kiommu_set_sync(fd, &cmd);
}

static int explicit(int fd)
{
	return set_mode(fd, KVM_IOMMU_SYNC_EXPLICIT, -1);
}

/* With an eventfd of its own, so that all else is right. */
static int ring(int fd)
{
	int kick = eventfd(0, EFD_CLOEXEC);
	int ret = set_mode(fd, KVM_IOMMU_SYNC_RING, kick);

	close(kick);
	return ret;
}

static int tracked(int fd)
{
	return set_mode(fd, KVM_IOMMU_SYNC_TRACKED, -1);
}

static int untrack(int fd)
{
	return kiommu_untrack(fd, 0, -PAGE);
}

static int log_start(int fd)
{
	return kiommu_dirty_log(fd, KVM_IOMMU_DIRTY_START);
}

static int log_stop(int fd)
{
	return kiommu_dirty_log(fd, KVM_IOMMU_DIRTY_STOP);
}

static int log_read(int fd)
{
	uint64_t bits = 0;
	int ret = kiommu_dirty_read(fd, GPA, PAGES * PAGE, &bits, NULL);

	return ret ?: !!bits;
}

static int translate_range(int fd)
{
	struct kvm_iommu_translation record = { .length = 0 };
	struct kvm_iommu_translate_range cmd = {
		.iova = IOVA,
		.length = PAGE,
		.records = (uintptr_t)&record,
		.capacity = 1,
	};
	int ret = kiommu_translate_range(fd, &cmd);

	return ret ?: record.length != PAGE;
}

static int register_any(int fd)
{
	return kiommu_register_identity(fd, 0);
}

static int refresh(int fd)
{
	return kiommu_refresh(fd, IOVA, PAGES * PAGE, NULL);
}

static int info(int fd)
{
	struct kvm_iommu_info info;

	return kiommu_get_info(fd, &info);
}

static int fault_file(int fd)
{
	int faults = kiommu_open_faults(fd, 0);

	if (faults >= 0)
		close(faults);
	return faults < 0 ? faults : 0;
}

static int writable_now(int fd)
{
	uint64_t bits = 0;

	return kiommu_dirty_pages(fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_START) ?:
	       kiommu_get_dirty_pages(fd, IOVA, PAGES * PAGE, &bits, 8) ?:
	       kiommu_dirty_pages(fd, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
}

static const struct call {
	const char *name;
	int (*fn)(int fd);
	bool allowed;
	int without_kvm; /* its error in state created; 0: it works */
	uint32_t mode; /* a mode that the kernel must have */
} calls[] = {
	{ "SET_SYNC EXPLICIT", explicit, false, ENODEV, 0 },
	{ "SET_SYNC RING", ring, false, ENODEV, KVM_IOMMU_SYNC_RING },
	{ "SET_SYNC TRACKED", tracked, false, ENODEV, KVM_IOMMU_SYNC_TRACKED },
	{ "UNTRACK", untrack, false, ENODEV, 0 },
	{ "DIRTY_LOG START", log_start, false, ENODEV, 0 },
	{ "DIRTY_LOG STOP", log_stop, false, ENODEV, 0 },
	{ "DIRTY_LOG READ", log_read, false, ENODEV, 0 },
	{ "TRANSLATE_RANGE", translate_range, false, ENODEV, 0 },
	{ "REGISTER_IOAT", register_any, false, ENODEV, 0 },
	{ "REFRESH", refresh, false, ENODEV, 0 },
	{ "GET_INFO", info, true, 0, 0 },
	{ "GET_FAULT_FD", fault_file, true, 0, 0 },
	{ "DIRTY_PAGES", writable_now, true, 0, 0 },
};

/* Passes a file through a socket: SCM_RIGHTS. */
union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static void send_file(int socket, int fd)
{
	union control control = { .header = {
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int)),
	} };
	struct iovec byte = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	TEST_ASSERT(sendmsg(socket, &message, 0) == 1, "sendmsg: %d", errno);
}

static int receive_file(int socket)
{
	union control control;
	char buffer;
	struct iovec byte = { .iov_base = &buffer, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &byte,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	TEST_ASSERT(recvmsg(socket, &message, 0) == 1, "recvmsg: %d", errno);
	memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
	return fd;
}

/* The other process: does as it is told, until the pipe is closed. */
static void serve(int orders, int answers, int fd)
{
	struct order order;

	while (read(orders, &order, sizeof(order)) == sizeof(order)) {
		struct answer answer = { .ret = calls[order.call].fn(fd) };

		if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

/* @fd: the container, to be inherited; -1: it will be passed by @socket. */
static void start_other(FIXTURE_DATA(foreign) *self, int fd, int socket)
{
	int orders[2], answers[2];

	TEST_ASSERT(!pipe(orders) && !pipe(answers), "pipes: %d", errno);
	self->other = fork();
	if (!self->other) {
		close(orders[1]);
		close(answers[0]);
		serve(orders[0], answers[1], fd >= 0 ? fd : receive_file(socket));
	}
	close(orders[0]);
	close(answers[1]);
	self->to = orders[1];
	self->from = answers[0];
}

static int ask_other(FIXTURE_DATA(foreign) *self, int call)
{
	struct order order = { .call = call };
	struct answer answer;

	TEST_ASSERT(write(self->to, &order, sizeof(order)) == sizeof(order) &&
		    read(self->from, &answer, sizeof(answer)) == sizeof(answer),
		    "the other process is gone");
	return answer.ret;
}

FIXTURE_SETUP(foreign)
{
	int sockets[2];

	if (!variant->inherited) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
			SKIP(return, "the kernel has no sockets");
		start_other(self, -1, sockets[1]);
	}
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	kiommu_vm_add_memory(&self->k.vm, SLOT, GPA, PAGES, 0);
	self->t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(self->t, IOVA, GPA, 2, IOAT_RW);
	self->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->eventfd);
	for (uint32_t mode = 0; mode < MODES; mode++) {
		int ret = set_mode(self->fd, mode, self->eventfd);

		ASSERT_TRUE(!ret || (ret == -EOPNOTSUPP && mode));
		self->modes |= (uint32_t)!ret << mode;
	}
	ASSERT_EQ(0, set_mode(self->fd, KVM_IOMMU_SYNC_EXPLICIT, -1));
	if (variant->inherited)
		start_other(self, self->fd, -1);
	else
		send_file(sockets[0], kiommu_front_fd(self->fd));
}

FIXTURE_TEARDOWN(foreign)
{
	int status = -1;

	close(self->to);
	close(self->from);
	ASSERT_EQ(self->other, waitpid(self->other, &status, 0));
	EXPECT_EQ(0, status);
	close(self->eventfd);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(0, kiommu_await_refs(0));
}

/* Tries each call, and checks that it has not changed the domain. */
static void try_all(struct __test_metadata *_metadata,
		    FIXTURE_DATA(foreign) *self)
{
	struct kvm_iommu_info before, after;

	ASSERT_EQ(0, kiommu_get_info(self->fd, &before));
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		int error = calls[i].allowed ? 0 : EPERM;

		if (!(self->modes >> calls[i].mode & 1))
			continue;
		if (before.state == KVM_IOMMU_STATE_CREATED)
			error = calls[i].without_kvm;
		EXPECT_EQ(-error, ask_other(self, i)) {
			TH_LOG("%s, mode %u", calls[i].name, before.sync);
		}
		ASSERT_EQ(0, kiommu_get_info(self->fd, &after));
		ASSERT_EQ(0, memcmp(&before, &after, sizeof(before))) {
			TH_LOG("%s, mode %u", calls[i].name, before.sync);
		}
	}
}

TEST_F_TIMEOUT(foreign, without_a_log, 120)
{
	for (uint32_t mode = 0; mode < MODES; mode++) {
		if (!(self->modes >> mode & 1))
			continue;
		ASSERT_EQ(0, set_mode(self->fd, mode, self->eventfd));
		try_all(_metadata, self);
		ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
		ASSERT_EQ(0, refresh(self->fd));
		try_all(_metadata, self);
		EXPECT_EQ(2, kiommu_mapped_pages(self->fd));
		/* No log was started. */
		EXPECT_EQ(-ENOENT, log_stop(self->fd));
		ASSERT_EQ(0, kiommu_unregister(self->fd));
	}
	ASSERT_EQ(0, kiommu_stop(self->fd));
	try_all(_metadata, self);
}

/* What is in the log stays there. */
TEST_F_TIMEOUT(foreign, with_a_log, 120)
{
	uint64_t bits = 0;

	ASSERT_EQ(0, log_start(self->fd));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, refresh(self->fd));
	ioat_unmap_pages(self->t, IOVA, 2);
	ASSERT_EQ(0, refresh(self->fd));
	try_all(_metadata, self);
	ASSERT_EQ(0, kiommu_dirty_read(self->fd, GPA, PAGES * PAGE, &bits, NULL));
	EXPECT_EQ(3, *(uint8_t *)&bits);
	EXPECT_EQ(-EEXIST, log_start(self->fd));
}

/*
 * The guest is followed as before; the other process's memory does not count.
 */
TEST_F_TIMEOUT(foreign, stores_are_followed, 120)
{
	uint64_t *entry;

	if (kiommu_host_lacks(KIOMMU_KVM))
		SKIP(return, "%s", kiommu_host_lacks(KIOMMU_KVM));
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_set_tracked(self->fd, 0));
	entry = ioat_entry(self->t, IOVA + 8 * PAGE, 0, false);
	for (int i = 0; i < 3; i++) {
		try_all(_metadata, self);
		kiommu_guest_call(&self->k.vm, kiommu_store, entry + i,
				  ioat_leaf_value(self->t, 0, GPA + i * PAGE,
						  IOAT_RW));
		EXPECT_TRUE(kiommu_maps(self->fd, IOVA + (8 + i) * PAGE,
					GPA + i * PAGE));
		EXPECT_EQ(3, kiommu_tracked_pages(self->fd));
		EXPECT_EQ(0, kiommu_unsynced_pages(self->fd));
	}
}

TEST_HARNESS_MAIN
