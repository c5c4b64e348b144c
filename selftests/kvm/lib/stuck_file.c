// SPDX-License-Identifier: GPL-2.0-only
/*
 * See stuck_file.h. The file is the root of a file system of its own, so the
 * server has to handle only a few requests.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <linux/fuse.h>

#include "test_util.h"

#include "area.h"
#include "stuck_file.h"

#define BYTES (16 * KIOMMU_PAGE)
/* The kernel wants room for the largest request. */
#define REQUEST_BYTES (1u << 17)

const char *kiommu_stuck_file_lacks(void)
{
	return access("/dev/fuse", R_OK | W_OK) ? "the kernel has no FUSE" : NULL;
}

static void reply(int dev, uint64_t unique, int error, const void *data,
		  size_t bytes)
{
	struct fuse_out_header head = {
		.len = sizeof(head) + bytes,
		.error = error,
		.unique = unique,
	};
	const struct iovec parts[] = {
		{ &head, sizeof(head) },
		{ (void *)data, bytes },
	};

	/* The reader may have been killed. */
	if (writev(dev, parts, 2) < 0 && errno != ENOENT)
		perror("FUSE: writev");
}

static void serve_read(struct kiommu_stuck_file *file, uint64_t unique,
		       const struct fuse_read_in *in)
{
	static const char contents[BYTES];
	struct pollfd let_go = { .fd = file->let_go[0], .events = POLLIN };
	uint64_t left = in->offset < BYTES ? BYTES - in->offset : 0;

	TEST_ASSERT(write(file->wanted[1], "", 1) == 1, "wanted");
	while (poll(&let_go, 1, -1) < 0)
		;
	reply(file->dev, unique, 0, contents, left < in->size ? left : in->size);
}

static void serve(struct kiommu_stuck_file *file,
		  const struct fuse_in_header *head, const void *arg)
{
	const struct fuse_init_out init = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_write = KIOMMU_PAGE,
	};
	const struct fuse_attr_out attr = {
		.attr_valid = 3600,
		.attr = {
			.ino = FUSE_ROOT_ID,
			.size = BYTES,
			.mode = S_IFREG | 0444,
			.nlink = 1,
		},
	};
	const struct fuse_open_out open = {};

	switch (head->opcode) {
	case FUSE_INIT:
		return reply(file->dev, head->unique, 0, &init, sizeof(init));
	case FUSE_GETATTR:
		return reply(file->dev, head->unique, 0, &attr, sizeof(attr));
	case FUSE_OPEN:
		return reply(file->dev, head->unique, 0, &open, sizeof(open));
	case FUSE_READ:
		return serve_read(file, head->unique, arg);
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		return reply(file->dev, head->unique, 0, NULL, 0);
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		return reply(file->dev, head->unique, -EOPNOTSUPP, NULL, 0);
	}
}

/* Runs until the file system is gone. */
static void *run_server(void *arg)
{
	static uint64_t request[REQUEST_BYTES / sizeof(uint64_t)];
	struct kiommu_stuck_file *file = arg;

	for (;;) {
		ssize_t got = read(file->dev, request, sizeof(request));

		if (got < 0 && errno == ENODEV)
			return NULL;
		if (got >= (ssize_t)sizeof(struct fuse_in_header))
			serve(file, (void *)request,
			      (char *)request + sizeof(struct fuse_in_header));
	}
}

void kiommu_stuck_file_create(struct kiommu_stuck_file *file, const char *path)
{
	char options[100];

	file->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	TEST_ASSERT(file->dev >= 0, "/dev/fuse: %d", errno);
	TEST_ASSERT(!pipe2(file->wanted, O_CLOEXEC) && !pipe2(file->let_go, O_CLOEXEC),
		    "pipes: %d", errno);
	close(open(path, O_CREAT | O_RDWR, 0600));
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100444,user_id=0,group_id=0", file->dev);
	TEST_ASSERT(!mount("kiommu", path, "fuse", MS_NOSUID | MS_NODEV, options),
		    "mount: %d", errno);
	TEST_ASSERT(!pthread_create(&file->server, NULL, run_server, file),
		    "no thread");
}

bool kiommu_stuck_file_wanted(struct kiommu_stuck_file *file)
{
	struct pollfd ready = { .fd = file->wanted[0], .events = POLLIN };

	return poll(&ready, 1, 60000) == 1;
}

void kiommu_stuck_file_let_go(struct kiommu_stuck_file *file)
{
	if (file->let_go[1] < 0)
		return;
	TEST_ASSERT(write(file->let_go[1], "", 1) == 1, "let go");
	close(file->let_go[1]);
	file->let_go[1] = -1;
}

void kiommu_stuck_file_remove(struct kiommu_stuck_file *file, const char *path)
{
	kiommu_stuck_file_let_go(file);
	TEST_ASSERT(!umount(path), "umount: %d", errno);
	pthread_join(file->server, NULL);
	unlink(path);
	close(file->dev);
	close(file->let_go[0]);
	close(file->wanted[0]);
	close(file->wanted[1]);
}

struct holder {
	char *mem;
	int when;
};

static void *hold(void *arg)
{
	struct holder *h = arg;
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char byte;

	TEST_ASSERT(fd >= 0 && read(h->when, &byte, 1) == 1, "when");
	TEST_ASSERT(pread(fd, &byte, 1, (off_t)(uintptr_t)h->mem) == 1,
		    "/proc/self/mem: %d", errno);
	close(fd);
	return NULL;
}

void kiommu_stuck_file_hold_mmap_lock(const char *path, int when)
{
	static struct holder h;
	pthread_t thread;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat stat;

	/* The kernel learns the size of the file by the first stat(). */
	TEST_ASSERT(!fstat(fd, &stat) && stat.st_size == BYTES, "%s: %d", path,
		    errno);
	h.when = when;
	h.mem = mmap(NULL, BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
	TEST_ASSERT(h.mem != MAP_FAILED, "mmap: %d", errno);
	TEST_ASSERT(!pthread_create(&thread, NULL, hold, &h) &&
		    !pthread_detach(thread), "no thread");
}
