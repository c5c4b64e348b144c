// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device files when things fail: allocations of KVM_IOMMU_ATTACH, a driver that does not
 * take a device back, iommufd that attaches it in the middle of a move, a process that
 * is killed in one. The device is in one place, and nobody else's.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "cdev.h"
#include "device_file.h"
#include "domain.h"
#include "fail_nth.h"
#include "faults.h"

#define PAGE KIOMMU_PAGE
#define IOVA KIOMMU_FILE_IOVA
#define PAGES KIOMMU_FILE_PAGES

FIXTURE(device_fails) {
	struct kiommu_device_files f;
	struct kiommu *k;
	uint64_t pins;
	long kvm_refs;
};

FIXTURE_SETUP(device_fails)
{
	if (!kiommu_cdev_possible())
		SKIP(return, "the kernel has no device files");
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
	self->k = &self->f.k;
	kiommu_device_files_setup(&self->f);
}

FIXTURE_TEARDOWN(device_fails)
{
	kiommu_device_files_teardown(&self->f);
	EXPECT_EQ(self->k->locked_vm, kiommu_locked_vm());
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

static int fd_of(FIXTURE_DATA(device_fails) *self, unsigned int dev)
{
	return self->k->vfio.dev[dev].fd;
}

/* Return: whether there was an @n-th allocation or copy of ATTACH to fail. */
static bool attach_failing(int domain, int device_fd, unsigned int n, int *ret)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd), .device_fd = device_fd,
	};

	kiommu_fail_nth(n);
	*ret = kiommu_ioctl(domain, KVM_IOMMU_ATTACH, &cmd);
	return kiommu_fail_nth_fired();
}

TEST_F_TIMEOUT(device_fails, without_memory, 600)
{
	int spare = kiommu_device_files_domain(&self->f), ret, device;
	bool fired = true, attached;
	unsigned int n;

	if (kiommu_fail_nth_lacks()) {
		kiommu_domain_close(spare);
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	}
	kiommu_fail_charged_alone();
	kiommu_device_file_open_and_bind(&self->f, 0);
	for (n = 1; fired; n++) {
		ASSERT_GT(2000, n);
		fired = attach_failing(self->f.fd, fd_of(self, 0), n, &ret);
		attached = kiommu_device_file_reaches(&self->f, 0, 3, n % 100);
		/* -EFAULT: where the answer could not be stored, too. */
		EXPECT_TRUE(ret == -EFAULT || attached == !ret) {
			TH_LOG("failure %u: %d, attached %d", n, ret, attached);
		}
		EXPECT_TRUE(!ret || ret == -ENOMEM || ret == -EFAULT) {
			TH_LOG("failure %u: %d", n, ret);
		}
		if (!attached)
			continue;
		device = kiommu_domain_attach(spare, fd_of(self, 0), NULL);
		ASSERT_LT(0, device);
		ASSERT_EQ(0, kiommu_domain_detach(spare, device, NULL));
	}
	EXPECT_LT(3, n);
	kiommu_domain_close(spare);
}

TEST_F_TIMEOUT(device_fails, moves_without_memory, 600)
{
	int second = kiommu_device_files_domain(&self->f), ret, device;
	bool fired = true;
	unsigned int n;

	if (kiommu_fail_nth_lacks()) {
		kiommu_domain_close(second);
		SKIP(return, "%s", kiommu_fail_nth_lacks());
	}
	kiommu_fail_charged_alone();
	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	for (n = 1; fired; n++) {
		ASSERT_GT(2000, n);
		fired = attach_failing(second, fd_of(self, 0), n, &ret);
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, n % 100)) {
			TH_LOG("failure %u: %d", n, ret);
		}
		device = kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL);
		/* It is in one of both, in which one the call has said. */
		EXPECT_TRUE((ret == -ENOMEM && device == -EEXIST) ||
			    (!ret && device > 0) ||
			    (ret == -EFAULT && (device == -EEXIST || device > 0))) {
			TH_LOG("failure %u: %d, then %d", n, ret, device);
		}
	}
	EXPECT_LT(3, n);
	kiommu_domain_close(second);
}

struct taker {
	pthread_t thread;
	int fd;		/* of the device */
	bool stop;
	int ret;	/* of iommufd's last try */
};

/* Has iommufd attach the device as soon as it can. */
static void *take(void *arg)
{
	struct taker *t = arg;

	do {
		t->ret = kiommu_cdev_attach_ioas(t->fd);
	} while (t->ret == -EBUSY && !__atomic_load_n(&t->stop, __ATOMIC_RELAXED));
	return NULL;
}

/*
 * iommufd gets a device only where a move blocks it, and nobody takes it away from
 * there.
 */
TEST_F_TIMEOUT(device_fails, moves_against_iommufd, 240)
{
	const int fds[] = { self->f.fd, kiommu_device_files_domain(&self->f) };
	struct taker t = {};
	int ret = 0;

	kiommu_device_file_open_and_bind(&self->f, 0);
	t.fd = fd_of(self, 0);
	ASSERT_LT(0, kiommu_domain_attach(fds[0], t.fd, NULL));
	ASSERT_EQ(0, pthread_create(&t.thread, NULL, take, &t));
	for (unsigned int i = 1; i < 500 && ret >= 0; i++)
		ret = kiommu_domain_attach(fds[i % 2], t.fd, NULL);
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(t.thread, NULL);
	if (t.ret == -EBUSY) {
		EXPECT_LT(0, ret);
		EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 1));
	} else {
		EXPECT_EQ(0, t.ret);
		EXPECT_EQ(-EBUSY, ret);
		for (unsigned int i = 0; i < 2; i++) {
			/* It was in one of them, and cannot get into either. */
			ret = kiommu_domain_attach(fds[i], t.fd, NULL);
			EXPECT_TRUE(ret == -EEXIST || ret == -EBUSY);
			EXPECT_EQ(0, kiommu_unregister(fds[i]));
			EXPECT_EQ(0, kiommu_register_tables(fds[i], self->f.t));
			EXPECT_EQ(0, kiommu_refresh(fds[i], IOVA, PAGES * PAGE, NULL));
			EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 2));
		}
	}
	kiommu_domain_close(fds[1]);
	kiommu_domain_close(fds[0]);
	self->f.fd = -1;
	/* The domains did not take it away from iommufd either. */
	EXPECT_EQ(t.ret, t.ret ? -EBUSY : kiommu_cdev_detach_ioas(t.fd));
	EXPECT_EQ(0, kiommu_cdev_attach_ioas(t.fd));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(t.fd));
}

/* A device that a driver has not taken back is anybody's who owns it. */
TEST_F_TIMEOUT(device_fails, blocked_then_given_to_iommufd, 240)
{
	int device, second = kiommu_device_files_domain(&self->f);

	if (!strcmp(getenv("KIOMMU_HOST") ?: "", "virtio-iommu")) {
		kiommu_domain_close(second);
		SKIP(return, "virtio-iommu keeps its domain when the anchor is unset");
	}
	kiommu_device_file_open_and_bind(&self->f, 0);
	device = kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL);
	ASSERT_LT(0, device);
	if (!kiommu_load_inject(&self->k->vfio.dev[0])) {
		kiommu_domain_close(second);
		SKIP(return, KIOMMU_NO_INJECT);
	}
	/* Unsetting the anchor renews the host, which fails, and the way back. */
	kiommu_refuse_maps(1, 1000000);
	kiommu_refuse_attach(true);
	EXPECT_EQ(0, kiommu_unregister(self->f.fd));
	kiommu_refuse_attach(false);
	kiommu_allow_maps();
	kiommu_unload_inject();
	EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 1));
	EXPECT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	/* The domain does not take it from iommufd. */
	for (unsigned int i = 0; i < 2; i++) {
		EXPECT_EQ(0, kiommu_register_tables(self->f.fd, self->f.t));
		EXPECT_EQ(0, kiommu_refresh(self->f.fd, IOVA, PAGES * PAGE, NULL));
		EXPECT_TRUE(kiommu_device_file_blocked(&self->f, 0, 3, 2 + i));
		EXPECT_EQ(0, kiommu_unregister(self->f.fd));
	}
	EXPECT_EQ(-EBUSY, kiommu_domain_attach(second, fd_of(self, 0), NULL));
	EXPECT_EQ(0, kiommu_domain_detach(self->f.fd, device, NULL));
	EXPECT_EQ(-EBUSY, kiommu_domain_attach(second, fd_of(self, 0), NULL));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
	ASSERT_LT(0, kiommu_domain_attach(second, fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 5));
	kiommu_domain_close(second);
}

/* A process that is killed in a move leaves the domains as they are. */
TEST_F_TIMEOUT(device_fails, killed_in_a_move, 240)
{
	const int fds[] = { self->f.fd, kiommu_device_files_domain(&self->f) };

	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_LT(0, kiommu_domain_attach(fds[0], fd_of(self, 0), NULL));
	for (unsigned int i = 0; i < 40; i++) {
		pid_t child = fork();

		for (unsigned int j = 1; !child; j++)
			kiommu_domain_attach(fds[j % 2], fd_of(self, 0), NULL);
		usleep(1000 + i * 37 % 3000);
		kill(child, SIGKILL);
		ASSERT_EQ(child, waitpid(child, NULL, 0));
		for (unsigned int j = 0; j < 2; j++)
			ASSERT_EQ(PAGES, kiommu_mapped_pages(fds[j]));
	}
	/* In whichever it is. */
	kiommu_domain_attach(fds[0], fd_of(self, 0), NULL);
	EXPECT_EQ(-EEXIST, kiommu_domain_attach(fds[0], fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 9));
	kiommu_domain_close(fds[1]);
}

struct asker {
	pthread_t thread;
	int domain, fd;
	bool wrong;
};

static void *ask_in_vain(void *arg)
{
	struct asker *a = arg;

	for (unsigned int i = 0; i < 5000 && !a->wrong; i++)
		a->wrong = kiommu_domain_attach(a->domain, a->fd, NULL) != -EBUSY;
	return NULL;
}

/*
 * What one call makes of a device file and drops again is not what another one finds.
 * Says something only on a machine with two CPUs.
 */
TEST_F_TIMEOUT(device_fails, refused_by_threads, 240)
{
	struct asker askers[3] = {};

	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	for (unsigned int i = 0; i < ARRAY_SIZE(askers); i++) {
		askers[i].domain = self->f.fd;
		askers[i].fd = fd_of(self, 0);
		ASSERT_EQ(0, pthread_create(&askers[i].thread, NULL, ask_in_vain,
					    &askers[i]));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(askers); i++) {
		pthread_join(askers[i].thread, NULL);
		EXPECT_FALSE(askers[i].wrong);
	}
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
	ASSERT_LT(0, kiommu_domain_attach(self->f.fd, fd_of(self, 0), NULL));
	EXPECT_TRUE(kiommu_device_file_reaches(&self->f, 0, 3, 1));
}

/*
 * The last thing that happens before the module goes is an attachment that fails. A
 * debug kernel finds the memory that it has left.
 */
TEST_F_TIMEOUT(device_fails, refused_at_last, 120)
{
	struct kvm_iommu_attach r;

	kiommu_device_file_open_and_bind(&self->f, 0);
	ASSERT_EQ(0, kiommu_cdev_attach_ioas(fd_of(self, 0)));
	EXPECT_EQ(-EBUSY, kiommu_domain_attach(self->f.fd, fd_of(self, 0), &r));
	EXPECT_EQ(0, kiommu_cdev_detach_ioas(fd_of(self, 0)));
}

TEST_HARNESS_MAIN
