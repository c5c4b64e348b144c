// SPDX-License-Identifier: GPL-2.0-only
/* userfaultfd, see userfault.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/syscall.h>

#include <linux/userfaultfd.h>

#include "test_util.h"

#include "area.h"
#include "userfault.h"

const char *kiommu_uffd_lacks(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return "the kernel has no userfaultfd";
	close(fd);
	return NULL;
}

int kiommu_uffd_open(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	TEST_ASSERT(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "userfaultfd: %d",
		    errno);
	return fd;
}

void kiommu_uffd_add(int uffd, void *mem, uint64_t size)
{
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)mem, .len = size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	TEST_ASSERT(!ioctl(uffd, UFFDIO_REGISTER, &range), "register: %d", errno);
}

void *kiommu_uffd_next(int uffd)
{
	struct pollfd ready = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&ready, 1, 60000) != 1 ||
	    read(uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return NULL;
	return (void *)(uintptr_t)(msg.arg.pagefault.address & ~(KIOMMU_PAGE - 1));
}

int kiommu_uffd_answer(int uffd, void *page, const void *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)page,
		.src = (uintptr_t)from,
		.len = KIOMMU_PAGE,
	};

	return ioctl(uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

int kiommu_uffd_wake(int uffd, void *page)
{
	struct uffdio_range range = { .start = (uintptr_t)page, .len = KIOMMU_PAGE };

	return ioctl(uffd, UFFDIO_WAKE, &range) ? -errno : 0;
}
