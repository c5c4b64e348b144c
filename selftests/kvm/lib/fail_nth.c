// SPDX-License-Identifier: GPL-2.0-only
/* Fault injection of the kernel, see fail_nth.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm_util.h"

#include "fail_nth.h"

#define DEBUGFS "/sys/kernel/debug/"
#define SLABS "/sys/kernel/slab"

/* This thread's fail-nth; a child of the test harness opens its own. */
static __thread int file = -1;

/*
 * By default, allocations that may sleep do not fail, nor do single pages, and
 * each failure is logged with a call trace.
 */
static const struct {
	const char *path;
	const char *value;
} settings[] = {
	{ DEBUGFS "failslab/ignore-gfp-wait", "N" },
	{ DEBUGFS "failslab/verbose", "0" },
	{ DEBUGFS "failslab/cache-filter", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ DEBUGFS "fail_page_alloc/min-order", "0" },
	{ DEBUGFS "fail_page_alloc/verbose", "0" },
	{ DEBUGFS "fail_usercopy/verbose", "0" },
};

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0 && write(fd, value, strlen(value)) > 0, "%s: %d", path,
		    errno);
	close(fd);
}

const char *kiommu_fail_nth_lacks(void)
{
	if (access("/proc/thread-self/fail-nth", F_OK))
		return "this kernel has no /proc/thread-self/fail-nth";
	for (unsigned int i = 0; i < ARRAY_SIZE(settings); i++)
		set(settings[i].path, settings[i].value);
	return NULL;
}

void kiommu_fail_charged_alone(void)
{
	glob_t caches;

	TEST_ASSERT(!glob(SLABS "/kmalloc-cg-*/failslab", 0, NULL, &caches),
		    "no slab is for what is charged");
	for (size_t i = 0; i < caches.gl_pathc; i++)
		set(caches.gl_pathv[i], "1");
	globfree(&caches);
	set(DEBUGFS "failslab/cache-filter", "Y");
	/* Nothing allocates that many pages at once. */
	set(DEBUGFS "fail_page_alloc/min-order", "30");
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

	/* This copy has failed, so the n-th one was still to come. */
	if (ret < 0) {
		TEST_ASSERT(errno == EFAULT, "fail-nth: %d", errno);
		return false;
	}
	if (!atoi(text))
		return true;
	/* The copy of "0" can be the one that fails; then nothing is armed. */
	if (pwrite(file, "0", 1, 0) != 1)
		TEST_ASSERT(errno == EFAULT, "fail-nth: %d", errno);
	return false;
}

/* The fail-nth files of other threads that are armed. */
static struct {
	int fd[64];
	unsigned int count;
} others;

static bool has_name(const char *task, const char *name)
{
	char path[300], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/comm", task);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(fd);
	return !strncmp(text, name, strlen(name));
}

static void tell(const char *task, unsigned int n)
{
	char path[300], text[16];
	int length = snprintf(text, sizeof(text), "%u", n);
	int fd;

	snprintf(path, sizeof(path), "%s/fail-nth", task);
	fd = open(path, O_RDWR | O_CLOEXEC);
	/* The thread may have exited. */
	if (fd < 0)
		return;
	TEST_ASSERT(others.count < ARRAY_SIZE(others.fd), "too many threads");
	if (pwrite(fd, text, length, 0) == length)
		others.fd[others.count++] = fd;
	else
		close(fd);
}

static void tell_all(const char *dir, const char *name, unsigned int n)
{
	DIR *tasks = opendir(dir);
	char path[280];
	struct dirent *entry;

	TEST_ASSERT(tasks, "%s: %d", dir, errno);
	while ((entry = readdir(tasks))) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    has_name(path, name))
			tell(path, n);
	}
	closedir(tasks);
}

unsigned int kiommu_fail_nth_of(const char *name, unsigned int n)
{
	TEST_ASSERT(!others.count, "others are to fail already");
	tell_all("/proc/self/task", name, n);
	tell_all("/proc", name, n);
	return others.count;
}

unsigned int kiommu_fail_nth_of_fired(void)
{
	unsigned int fired = 0;

	for (unsigned int i = 0; i < others.count; i++) {
		char text[16] = "";

		if (pread(others.fd[i], text, sizeof(text) - 1, 0) > 0)
			fired += !atoi(text);
		TEST_ASSERT(pwrite(others.fd[i], "0", 1, 0) == 1 || errno == ESRCH,
			    "fail-nth: %d", errno);
		close(others.fd[i]);
	}
	others.count = 0;
	return fired;
}
