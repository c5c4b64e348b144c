// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains with a file of their own: what KVM_IOMMU_ATTACH and DETACH accept and
 * refuse, a whole life without a device, devices that come, move and go home.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "domain.h"
#include "kiommu_util.h"

#define PAGE KIOMMU_PAGE
#define IOVA (KIOMMU_IOVA_BASE + 0x40000000ull)
#define PAGES 512ull
#define BYTES KIOMMU_REACH

FIXTURE(domain) {
	struct kiommu k;
	int container;
	int fd; /* a domain with the guest registered */
	uint64_t pins;
	long kvm_refs;
	struct ioat *t;
	char *mem; /* PAGES, aligned to 2M */
	uint64_t gpa;
};

FIXTURE_SETUP(domain)
{
	struct kiommu_area *area;

	if (kiommu_front_lacks(KIOMMU_AT_HOME))
		SKIP(return, "%s", kiommu_front_lacks(KIOMMU_AT_HOME));
	self->pins = kiommu_pins();
	self->kvm_refs = kiommu_kvm_refs();
	ASSERT_EQ(0, kiommu_await_refs(0));
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	area = self->k.vm.area;
	self->container = self->k.vfio.fd;
	self->fd = kiommu_domain_create(self->k.vm.fd);
	ASSERT_LE(0, self->fd);
	self->mem = kiommu_alloc(area, PAGES * PAGE, KIOMMU_2M);
	self->gpa = kiommu_gpa(area, self->mem);
	self->t = ioat_new(area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map_pages(self->t, IOVA, self->gpa, 16, IOAT_RW);
}

FIXTURE_TEARDOWN(domain)
{
	if (self->fd >= 0)
		kiommu_domain_close(self->fd);
	kiommu_teardown(&self->k);
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
	EXPECT_EQ(0, kiommu_await_refs(0));
	KIOMMU_EXPECT_NOTHING_LEFT();
}

/* Device @dev copies page 0 to page @to, by their IOVAs. */
static bool reaches(FIXTURE_DATA(domain) *self, unsigned int dev, uint64_t to,
		    uint8_t seed)
{
	return kiommu_reaches(&self->k, dev, self->mem, IOVA, to, seed);
}

static void fill_domain(struct __test_metadata *_metadata,
			FIXTURE_DATA(domain) *self)
{
	ASSERT_EQ(0, kiommu_register_tables(self->fd, self->t));
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 16 * PAGE, NULL));
}

#define EXPECT_ATTACH(_ret, _status, _fd) do {				\
	struct kvm_iommu_attach _r;					\
									\
	EXPECT_EQ(_ret, kiommu_domain_attach(self->fd, _fd, &_r));	\
	EXPECT_EQ(_status, (int)_r.status);				\
} while (0)

TEST_F_TIMEOUT(domain, attach_refuses, 120)
{
	struct kvm_iommu_attach cmd = {
		.size = sizeof(cmd), .device_fd = self->container,
	};
	int other = open("/dev/vfio/vfio", O_RDWR);
	int null = open("/dev/null", O_RDWR);
	uint32_t status;
	int device;

	EXPECT_ATTACH(-EBADF, KVM_IOMMU_STATUS_NO_FD, -1);
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, null);
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, self->fd);
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, self->k.vm.fd);
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, self->k.vfio.dev[0].fd);
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, self->k.vfio.dev[0].group);
	/* A container without a type. */
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, other);
	cmd.flags = 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_ioctl(self->fd, KVM_IOMMU_ATTACH, &cmd));
	EXPECT_EQ(KVM_IOMMU_STATUS_FLAGS, cmd.status);
	cmd.flags = 0;
	cmd.__reserved = 1;
	EXPECT_EQ(-EOPNOTSUPP, kiommu_ioctl(self->fd, KVM_IOMMU_ATTACH, &cmd));
	EXPECT_EQ(KVM_IOMMU_STATUS_FIELD, cmd.status);
	/* The own domain of a container takes nobody else's devices. */
	cmd.__reserved = 0;
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->container, KVM_IOMMU_ATTACH, &cmd));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->container, KVM_IOMMU_DETACH, &cmd));
	/* What the module asks VFIO nobody else can. */
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->container, _IO(KVM_IOMMU_TYPE, 0xff),
					&cmd));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->container, _IO(KVM_IOMMU_TYPE, 0xff),
					NULL));

	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, 0, &status));
	EXPECT_EQ(KVM_IOMMU_STATUS_NOT_ATTACHED, status);
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, 1, &status));
	device = kiommu_domain_attach(self->fd, self->container, NULL);
	ASSERT_LT(0, device);
	EXPECT_ATTACH(-EEXIST, KVM_IOMMU_STATUS_EXISTS, self->container);
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, device + 1, &status));
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, ~0u, &status));
	EXPECT_EQ(0, kiommu_domain_detach(self->fd, device, &status));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, device, &status));
	close(other);
	close(null);
}

/* A container of another type is none of ours. */
TEST_F_TIMEOUT(domain, attach_refuses_type1, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	int other = open("/dev/vfio/vfio", O_RDWR);

	kiommu_close_device(&self->k, 0);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[0]));
	ASSERT_EQ(0, kiommu_ioctl(c->dev[0].group, VFIO_GROUP_SET_CONTAINER, &other));
	ASSERT_EQ(0, kiommu_set_iommu(other, VFIO_TYPE1v2_IOMMU));
	EXPECT_ATTACH(-EINVAL, KVM_IOMMU_STATUS_FD_TYPE, other);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[0]));
	close(other);
}

/* Everything works before the first device comes, which finds it all. */
TEST_F_TIMEOUT(domain, filled_before_a_device_comes, 120)
{
	struct kvm_iommu_info info;
	int bare = kiommu_domain_create(-1);
	int device;

	ASSERT_LE(0, bare);
	EXPECT_EQ(KVM_IOMMU_STATE_CREATED, kiommu_get_state(bare));
	EXPECT_EQ(-ENODEV, kiommu_refresh(bare, IOVA, PAGE, NULL));
	EXPECT_EQ(-ENODEV, kiommu_register_tables(bare, self->t));
	EXPECT_EQ(0, kiommu_start(bare, self->k.vm.fd));
	EXPECT_EQ(0, kiommu_start(bare, self->k.vm.fd));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(bare));
	EXPECT_EQ(-ENXIO, kiommu_refresh(bare, IOVA, PAGE, NULL));
	EXPECT_EQ(0, kiommu_stop(bare));
	EXPECT_EQ(-ENODEV, kiommu_stop(bare));
	close(bare);

	fill_domain(_metadata, self);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, info.state);
	EXPECT_EQ(16, info.mapped_pages);
	EXPECT_EQ(0, info.page_sizes);
	EXPECT_EQ(0, info.aperture_first);
	EXPECT_EQ(~0ull, info.aperture_last);
	EXPECT_EQ(0, info.flags);
	EXPECT_TRUE(info.features & KVM_IOMMU_FEATURE_DOMAIN_FILE);
	EXPECT_EQ(1, kiommu_ioctl(self->fd, VFIO_CHECK_EXTENSION,
				  (void *)VFIO_KVM_IOMMU));

	EXPECT_FALSE(reaches(self, 0, 5, 1));
	device = kiommu_domain_attach(self->fd, self->container, NULL);
	ASSERT_LT(0, device);
	for (unsigned int i = 0; i < self->k.vfio.count; i++)
		EXPECT_TRUE(reaches(self, i, 5 + i, 2 + i));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_TRUE(info.page_sizes & PAGE);
	/* The own domain maps nothing. */
	ASSERT_EQ(0, kiommu_domain_detach(self->fd, device, NULL));
	EXPECT_FALSE(reaches(self, 0, 5, 20));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(16, info.mapped_pages);
	EXPECT_EQ(0, info.page_sizes);
	/* What changes while nobody is there is found by the next. */
	ioat_unmap(self->t, IOVA + 7 * PAGE, 0);
	ASSERT_EQ(0, kiommu_refresh(self->fd, IOVA, 16 * PAGE, NULL));
	ASSERT_LT(0, kiommu_domain_attach(self->fd, self->container, NULL));
	EXPECT_TRUE(reaches(self, 0, 6, 21));
	EXPECT_FALSE(reaches(self, 0, 7, 22));
}

/* The container's own domain goes on while its devices are elsewhere. */
TEST_F_TIMEOUT(domain, home_goes_on, 120)
{
	const int home = self->container;
	struct ioat *t = ioat_new(self->k.vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	struct kvm_iommu_info info;
	int device;

	/* Page 1 is elsewhere, so that the domains can be told apart. */
	ioat_map_pages(t, IOVA, self->gpa, 1, IOAT_RW);
	ioat_map_pages(t, IOVA + PAGE, self->gpa + 100 * PAGE, 1, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(home, t));
	ASSERT_EQ(0, kiommu_refresh(home, IOVA, 2 * PAGE, NULL));
	fill_domain(_metadata, self);
	EXPECT_FALSE(reaches(self, 0, 1, 30));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + 100 * PAGE, BYTES, 30));
	device = kiommu_domain_attach(self->fd, home, NULL);
	ASSERT_LT(0, device);
	EXPECT_TRUE(reaches(self, 0, 1, 31));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + 100 * PAGE, BYTES, 30));
	/* Unset and set anew while nobody is at home. */
	ASSERT_EQ(0, kiommu_unregister(home));
	EXPECT_TRUE(reaches(self, 0, 1, 32));
	ASSERT_EQ(0, kiommu_register_tables(home, t));
	ASSERT_EQ(0, kiommu_refresh(home, IOVA, 2 * PAGE, NULL));
	EXPECT_TRUE(reaches(self, 0, 2, 33));
	ASSERT_EQ(0, kiommu_domain_detach(self->fd, device, NULL));
	/* What was mapped at home is found there, without a refresh. */
	EXPECT_FALSE(reaches(self, 0, 1, 34));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + 100 * PAGE, BYTES, 34));
	EXPECT_EQ(0, kiommu_unregister(home));
	/* Its host gave empty tables back, so it is as if it had not been away. */
	ASSERT_EQ(0, kiommu_get_info(home, &info));
	EXPECT_EQ(0, info.shadow_bytes);
}

/* Several domains of a guest pin and charge a page once. */
TEST_F_TIMEOUT(domain, share_pins, 120)
{
	int fds[64];
	uint64_t pinned;

	fill_domain(_metadata, self);
	pinned = kiommu_pinned_pages(self->fd);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = kiommu_domain_create(self->k.vm.fd);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, kiommu_register_tables(fds[i], self->t));
		ASSERT_EQ(0, kiommu_refresh(fds[i], IOVA, 16 * PAGE, NULL));
		EXPECT_EQ(16, kiommu_mapped_pages(fds[i]));
	}
	EXPECT_EQ(pinned, kiommu_pinned_pages(self->fd));
	EXPECT_EQ(self->pins + pinned, kiommu_pins());
	EXPECT_EQ(self->k.locked_vm + pinned * PAGE, kiommu_locked_vm());
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		EXPECT_EQ(0, kiommu_domain_attach(fds[i], self->container, NULL) < 0);
		EXPECT_TRUE(reaches(self, 0, 1 + i % 15, 40 + i));
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		kiommu_domain_close(fds[i]);
	EXPECT_FALSE(reaches(self, 0, 1, 200));
	EXPECT_EQ(pinned, kiommu_pinned_pages(self->fd));
}

/* What a device may not reach is found out when it comes, and it stays away. */
TEST_F_TIMEOUT(domain, device_that_does_not_fit, 120)
{
	struct kvm_iommu_info info;
	struct kvm_iommu_attach r;
	uint64_t reserved;

	ASSERT_EQ(0, kiommu_get_info(self->container, &info));
	/* Beyond what the host's IOMMU translates, or its MSI window. */
	reserved = info.aperture_first ? 0 : 0xfee00000;
	ioat_map(self->t, reserved, self->gpa, 0, IOAT_RW);
	fill_domain(_metadata, self);
	ASSERT_EQ(0, kiommu_refresh(self->fd, reserved, PAGE, NULL));
	ASSERT_EQ(0, kiommu_register_identity(self->container, 0));
	ASSERT_EQ(0, kiommu_refresh(self->container, self->gpa, 8 * PAGE, NULL));
	EXPECT_EQ(-EINVAL, kiommu_domain_attach(self->fd, self->container, &r));
	EXPECT_EQ(KVM_IOMMU_STATUS_UNSUITABLE, r.status);
	EXPECT_EQ(0, r.device);
	EXPECT_FALSE(reaches(self, 0, 3, 50));
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(0, info.page_sizes);
	EXPECT_EQ(17, info.mapped_pages);
	/* It is still at home, and reaches what is mapped there. */
	kiommu_fill(self->mem, PAGE, 51);
	ASSERT_EQ(0, kiommu_guest_call(&self->k.vm, kiommu_dma_copy, self->k.dma[0],
				       self->gpa + PAGE, self->gpa, BYTES));
	EXPECT_EQ(BYTES, kiommu_count_equal(self->mem + PAGE, BYTES, 51));
	ioat_unmap(self->t, reserved, 0);
	ASSERT_EQ(0, kiommu_refresh(self->fd, reserved, PAGE, NULL));
	EXPECT_LT(0, kiommu_domain_attach(self->fd, self->container, &r));
	EXPECT_TRUE(reaches(self, 0, 3, 52));
	/* From now on it is refused when it is mapped. */
	ioat_map(self->t, reserved, self->gpa, 0, IOAT_RW);
	EXPECT_NE(0, kiommu_refresh(self->fd, reserved, PAGE, NULL));
}

/* A domain may have several members; a group may join and leave a member. */
TEST_F_TIMEOUT(domain, members_and_groups_come_and_go, 120)
{
	struct kiommu_container *c = &self->k.vfio;
	int other, device;

	if (c->count < 2)
		SKIP(return, "needs two devices");
	fill_domain(_metadata, self);
	other = kiommu_move_device(&self->k, 1);
	EXPECT_LT(0, kiommu_domain_attach(self->fd, self->container, NULL));
	EXPECT_TRUE(reaches(self, 0, 3, 60));
	EXPECT_FALSE(reaches(self, 1, 3, 61));
	device = kiommu_domain_attach(self->fd, other, NULL);
	ASSERT_LT(0, device);
	EXPECT_TRUE(reaches(self, 1, 3, 62));
	EXPECT_EQ(16, kiommu_mapped_pages(self->fd));
	/* A group leaves its container, which ends the container's life. */
	kiommu_close_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[1]));
	EXPECT_EQ(-ENOENT, kiommu_domain_detach(self->fd, device, NULL));
	close(other);
	/* It joins the first one, and with it the domain. */
	ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[1]));
	kiommu_open_device(&self->k, 1);
	EXPECT_TRUE(reaches(self, 1, 4, 63));
	kiommu_close_device(&self->k, 1);
	ASSERT_EQ(0, kiommu_group_detach(&c->dev[1]));
	EXPECT_TRUE(reaches(self, 0, 5, 64));
	ASSERT_EQ(0, kiommu_group_attach(c, &c->dev[1]));
	kiommu_open_device(&self->k, 1);
	EXPECT_TRUE(reaches(self, 1, 4, 65));
}

enum what { DOMAIN, CONTAINER, GROUPS, DEVICES, KVM, WHATS };

static void close_one(struct kiommu *k, int *domain, enum what what)
{
	struct kiommu_container *c = &k->vfio;

	switch (what) {
	case DOMAIN:
		close(*domain);
		*domain = -1;
		break;
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
	default:
		kiommu_vm_free(&k->vm);
		if (k->kvm_vfio >= 0)
			close(k->kvm_vfio);
		k->kvm_vfio = -1;
	}
}

/* Closes everything in the order of the number @order; or exits with it open. */
static void live_and_leave(unsigned int order)
{
	enum what left[WHATS] = { DOMAIN, CONTAINER, GROUPS, DEVICES, KVM };
	unsigned int count = WHATS;
	struct kiommu k;
	int domain;

	kiommu_setup(&k, VFIO_KVM_IOMMU);
	domain = kiommu_domain_create(k.vm.fd);
	TEST_ASSERT(domain >= 0, "DOMAIN_CREATE: %d", domain);
	TEST_ASSERT(!kiommu_register_identity(domain, 0), "anchor");
	TEST_ASSERT(!kiommu_refresh(domain, k.vm.area->gpa, 64 * PAGE, NULL),
		    "REFRESH");
	TEST_ASSERT(kiommu_domain_attach(domain, k.vfio.fd, NULL) > 0, "ATTACH");
	if (order % 2)
		TEST_ASSERT(!kiommu_register_identity(k.vfio.fd, 0) &&
			    !kiommu_refresh(k.vfio.fd, k.vm.area->gpa, PAGE, NULL),
			    "home");
	for (order /= 2; count; count--) {
		unsigned int i = order % count;

		close_one(&k, &domain, left[i]);
		left[i] = left[count - 1];
		order /= count;
		/* The rest of the orders: what is left is closed by exiting. */
		if (order & 1 && count == 3)
			_exit(0);
	}
	_exit(0);
}

TEST_F_TIMEOUT(domain, closed_in_each_order, 240)
{
	const unsigned int orders = 120;

	kiommu_teardown(&self->k);
	close(self->fd);
	self->fd = -1;
	for (unsigned int i = 0; i < 2 * orders; i += i < 32 ? 1 : 7) {
		int status = -1;
		pid_t child = fork();

		if (!child)
			live_and_leave(i);
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(0, status);
		ASSERT_EQ(0, kiommu_await_refs(0));
		KIOMMU_EXPECT_NOTHING_LEFT();
	}
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
}

/* Another process that has the files can move devices, but not map. */
TEST_F_TIMEOUT(domain, in_another_process, 120)
{
	struct kvm_iommu_attach r;
	int status = -1;
	pid_t child;

	fill_domain(_metadata, self);
	child = fork();
	if (!child) {
		bool right = kiommu_domain_attach(self->fd, self->container,
						  NULL) > 0 &&
			     kiommu_refresh(self->fd, IOVA, PAGE, NULL) == -EPERM &&
			     kiommu_domain_create(self->k.vm.fd) == -EPERM;

		_exit(!right);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-EEXIST, kiommu_domain_attach(self->fd, self->container, &r));
	EXPECT_EQ(0, kiommu_domain_detach(self->fd, 1, NULL));
	EXPECT_LT(0, kiommu_domain_attach(self->fd, self->container, &r));
	EXPECT_TRUE(reaches(self, 0, 3, 70));
}

TEST_F_TIMEOUT(domain, threads_attach_one_device, 240)
{
	int fds[3];

	fill_domain(_metadata, self);
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = kiommu_domain_create(self->k.vm.fd);
		ASSERT_LE(0, fds[i]);
		ASSERT_EQ(0, kiommu_register_tables(fds[i], self->t));
		ASSERT_EQ(0, kiommu_refresh(fds[i], IOVA, 16 * PAGE, NULL));
	}
	EXPECT_EQ(0, kiommu_domains_compete(fds, ARRAY_SIZE(fds), self->container));
	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		kiommu_domain_close(fds[i]);
	EXPECT_FALSE(reaches(self, 0, 3, 80));
	ASSERT_LT(0, kiommu_domain_attach(self->fd, self->container, NULL));
	EXPECT_TRUE(reaches(self, 0, 3, 81));
}

struct unmapper {
	pthread_t thread;
	int fd;
	unsigned int delay; /* turns of a loop */
	bool go;
	int ret;
};

/* Unmaps page 5 at home while the device comes. */
static void *unmap_then(void *arg)
{
	struct unmapper *u = arg;
	uint64_t size = PAGE;

	while (!__atomic_load_n(&u->go, __ATOMIC_ACQUIRE))
		;
	for (unsigned int i = 0; i < u->delay; i++)
		__asm__ __volatile__("" : : : "memory");
	u->ret = kiommu_unmap_dma(u->fd, IOVA + 5 * PAGE, &size, 0);
	return NULL;
}

/*
 * A device comes home from a domain that has another guest, or none, while a page
 * at home is unmapped: it does not reach the page then. Says something only on a
 * machine with two CPUs.
 */
TEST_F_TIMEOUT(domain, unmapped_while_a_device_comes_home, 240)
{
	const int home = self->container;
	int bare = kiommu_domain_create(-1);

	ASSERT_LE(0, bare);
	ioat_map_pages(self->t, IOVA, self->gpa, PAGES, IOAT_RW);
	ASSERT_EQ(0, kiommu_register_tables(home, self->t));
	for (unsigned int i = 0; i < 12; i++) {
		struct unmapper u = { .fd = home, .delay = i * 4000 };
		int device = kiommu_domain_attach(bare, home, NULL);

		ASSERT_LT(0, device);
		/* By single calls, so that a driver has much to tell the device. */
		for (uint64_t page = 0; page < PAGES; page++)
			ASSERT_EQ(0, kiommu_refresh(home, IOVA + page * PAGE, PAGE,
						    NULL));
		ASSERT_EQ(0, pthread_create(&u.thread, NULL, unmap_then, &u));
		__atomic_store_n(&u.go, true, __ATOMIC_RELEASE);
		ASSERT_EQ(0, kiommu_domain_detach(bare, device, NULL));
		pthread_join(u.thread, NULL);
		EXPECT_EQ(0, u.ret);
		EXPECT_TRUE(reaches(self, 0, 4, 90 + i));
		EXPECT_FALSE(reaches(self, 0, 5, 110 + i));
	}
	kiommu_domain_close(bare);
}

TEST_HARNESS_MAIN
