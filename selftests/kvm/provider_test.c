// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's memory that another module provides instead of KVM:
 * kiommu_memory.ko, which the other tests use where there is no KVM. Which
 * slots and whose calls it accepts, and that neither the memory nor the module
 * goes while a guest uses it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "kiommu_util.h"
#include "modules/memory/kiommu_memory.h"

#define PAGE KIOMMU_PAGE
#define GPA KIOMMU_FREE_GPA
#define SLOT KIOMMU_FREE_SLOT
#define PAGES 16ull
#define SIZE (PAGES * PAGE)

FIXTURE(provider) {
	struct kiommu k;
	int fd;
	char *mem; /* 2 * SIZE bytes */
	uint64_t pins;
	long refs; /* references to the module, with one file open */
};

FIXTURE_SETUP(provider)
{
	self->pins = kiommu_pins();
	kiommu_attach(&self->k, VFIO_KVM_IOMMU);
	kiommu_open_devices(&self->k);
	self->fd = self->k.vfio.fd;
	self->refs = kiommu_kvm_refs();
	self->mem = mmap(NULL, 2 * SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->mem);
}

FIXTURE_TEARDOWN(provider)
{
	kiommu_teardown(&self->k);
	EXPECT_EQ(0, kiommu_await_refs(0));
	EXPECT_EQ(self->refs - 1, kiommu_kvm_refs());
	EXPECT_EQ(self->pins, kiommu_pins());
}

/* A slot of half of the memory, changed by assignments, must return @_ret. */
#define EXPECT_SLOT(_ret, ...) do {					\
	struct kiommu_memory_slot s = {					\
		.slot = SLOT, .gpa = GPA, .size = SIZE,			\
		.userspace_addr = (uintptr_t)self->mem,			\
	};								\
	s.__VA_ARGS__;							\
	EXPECT_EQ(_ret, kiommu_ioctl(self->k.vm.fd,			\
				     KIOMMU_MEMORY_SET_SLOT, &s));	\
} while (0)

TEST_F_TIMEOUT(provider, slots_that_it_takes, 120)
{
	EXPECT_EQ(-EFAULT, kiommu_ioctl(self->k.vm.fd, KIOMMU_MEMORY_SET_SLOT,
					NULL));
	EXPECT_SLOT(-EINVAL, slot = KIOMMU_MEMORY_MAX_SLOTS);
	EXPECT_SLOT(-EINVAL, flags = 1u << 2);
	EXPECT_SLOT(-EINVAL, gpa += 1);
	EXPECT_SLOT(-EINVAL, size -= 1);
	EXPECT_SLOT(-EINVAL, userspace_addr += 0x800);
	EXPECT_SLOT(-EINVAL, gpa = -SIZE);
	EXPECT_SLOT(-EINVAL, size = (KIOMMU_MEMORY_MAX_PAGES + 1) * PAGE);
	/* There is nothing to delete. */
	EXPECT_SLOT(-EINVAL, size = 0);
	EXPECT_SLOT(0, slot = KIOMMU_MEMORY_MAX_SLOTS - 1);
	EXPECT_SLOT(-EEXIST, slot = SLOT);
	EXPECT_SLOT(-EEXIST, gpa += SIZE - PAGE);
	EXPECT_SLOT(-EEXIST, gpa -= SIZE - PAGE);
	EXPECT_SLOT(0, gpa += SIZE);
	/* What may change of a slot that exists. */
	EXPECT_SLOT(0, gpa += SIZE);
	EXPECT_SLOT(-EEXIST, gpa = GPA);
	EXPECT_SLOT(0, gpa += 4 * SIZE);
	EXPECT_SLOT(-EINVAL, size += PAGE);
	EXPECT_SLOT(-EINVAL, size -= PAGE);
	EXPECT_SLOT(-EINVAL, userspace_addr += PAGE);
	EXPECT_SLOT(-EINVAL, flags = KIOMMU_MEMORY_READONLY);
	EXPECT_SLOT(0, flags = KIOMMU_MEMORY_LOG_DIRTY, s.gpa += 4 * SIZE);
	EXPECT_SLOT(0, size = 0);
	EXPECT_SLOT(-EINVAL, size = 0);
	EXPECT_SLOT(0, slot = KIOMMU_MEMORY_MAX_SLOTS - 1, s.size = 0);
	EXPECT_SLOT(0, flags = KIOMMU_MEMORY_READONLY);
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->k.vm.fd,
					_IO(KIOMMU_MEMORY_TYPE, 0xff), NULL));
}

/* Slots are added in any order, with gaps: identity must find each of them. */
TEST_F_TIMEOUT(provider, slots_are_found, 120)
{
	static const unsigned int order[] = { 5, 2, 7, 0, 3, 6, 1, 4 };
	const uint64_t count = ARRAY_SIZE(order);
	struct kvm_iommu_refresh r;

	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	for (uint64_t i = 0; i < count; i++)
		ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + i, 0,
						GPA + order[i] * 2 * PAGE, PAGE,
						self->mem + order[i] * PAGE));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, 2 * count * PAGE, &r));
	EXPECT_EQ(count, r.mapped);
	for (uint64_t i = 0; i < 2 * count; i++)
		EXPECT_EQ(i % 2 ? 0 : IOAT_RW,
			  kiommu_shadow_rights(self->fd, GPA + i * PAGE));
	/* A slot in the middle is deleted. */
	ASSERT_EQ(0, kiommu_vm_set_slot(&self->k.vm, SLOT + 4, 0, 0, 0, NULL));
	EXPECT_EQ(0, kiommu_shadow_rights(self->fd, GPA + 3 * 2 * PAGE));
	EXPECT_EQ(count - 1, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(self->pins + count - 1, kiommu_pins());
}

TEST_F_TIMEOUT(provider, calls_of_another_process, 120)
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		EXPECT_SLOT(-EIO, slot = SLOT);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_SLOT(0, slot = SLOT);
}

static int remove_module(void)
{
	return syscall(SYS_delete_module, "kiommu_memory", O_NONBLOCK) ? -errno : 0;
}

/*
 * The thread that made the guest may hold it for a moment longer than the
 * container, of which there is one.
 */
static void await_maker(void)
{
	const long refs = kiommu_front_refs(1);

	TEST_ASSERT(kiommu_await_refs(refs) == refs, "the guest is still held");
}

/* The file is closed while a guest has the memory: all of it stays. */
TEST_F_TIMEOUT(provider, guest_outlives_the_file, 120)
{
	EXPECT_SLOT(0, slot = SLOT);
	ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
	EXPECT_EQ(self->refs + 1, kiommu_kvm_refs());
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, 4 * PAGE, NULL));
	ASSERT_EQ(0, close(self->k.vm.fd));
	self->k.vm.fd = -1;
	EXPECT_EQ(self->refs, kiommu_kvm_refs());
	EXPECT_EQ(-EWOULDBLOCK, remove_module());
	EXPECT_EQ(4, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, SIZE, NULL));
	EXPECT_EQ(self->pins + PAGES, kiommu_pins());
	/* Changes behind the slots are still noticed. */
	ASSERT_EQ(0, munmap(self->mem, PAGE));
	EXPECT_EQ(PAGES - 1, kiommu_mapped_pages(self->fd));
	ASSERT_EQ(0, kiommu_stop(self->fd));
	await_maker();
	EXPECT_EQ(self->refs - 1, kiommu_kvm_refs());
	EXPECT_EQ(self->pins, kiommu_pins());
}

/* A guest that has left may return; other memory is another guest. */
TEST_F_TIMEOUT(provider, comes_again, 120)
{
	struct kiommu_vm other;

	EXPECT_SLOT(0, slot = SLOT);
	for (int i = 0; i < 3; i++) {
		ASSERT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
		ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
		ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, SIZE, NULL));
		EXPECT_EQ(PAGES, kiommu_mapped_pages(self->fd));
		ASSERT_EQ(0, kiommu_stop(self->fd));
		await_maker();
		EXPECT_EQ(self->refs, kiommu_kvm_refs());
	}
	kiommu_vm_create_bare(&other);
	ASSERT_EQ(0, kiommu_start(self->fd, other.fd));
	EXPECT_EQ(-EBUSY, kiommu_start(self->fd, self->k.vm.fd));
	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	ASSERT_EQ(0, kiommu_refresh(self->fd, GPA, SIZE, NULL));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	kiommu_vm_free(&other);
}

TEST_HARNESS_MAIN
