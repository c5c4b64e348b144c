// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nothing outlives its users: files are closed in any order, processes exit or
 * are killed at any time, files live on in another process. Pins, references to
 * the module and groups are given back each time.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"

#define GPA KIOMMU_AREA_GPA
#define PAGES 512ull

FIXTURE(life) {
	/* As they were when the test began. */
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(life)
{
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
}

FIXTURE_TEARDOWN(life)
{
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* How a child process sets itself up. */
enum setup { BY_FILE_ADD, BY_START, BY_BOTH, SETUPS };

static void set_up(struct kiommu *k, enum setup how)
{
	int ret = 0;

	kiommu_attach(k, VFIO_KVM_IOMMU);
	if (how != BY_START)
		kiommu_add_groups(k);
	kiommu_open_devices(k);
	if (how != BY_FILE_ADD)
		ret = kiommu_start(k->vfio.fd, k->vm.fd);
	TEST_ASSERT(!ret, "START: %d", ret);
	ret = kiommu_register_identity(k->vfio.fd, 0);
	TEST_ASSERT(!ret, "REGISTER_IOAT: %d", ret);
	ret = kiommu_refresh(k->vfio.fd, GPA, PAGES * KIOMMU_PAGE, NULL);
	TEST_ASSERT(!ret, "REFRESH: %d", ret);
}

/* Runs @part in a child process. Return: its exit status, or -signal. */
static int in_child(struct __test_metadata *_metadata,
		    void (*part)(struct kiommu *k, long arg), long arg)
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		struct kiommu k;

		part(&k, arg);
		_exit(0);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* A whole life, with DMA, shows that the devices can be used again. */
static void fresh_life(struct kiommu *k, long arg)
{
	char *page;

	(void)arg;
	kiommu_setup(k, VFIO_KVM_IOMMU);
	page = kiommu_alloc_page(k->vm.area);
	TEST_ASSERT(!kiommu_register_identity(k->vfio.fd, 0), "REGISTER_IOAT");
	TEST_ASSERT(!kiommu_refresh(k->vfio.fd, kiommu_gpa(k->vm.area, page),
				    KIOMMU_PAGE, NULL), "REFRESH");
	kiommu_fill(page, 128, 7);
	TEST_ASSERT(!kiommu_dma_copy(k->dma[0],
				     kiommu_gpa(k->vm.area, page) + 1024,
				     kiommu_gpa(k->vm.area, page), 128), "DMA");
	TEST_ASSERT(kiommu_count_equal(page + 1024, 128, 7) == 128,
		    "the device does not reach its memory");
	kiommu_teardown(k);
	TEST_ASSERT(kiommu_locked_vm() == k->locked_vm, "locked_vm is not back");
}

/* Exits without closing or unmapping anything. */
static void leave_all(struct kiommu *k, long how)
{
	set_up(k, how);
}

/*
 * KVM_DEV_VFIO_FILE_ADD makes the KVM hold the group, the group holds the
 * container: a container that held the KVM would keep them forever.
 */
TEST_F_TIMEOUT(life, no_cycle_keeps_anything, 120)
{
	for (long how = 0; how < SETUPS; how++) {
		ASSERT_EQ(0, in_child(_metadata, leave_all, how));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
	ASSERT_EQ(0, in_child(_metadata, fresh_life, 0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

enum step { CONTAINER, GROUPS, DEVICES, KVM, KVM_VFIO, STEPS };

static void close_one(struct kiommu *k, enum step what)
{
	struct kiommu_container *c = &k->vfio;

	switch (what) {
	case CONTAINER:
		close(c->fd);
		c->fd = -1;
		break;
	case GROUPS:
		for (unsigned int i = 0; i < c->count; i++)
			kiommu_group_close(&c->dev[i]);
		break;
	case DEVICES:
		for (unsigned int i = 0; i < c->count; i++)
			kiommu_device_close(&c->dev[i]);
		break;
	case KVM:
		kiommu_vm_free(&k->vm);
		break;
	case KVM_VFIO:
		close(k->kvm_vfio);
		k->kvm_vfio = -1;
		break;
	default:
		break;
	}
}

/* @code: the order, a digit to the base STEPS for each step. */
static void close_in_order(struct kiommu *k, long code)
{
	kiommu_attach(k, VFIO_KVM_IOMMU);
	kiommu_add_groups(k);
	for (unsigned int i = 0; i < k->vfio.count; i++)
		TEST_ASSERT(!kiommu_device_open(&k->vfio.dev[i]), "open");
	TEST_ASSERT(!kiommu_register_identity(k->vfio.fd, 0), "REGISTER_IOAT");
	TEST_ASSERT(!kiommu_refresh(k->vfio.fd, GPA, PAGES * KIOMMU_PAGE, NULL),
		    "REFRESH");
	for (int i = 0; i < STEPS; i++, code /= STEPS)
		close_one(k, code % STEPS);
	TEST_ASSERT(kiommu_locked_vm() == k->locked_vm, "locked_vm is not back");
}

/*
 * v4, defect 14: references raced and dangled. A related bug: the last
 * kvm_put_kvm() under a lock that KVM's teardown takes.
 */
TEST_F_TIMEOUT(life, closed_in_any_order, 120)
{
	int orders = 0;

	for (long code = 0; code < STEPS * STEPS * STEPS * STEPS * STEPS; code++) {
		unsigned int seen = 0;
		long rest = code;

		for (int i = 0; i < STEPS; i++, rest /= STEPS)
			seen |= 1u << rest % STEPS;
		/* Each step exactly once; every third order is tried. */
		if (seen != (1u << STEPS) - 1 || orders++ % 3)
			continue;
		ASSERT_EQ(0, in_child(_metadata, close_in_order, code)) {
			TH_LOG("order %ld", code);
		}
		ASSERT_EQ(0, kiommu_await_refs(0));
		ASSERT_EQ(self->kvm_refs, kiommu_kvm_refs());
		ASSERT_EQ(self->pins, kiommu_pins());
	}
	EXPECT_EQ(120, orders);
}

/* Tells the parent that it is busy, and stays busy until it is killed. */
static void busy(struct kiommu *k, long ready)
{
	uint64_t size;

	set_up(k, BY_BOTH);
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;) {
		size = KIOMMU_AREA_SIZE;
		kiommu_unmap_dma(k->vfio.fd, GPA, &size, 0);
		kiommu_refresh(k->vfio.fd, GPA, KIOMMU_AREA_SIZE, NULL);
	}
}

static void idle(struct kiommu *k, long ready)
{
	set_up(k, BY_BOTH);
	if (write(ready, "", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static void kill_child(struct __test_metadata *_metadata,
		       void (*part)(struct kiommu *k, long arg), useconds_t after)
{
	int status = -1, ready[2];
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	child = fork();
	if (!child) {
		struct kiommu k;

		part(&k, ready[1]);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	usleep(after);
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(ready[0]);
}

TEST_F_TIMEOUT(life, killed_with_everything_mapped, 120)
{
	kill_child(_metadata, idle, 0);
	KIOMMU_EXPECT_NOTHING_LEFT();
	ASSERT_EQ(0, in_child(_metadata, fresh_life, 0));
}

/* Mostly in the middle of a REFRESH, which takes a while for 16384 pages. */
TEST_F_TIMEOUT(life, killed_in_a_refresh, 120)
{
	for (int i = 0; i < 5; i++) {
		kill_child(_metadata, busy, 20000 + 17000 * i);
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
	ASSERT_EQ(0, in_child(_metadata, fresh_life, 0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/*
 * The process whose memory is mapped exits while another one holds its files:
 * the device keeps its mappings, and the memory comes back when the other
 * process unsets the anchor.
 */
TEST_F_TIMEOUT(life, files_outlive_the_process, 120)
{
	struct kvm_iommu_translate answer;
	int status = -1, ready[2], go[2];
	char byte;
	pid_t child;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	if (!child) {
		struct kiommu k;

		set_up(&k, BY_BOTH);
		if (!fork()) {
			int fd = k.vfio.fd;

			/* The exit of the owner closes the pipe. */
			close(go[1]);
			if (read(go[0], &byte, 1))
				_exit(1);
			TEST_ASSERT(kiommu_get_state(fd) == KVM_IOMMU_STATE_ANCHORED,
				    "state %d", kiommu_get_state(fd));
			TEST_ASSERT(kiommu_mapped_pages(fd) == PAGES, "mapped");
			TEST_ASSERT(kiommu_pins() >= self->pins + PAGES, "pinned");
			TEST_ASSERT(kiommu_refresh(fd, GPA, KIOMMU_PAGE, NULL) == -EPERM,
				    "REFRESH");
			TEST_ASSERT(kiommu_translate(fd, GPA, &answer) == -EPERM,
				    "TRANSLATE");
			TEST_ASSERT(!kiommu_unregister(fd), "UNREGISTER_IOAT");
			TEST_ASSERT(!kiommu_mapped_pages(fd), "mapped pages");
			TEST_ASSERT(kiommu_pins() == self->pins, "pins");
			TEST_ASSERT(!kiommu_stop(fd), "STOP");
			if (write(ready[1], "", 1) != 1)
				_exit(1);
			_exit(0);
		}
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_EQ(0, status);
	close(go[1]);
	/* There is nothing to read if one of its checks failed. */
	ASSERT_EQ(1, read(ready[0], &byte, 1));
	ASSERT_EQ(0, read(ready[0], &byte, 1));
	kiommu_await_refs(0);
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* A container that never had an open device, or a KVM, or a type. */
static void half_way(struct kiommu *k, long steps)
{
	kiommu_container_open(&k->vfio);
	if (steps > 0)
		TEST_ASSERT(!kiommu_group_open(&k->vfio, &k->vfio.dev[0]), "group");
	if (steps > 1)
		TEST_ASSERT(!kiommu_group_attach(&k->vfio, &k->vfio.dev[0]), "attach");
	if (steps > 2)
		TEST_ASSERT(!kiommu_set_iommu(k->vfio.fd, VFIO_KVM_IOMMU), "type");
	if (steps > 3)
		TEST_ASSERT(!kiommu_device_open(&k->vfio.dev[0]), "device");
	if (steps > 4)
		TEST_ASSERT(kiommu_group_detach(&k->vfio.dev[0]) == -EBUSY,
			    "a group with an open device was detached");
}

TEST_F_TIMEOUT(life, left_half_way, 120)
{
	for (long steps = 0; steps <= 5; steps++) {
		ASSERT_EQ(0, in_child(_metadata, half_way, steps));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
}

TEST_HARNESS_MAIN
