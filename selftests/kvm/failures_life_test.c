// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each thing that can fail fails once, in the life of a container: it is
 * opened, gets groups and its type, devices and a KVM come and go, another
 * group joins and finds what is mapped, everything is closed. See
 * failures_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "failing.h"
#include "world.h"

#define PAGE KIOMMU_PAGE
#define ALL KIOMMU_WORLD_PAGES
#define ANY KIOMMU_ANY_STATUS
#define MAY KIOMMU_MAY
#define OR_NOTHING KIOMMU_OR_NOTHING

FIXTURE(life) {
	struct kiommu_world w;
	struct kiommu *k;
	uint64_t pins;
	uint64_t kvm_refs;
	bool world; /* w is set up, not just w.f.k */
};

/* Opens nothing: each test sets up what it needs. */
FIXTURE_SETUP(life)
{
	if (kiommu_fail_nth_lacks())
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	self->k = &self->w.f.k;
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->w.f.faults = -1;
}

FIXTURE_TEARDOWN(life)
{
	if (self->world)
		kiommu_world_tear_down(&self->w);
	else
		kiommu_teardown(self->k);
	EXPECT_EQ(self->k->locked_vm, kiommu_locked_vm());
	kiommu_set_param("domain_per_group", "0");
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* For a container that may not answer GET_INFO yet: only checks the errors. */
#define EACH_BARE(_call, _answers, _after...) do {			\
	unsigned int _n = 0;						\
	bool _fired = true;						\
									\
	while (_fired) {						\
		int EACH_RET;						\
									\
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++_n);			\
		self->w.status = ANY;					\
		kiommu_fail_nth(_n);					\
		EACH_RET = (_call);					\
		_fired = kiommu_fail_nth_fired();			\
		EXPECT_TRUE(EACH_RET >= 0 || (_fired &&			\
			    kiommu_documented(_answers, EACH_RET,	\
					      self->w.status))) {	\
			TH_LOG("failure %u: %d, status %d", _n, EACH_RET, \
			       self->w.status);				\
		}							\
		_after;							\
	}								\
	TH_LOG("%s: %u failures", #_call, _n - 1);			\
	EXPECT_LT(1, _n);						\
} while (0)

/* Errors of VFIO and of the host's IOMMU driver. */
static const struct kiommu_answer errors[] = {
	MAY(-ENOMEM, ANY), MAY(-EFAULT, ANY), {}
};

static int open_container(void)
{
	int fd = open("/dev/vfio/vfio", O_RDWR);

	return fd < 0 ? -errno : fd;
}

TEST_F_TIMEOUT(life, open, 120)
{
	kiommu_attach(self->k, 0);
	EACH_BARE(open_container(), errors, {
		if (EACH_RET >= 0)
			close(EACH_RET);
	});
}

static void attach_all(struct kiommu *k)
{
	for (unsigned int i = 0; i < k->vfio.count; i++)
		TEST_ASSERT(!kiommu_group_attach(&k->vfio, &k->vfio.dev[i]),
			    "%s: container", k->vfio.dev[i].bdf);
}

static void detach_all(struct kiommu *k)
{
	for (unsigned int i = 0; i < k->vfio.count; i++)
		TEST_ASSERT(!kiommu_group_detach(&k->vfio.dev[i]), "%s: detach",
			    k->vfio.dev[i].bdf);
}

TEST_F_TIMEOUT(life, set_iommu, 240)
{
	const long refs = kiommu_front_refs(1);
	struct kiommu *k = self->k;
	int fd;

	kiommu_attach(k, 0);
	fd = k->vfio.fd;
	if (kiommu_front_lacks(KIOMMU_GROUPS))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_GROUPS));
	EACH_BARE(kiommu_set_iommu(fd, VFIO_KVM_IOMMU), errors, {
		/* It may have the type already, but not the domain. */
		if (!EACH_RET || !kiommu_front_is_file())
			EXPECT_EQ(EACH_RET ? 0 : refs,
				  kiommu_await_refs(EACH_RET ? 0 : refs));
		if (EACH_RET)
			EXPECT_EQ(0, kiommu_set_iommu(fd, VFIO_KVM_IOMMU));
		EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(fd));
		detach_all(k);
		EXPECT_EQ(refs - 1, kiommu_await_refs(refs - 1));
		attach_all(k);
	});
	/* Everything works after that. */
	ASSERT_EQ(0, kiommu_set_iommu(fd, VFIO_KVM_IOMMU));
	kiommu_add_groups(k);
	kiommu_open_devices(k);
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(fd));
}

static const struct kiommu_answer start_answers[] = {
	OR_NOTHING(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY), MAY(-EFAULT, ANY), {}
};

static int do_start(struct kiommu_world *w)
{
	struct kvm_iommu_start arg = {
		.size = sizeof(arg),
		.kvm_fd = w->k->vm.fd,
	};
	int ret = kiommu_ioctl(w->fd, KVM_IOMMU_START, &arg);

	w->status = arg.status;
	return ret;
}

static const struct kiommu_answer copies[] = { OR_NOTHING(-EFAULT, ANY), {} };

static void set_up_world(FIXTURE_DATA(life) *self)
{
	kiommu_world_set_up(&self->w);
	self->world = true;
}

static int anchor(struct kiommu_world *w)
{
	return kiommu_register_tables(w->fd, w->t) ?: kiommu_world_map_own(w);
}

#define EXPECT_CONVERGES() KIOMMU_EXPECT_CONVERGES(&self->w)

TEST_F_TIMEOUT(life, start_and_stop, 240)
{
	struct kiommu_world *w = &self->w;

	set_up_world(self);
	ASSERT_EQ(0, kiommu_stop(w->fd));
	KIOMMU_EACH_FAILURE(w, do_start(w), start_answers, {
		if (EACH_RET)
			EXPECT_EQ(0, do_start(w));
		ASSERT_EQ(0, anchor(w));
		EXPECT_CONVERGES();
		ASSERT_EQ(0, kiommu_stop(w->fd));
	});
	ASSERT_EQ(0, do_start(w));
	ASSERT_EQ(0, anchor(w));
	EXPECT_CONVERGES();
	KIOMMU_EACH_FAILURE(w, kiommu_stop(w->fd), copies, {
		if (!EACH_RET) {
			EXPECT_EQ(self->pins, kiommu_pins());
			ASSERT_EQ(0, do_start(w));
			ASSERT_EQ(0, anchor(w));
		}
		EXPECT_CONVERGES();
	});
}

static int do_unpin(struct kiommu_world *w)
{
	struct kvm_iommu_unpin_memory arg = { .size = sizeof(arg) };
	int ret = kiommu_ioctl(w->fd, KVM_IOMMU_UNPIN_MEMORY, &arg);

	w->status = arg.status;
	return ret;
}

/* -ENODEV: the KVM could not register. */
static const struct kiommu_answer unmap_answers[] = {
	MAY(-ENODEV, ANY), MAY(-EFAULT, ANY), {}
};

/* There is no anchor, so the call has no effect. */
static int do_unmap(struct kiommu_world *w)
{
	uint64_t size = PAGE;
	int ret = kiommu_unmap_dma(w->fd, KIOMMU_WORLD_LEAF, &size, 0);

	return ret == -ENXIO ? 0 : ret;
}

/*
 * The KVM that came with a device registers within the first call. If it
 * cannot, that call fails, and the next one tries again.
 */
static void first_call(struct __test_metadata *_metadata, FIXTURE_DATA(life) *self,
		       int (*call)(struct kiommu_world *w),
		       const struct kiommu_answer *answers)
{
	struct kiommu *k = self->k;

	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	if (!kiommu_nic_lacks())
		kiommu_nic_alone();
	kiommu_setup(k, VFIO_KVM_IOMMU);
	self->w.fd = k->vfio.fd;
	kiommu_close_devices(k);
	kiommu_open_devices(k);
	EACH_BARE(call(&self->w), answers, {
		EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(k->vfio.fd));
		kiommu_close_devices(k);
		EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(k->vfio.fd));
		EXPECT_EQ(self->pins, kiommu_pins());
		kiommu_open_devices(k);
	});
}

TEST_F_TIMEOUT(life, unpin_after_a_device_was_opened, 240)
{
	first_call(_metadata, self, do_unpin, start_answers);
}

TEST_F_TIMEOUT(life, unmap_after_a_device_was_opened, 240)
{
	first_call(_metadata, self, do_unmap, unmap_answers);
}

/* The second group joins a container whose guest has mappings. */
static void join(struct __test_metadata *_metadata, FIXTURE_DATA(life) *self,
		 const char *domain_per_group)
{
	struct kiommu_world *w = &self->w;
	struct kiommu_device *dev = &self->k->vfio.dev[1];

	kiommu_set_param("domain_per_group", domain_per_group);
	set_up_world(self);
	if (kiommu_front_lacks(KIOMMU_GROUPS))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_GROUPS));
	if (w->k->vfio.count < 2)
		SKIP(return, "needs two devices");
	kiommu_close_device(w->k, 1);
	ASSERT_EQ(0, kiommu_group_detach(dev));
	EXPECT_CONVERGES();
	EACH_BARE(kiommu_group_attach(&w->k->vfio, dev), errors, {
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		EXPECT_EQ(0, kiommu_world_unmap(w));
		EXPECT_CONVERGES();
		if (!EACH_RET)
			ASSERT_EQ(0, kiommu_group_detach(dev));
		EXPECT_CONVERGES();
	});
	ASSERT_EQ(0, kiommu_group_attach(&w->k->vfio, dev));
	kiommu_open_device(w->k, 1);
	/* It reaches what was mapped before it joined. */
	kiommu_fill(w->buffer, PAGE, 1);
	EXPECT_EQ(0, kiommu_dma_copy(w->k->dma[1], KIOMMU_WORLD_LEAF,
				     KIOMMU_WORLD_LEAF + PAGE, 128));
	EXPECT_EQ(0, memcmp(w->mem, w->mem + PAGE, 128));
}

TEST_F_TIMEOUT(life, join_a_domain, 240)
{
	join(_metadata, self, "0");
}

TEST_F_TIMEOUT(life, join_with_a_domain_of_its_own, 240)
{
	join(_metadata, self, "1");
}

/*
 * When a device or a group comes or goes, ACPI and the kernel's IOMMU core do
 * work of their own, and do not cope with failures of it: ACPI frees what is in
 * use, and the core warns that a group has not got its own domain back. So only
 * allocations that are charged to a cgroup fail, in VFIO and in the module.
 */
static int cycle_device(struct kiommu_world *w, unsigned int i)
{
	int ret = kiommu_device_open(&w->k->vfio.dev[i]);

	kiommu_device_close(&w->k->vfio.dev[i]);
	return ret;
}

/* The second device, while the first one is in use. */
TEST_F_TIMEOUT(life, device_opened_and_closed, 240)
{
	struct kiommu_world *w = &self->w;

	set_up_world(self);
	if (w->k->vfio.count < 2)
		SKIP(return, "needs two devices");
	EXPECT_CONVERGES();
	kiommu_close_device(w->k, 1);
	kiommu_fail_charged_alone();
	EACH_BARE(cycle_device(w, 1), errors, {
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		EXPECT_EQ(0, cycle_device(w, 1));
	});
}

/* Another group leaves and joins again. */
TEST_F_TIMEOUT(life, leave, 240)
{
	struct kiommu_world *w = &self->w;
	struct kiommu_device *dev = &self->k->vfio.dev[1];

	set_up_world(self);
	if (kiommu_front_lacks(KIOMMU_GROUPS))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_GROUPS));
	if (w->k->vfio.count < 2)
		SKIP(return, "needs two devices");
	kiommu_close_device(w->k, 1);
	EXPECT_CONVERGES();
	kiommu_fail_charged_alone();
	EACH_BARE(kiommu_group_detach(dev), errors, {
		EXPECT_EQ(0, EACH_RET);
		EXPECT_EQ(NULL, kiommu_world_wrong(w));
		ASSERT_EQ(0, kiommu_group_attach(&w->k->vfio, dev));
		EXPECT_CONVERGES();
	});
	kiommu_open_device(w->k, 1);
}

/* A life until its devices are closed: container, groups and guest are left. */
static void live(struct kiommu *k)
{
	kiommu_setup(k, VFIO_KVM_IOMMU);
	TEST_ASSERT(!kiommu_register_identity(k->vfio.fd, 0), "REGISTER_IOAT");
	TEST_ASSERT(!kiommu_dirty_log(k->vfio.fd, KVM_IOMMU_DIRTY_START),
		    "DIRTY_LOG");
	TEST_ASSERT(!kiommu_refresh(k->vfio.fd, k->vm.area->gpa, KIOMMU_2M, NULL),
		    "REFRESH");
	kiommu_close_devices(k);
	/* KVM's VFIO device holds the groups. */
	close(k->kvm_vfio);
	k->kvm_vfio = -1;
}

/* Closes group by group; the last one takes the container with it. */
static int close_files(struct kiommu *k)
{
	close(k->vfio.fd);
	k->vfio.fd = -1;
	for (unsigned int i = 0; i < k->vfio.count; i++)
		kiommu_group_close(&k->vfio.dev[i]);
	return 0;
}

TEST_F_TIMEOUT(life, close, 240)
{
	struct kiommu *k = self->k;

	live(k);
	kiommu_fail_charged_alone();
	EACH_BARE(close_files(k), errors, {
		kiommu_teardown(k);
		EXPECT_EQ(k->locked_vm, kiommu_locked_vm());
		KIOMMU_EXPECT_NOTHING_LEFT();
		live(k);
	});
}

/*
 * With the last device the KVM leaves, by a work item in a kernel thread. What
 * was mapped, pinned and logged is gone whatever fails there.
 */
TEST_F_TIMEOUT(life, last_device_closed, 240)
{
	struct kiommu_world *w = &self->w;
	unsigned int failures = 0, fired = 1;

	if (kiommu_front_lacks(KIOMMU_CONTAINER_RULES))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_CONTAINER_RULES));
	set_up_world(self);
	while (fired) {
		EXPECT_CONVERGES();
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++failures);
		EXPECT_LT(0, kiommu_fail_nth_of("kworker/u", failures));
		for (unsigned int i = 0; i < w->k->vfio.count; i++)
			kiommu_close_device(w->k, i);
		for (int i = 0; i < 1000 && kiommu_pins() != self->pins; i++)
			usleep(10000);
		fired = kiommu_fail_nth_of_fired();
		EXPECT_EQ(self->pins, kiommu_pins());
		EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(w->fd));
		kiommu_world_open_devices(w);
	}
	TH_LOG("%u failures", failures - 1);
	EXPECT_LT(1, failures);
}

TEST_HARNESS_MAIN
