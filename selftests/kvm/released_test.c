// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls that are under way when VFIO releases the container: its last group
 * leaves while a call waits for a page of the guest's memory, and other calls
 * wait for that call. These fail with ESTALE, and with a status that tells the
 * reason. If the domain has a file, only its devices have gone: all calls succeed.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "tenant.h"
#include "userfault.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define CALLS 4

struct caller {
	pthread_t thread;
	pid_t tid; /* atomic */
	int fd;
	struct kiommu_tenant *tenant;
	int ret;
	uint32_t status;
};

FIXTURE(released) {
	struct kiommu_tenant t;
	int uffd;
	char *late; /* a page at GPA that is missing until come_free() */
	char *mem;
	struct caller stuck, releaser, call[CALLS];
	uint64_t pins;
	long kvm_refs;
};

static void enter(struct caller *c)
{
	__atomic_store_n(&c->tid, syscall(SYS_gettid), __ATOMIC_RELEASE);
}

static void *refresh_late(void *arg)
{
	struct caller *c = arg;

	enter(c);
	c->ret = kiommu_refresh(c->fd, GPA, PAGE, NULL);
	return NULL;
}

/* Detaches the group, which releases all that the container has. */
static void *release(void *arg)
{
	struct caller *c = arg;

	enter(c);
	c->ret = kiommu_group_detach(c->tenant->dev);
	return NULL;
}

static void *call(void *arg)
{
	struct caller *c = arg;
	struct kvm_iommu_refresh cmd = {
		.size = sizeof(cmd),
		.iova = GPA,
		.length = PAGE,
		.status = ~0u,
	};

	enter(c);
	c->ret = kiommu_ioctl(c->fd, KVM_IOMMU_REFRESH, &cmd);
	c->status = cmd.status;
	return NULL;
}

static void start(FIXTURE_DATA(released) *self, struct caller *c,
		  void *(*fn)(void *arg))
{
	memset(c, 0, sizeof(*c));
	c->fd = self->t.vfio.fd;
	c->tenant = &self->t;
	TEST_ASSERT(!pthread_create(&c->thread, NULL, fn, c), "no thread");
}

FIXTURE_SETUP(released)
{
	if (kiommu_uffd_lacks())
		SKIP(return, "%s", kiommu_uffd_lacks());
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	self->mem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->mem);
}

FIXTURE_TEARDOWN(released)
{
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* A call waits for the page, the device is closed, its group is leaving. */
static void get_stuck(struct __test_metadata *_metadata,
		      FIXTURE_DATA(released) *self)
{
	struct kiommu_tenant *t = &self->t;

	kiommu_tenant_set_up(t, 0);
	ASSERT_EQ(0, kiommu_device_open(t->dev));
	ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(t->vfio.fd));
	self->late = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->late);
	self->uffd = kiommu_uffd_open();
	kiommu_uffd_add(self->uffd, self->late, PAGE);
	ASSERT_EQ(0, kiommu_vm_set_slot(&t->vm, KIOMMU_FREE_SLOT, 0, GPA, PAGE,
					self->late));
	ASSERT_EQ(0, kiommu_register_identity(t->vfio.fd, 0));
	start(self, &self->stuck, refresh_late);
	ASSERT_EQ(self->late, kiommu_uffd_next(self->uffd));
	kiommu_device_close(t->dev);
	start(self, &self->releaser, release);
	ASSERT_TRUE(kiommu_thread_reaches(getpid(), &self->releaser.tid, 'D'));
}

static void come_free(struct __test_metadata *_metadata,
		      FIXTURE_DATA(released) *self)
{
	ASSERT_EQ(0, kiommu_uffd_answer(self->uffd, self->late, self->mem));
	pthread_join(self->stuck.thread, NULL);
	pthread_join(self->releaser.thread, NULL);
	EXPECT_EQ(0, self->stuck.ret);
	EXPECT_EQ(0, self->releaser.ret);
	for (int i = 0; i < CALLS; i++)
		pthread_join(self->call[i].thread, NULL);
	/* The container has no type any more, and can get one again. */
	EXPECT_EQ(kiommu_front_is_file() ? KVM_IOMMU_STATE_ANCHORED : -EINVAL,
		  kiommu_get_state(self->t.vfio.fd));
	EXPECT_EQ(0, kiommu_group_attach(&self->t.vfio, self->t.dev));
	EXPECT_EQ(0, kiommu_set_iommu(self->t.vfio.fd, VFIO_KVM_IOMMU));
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(self->t.vfio.fd));
	kiommu_tenant_tear_down(&self->t);
	munmap(self->late, PAGE);
	close(self->uffd);
}

/* Calls that come before the release fail because no KVM is registered. */
TEST_F_TIMEOUT(released, calls_under_way, 240)
{
	bool told = false;

	while (!told) {
		get_stuck(_metadata, self);
		for (int i = 0; i < CALLS; i++) {
			start(self, &self->call[i], call);
			ASSERT_TRUE(kiommu_thread_reaches(getpid(),
							  &self->call[i].tid, 'D'));
		}
		come_free(_metadata, self);
		for (int i = 0; i < CALLS; i++) {
			const struct caller *c = &self->call[i];

			if (kiommu_front_is_file()) {
				EXPECT_EQ(0, c->ret);
				told = true;
			} else if (c->ret == -ESTALE) {
				EXPECT_EQ(KVM_IOMMU_STATUS_RELEASED, c->status);
				told = true;
			} else {
				EXPECT_EQ(-ENODEV, c->ret);
				EXPECT_EQ(KVM_IOMMU_STATUS_NO_KVM, c->status);
			}
		}
	}
}

TEST_HARNESS_MAIN
