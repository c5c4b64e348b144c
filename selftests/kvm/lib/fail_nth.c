// SPDX-License-Identifier: GPL-2.0-only
/* Fault injection of the kernel, see fail_nth.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm_util.h"

#include "fail_nth.h"

#define DEBUGFS "/sys/kernel/debug/"

/* Of this thread; a child of the test harness opens its own. */
static __thread int file = -1;

/*
 * As they are, allocations that may sleep do not fail, nor do single pages; and
 * each failure is told in the kernel's log with a call trace.
 */
static const struct {
	const char *path;
	const char *value;
} settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
};

const char *kiommu_fail_nth_lacks(void)
{
	if (access("/proc/thread-self/fail-nth", F_OK))
		return "this kernel has no /proc/thread-self/fail-nth";
	for (unsigned int i = 0; i < ARRAY_SIZE(settings); i++) {
		int fd = open(settings[i].path, O_WRONLY);

		TEST_ASSERT(fd >= 0 && write(fd, settings[i].value, 1) == 1,
			    "%s: %d", settings[i].path, errno);
		close(fd);
	}
	return NULL;
}

void kiommu_fail_nth(unsigned int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%u", n);

	if (file < 0)
		file = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	TEST_ASSERT(file >= 0 && pwrite(file, text, length, 0) == length,
		    "fail-nth %u: %d", n, errno);
}

bool kiommu_fail_nth_fired(void)
{
	char text[16] = "";
	ssize_t ret = pread(file, text, sizeof(text) - 1, 0);

	/* What failed is the copy of the number: it was still to come. */
	if (ret < 0) {
		TEST_ASSERT(errno == EFAULT, "fail-nth: %d", errno);
		return false;
	}
	if (!atoi(text))
		return true;
	/* The copy of "0" can be the one that fails; then there is no next. */
	if (pwrite(file, "0", 1, 0) != 1)
		TEST_ASSERT(errno == EFAULT, "fail-nth: %d", errno);
	return false;
}
