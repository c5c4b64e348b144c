// SPDX-License-Identifier: GPL-2.0-only
/*
 * The only process of the machine whose memory is examined (s390x, static). It
 * loads the modules that /modules lists, in that order. Then virtio_blk drives
 * the disk and kiommu_image the entropy device, both with tables that Linux
 * writes. The report of kiommu_image goes to the disk, and the machine stops
 * with the tables in its memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define ENTROPY "0002:00:00.0"
#define DISK "/dev/vda"
#define REPORT "/sys/kernel/debug/kiommu_image"
#define BLOCK 4096
/* Bytes; behind the report. */
#define SCRATCH (8 << 20)

/* Waits first, because the console buffers its output. */
static void stop(void)
{
	usleep(500000);
	reboot(RB_POWER_OFF);
	exit(1);
}

/* Stops the machine without the line on the console that reports success. */
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(": %s\n", strerror(errno));
	stop();
}

static void mount_at(const char *type, const char *path)
{
	mkdir(path, 0755);
	if (mount("none", path, type, 0, NULL))
		die("mount %s", path);
}

static void load_modules(void)
{
	FILE *list = fopen("/modules", "r");
	char name[128];

	if (!list)
		die("/modules");
	while (fscanf(list, "%127s", name) == 1) {
		int fd = open(name, O_RDONLY);

		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			die("insmod %s", name);
		close(fd);
	}
	fclose(list);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("echo %s > %s", text, path);
	close(fd);
}

/* Makes requests of all sizes, whose pages virtio_blk maps and unmaps. */
static void use_disk(int disk)
{
	for (size_t size = BLOCK; size <= 1 << 20; size *= 2) {
		char *memory = aligned_alloc(BLOCK, size), *back;

		back = aligned_alloc(BLOCK, size);
		if (!memory || !back)
			die("memory");
		memset(memory, (int)(size / BLOCK), size);
		if (pwrite(disk, memory, size, SCRATCH) != (ssize_t)size ||
		    pread(disk, back, size, SCRATCH) != (ssize_t)size)
			die("%s: %zu bytes", DISK, size);
		if (memcmp(memory, back, size))
			die("%s: %zu bytes differ", DISK, size);
		free(memory);
		free(back);
	}
}

static void write_report(int disk)
{
	int report = open(REPORT, O_RDONLY);
	char *block = aligned_alloc(BLOCK, BLOCK);
	off_t at = 0;
	ssize_t got = 1;

	if (report < 0 || !block)
		die(REPORT);
	while (got > 0) {
		ssize_t filled = 0;

		memset(block, 0, BLOCK);
		while (filled < BLOCK &&
		       (got = read(report, block + filled, BLOCK - filled)) > 0)
			filled += got;
		if (got < 0 || pwrite(disk, block, BLOCK, at) != BLOCK)
			die("the report");
		at += BLOCK;
	}
	close(report);
	free(block);
}

int main(void)
{
	int disk = -1;

	setvbuf(stdout, NULL, _IONBF, 0);
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("devtmpfs", "/dev");
	mount_at("debugfs", "/sys/kernel/debug");
	put("/sys/bus/pci/devices/" ENTROPY "/driver_override", "kiommu_image");
	load_modules();
	for (int i = 0; i < 100 && disk < 0; i++) {
		disk = open(DISK, O_RDWR | O_DIRECT);
		if (disk < 0)
			usleep(100000);
	}
	if (disk < 0)
		die(DISK);
	use_disk(disk);
	write_report(disk);
	if (fsync(disk))
		die("fsync");
	puts("kiommu-image: the tables stand");
	stop();
}
