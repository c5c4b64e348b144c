// SPDX-License-Identifier: GPL-2.0-only
/* The file of faults and kiommu_inject.ko, see faults.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/syscall.h>

#include "kvm_util.h"

#include "faults.h"
#include "ioctls.h"

#define INJECT "kiommu_inject"
#define PARAMETERS "/sys/module/" INJECT "/parameters/"

int kiommu_open_faults(int fd, uint32_t flags)
{
	struct kvm_iommu_get_fault_fd arg = {
		.size = sizeof(arg),
		.flags = flags,
	};

	int ret = kiommu_ioctl(fd, KVM_IOMMU_GET_FAULT_FD, &arg);

	return ret ? ret : arg.fd;
}

ssize_t kiommu_read_faults(int faults, void *to, size_t size)
{
	ssize_t ret = read(faults, to, size);

	return ret < 0 ? -errno : ret;
}

short kiommu_poll_now(int faults)
{
	struct pollfd pollfd = { .fd = faults, .events = POLLIN | POLLOUT };
	int ret = poll(&pollfd, 1, 0);

	TEST_ASSERT(ret >= 0, "poll: %d", errno);
	return ret ? pollfd.revents : 0;
}

bool kiommu_next_fault(int faults, uint32_t reason, struct kvm_iommu_fault *fault)
{
	while (kiommu_poll_now(faults) & POLLIN) {
		if (read(faults, fault, sizeof(*fault)) != sizeof(*fault))
			return false;
		if (fault->reason == reason)
			return true;
	}
	return false;
}

/* Return: 0 or -errno. */
static int write_parameter(const char *name, const char *value)
{
	char path[128];
	int fd, ret = 0;

	snprintf(path, sizeof(path), PARAMETERS "%s", name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static bool load(const char *path, const char *parameters)
{
	int fd = open(path, O_RDONLY);
	int ret;

	if (fd < 0)
		return false;
	ret = syscall(SYS_finit_module, fd, parameters, 0);
	TEST_ASSERT(!ret || errno == EEXIST, "%s: %d", path, errno);
	close(fd);
	return true;
}

static void unload(const char *name)
{
	TEST_ASSERT(!syscall(SYS_delete_module, name, O_NONBLOCK),
		    "%s.ko stays: %d", name, errno);
}

bool kiommu_load_inject(const struct kiommu_device *dev)
{
	if (!load("/files/" INJECT ".ko", ""))
		return false;
	TEST_ASSERT(!write_parameter("device", dev->bdf), "%s", dev->bdf);
	return true;
}

void kiommu_unload_inject(void)
{
	unload(INJECT);
}

bool kiommu_load_claims(const char *parameters)
{
	return load("/files/kiommu_claims.ko", parameters);
}

void kiommu_unload_claims(void)
{
	unload("kiommu_claims");
}

void kiommu_inject(uint64_t iova, char access, uint64_t count, uint64_t stride,
		   const char *context)
{
	char text[128];
	int ret;

	snprintf(text, sizeof(text), "%#llx %c %llu %#llx %s",
		 (unsigned long long)iova, access, (unsigned long long)count,
		 (unsigned long long)stride, context);
	ret = write_parameter("report", text);
	TEST_ASSERT(!ret, "%s: %d", text, ret);
}

long kiommu_inject_unhandled(void)
{
	FILE *file = fopen(PARAMETERS "unhandled", "r");
	long count = -1;

	TEST_ASSERT(file && fscanf(file, "%ld", &count) == 1, "unhandled");
	fclose(file);
	return count;
}

void kiommu_refuse_maps(unsigned long first, unsigned long count)
{
	char text[64];
	int ret;

	snprintf(text, sizeof(text), "%lu %lu", first, count);
	ret = write_parameter("refuse", text);
	TEST_ASSERT(!ret, "refuse %s: %d", text, ret);
}

void kiommu_refuse_attach(bool refuse)
{
	int ret = write_parameter("refuse_attach", refuse ? "1" : "0");

	TEST_ASSERT(!ret, "refuse_attach: %d", ret);
}

unsigned long kiommu_allow_maps(void)
{
	FILE *file = fopen(PARAMETERS "refused", "r");
	unsigned long refused = 0;

	TEST_ASSERT(file && fscanf(file, "%lu", &refused) == 1, "refused");
	fclose(file);
	kiommu_refuse_maps(0, 0);
	return refused;
}

static void set_refuse_ids(const char *text)
{
	int ret = write_parameter("refuse_ids", text);

	TEST_ASSERT(!ret, "refuse_ids: %d", ret);
}

void kiommu_refuse_ids(void)
{
	set_refuse_ids("1");
}

long kiommu_allow_ids(void)
{
	FILE *file = fopen(PARAMETERS "ids_refused", "r");
	long refused = 0;

	TEST_ASSERT(file && fscanf(file, "%ld", &refused) == 1, "ids_refused");
	fclose(file);
	set_refuse_ids("0");
	return refused;
}

void kiommu_reserve(uint64_t first, uint64_t length)
{
	char text[64];
	int ret;

	snprintf(text, sizeof(text), "%#llx %#llx", (unsigned long long)first,
		 (unsigned long long)length);
	ret = write_parameter("reserve", text);
	TEST_ASSERT(!ret, "reserve %s: %d", text, ret);
}

uint32_t kiommu_fault_device(const struct kiommu_device *dev)
{
	unsigned int segment, bus, slot, function;

	TEST_ASSERT(sscanf(dev->bdf, "%x:%x:%x.%x", &segment, &bus, &slot,
			   &function) == 4, "%s", dev->bdf);
	return segment << 16 | bus << 8 | slot << 3 | function;
}

void kiommu_faulty_set_up(struct kiommu_faulty *f)
{
	kiommu_setup(&f->k, VFIO_KVM_IOMMU);
	f->fd = f->k.vfio.fd;
	f->faults = kiommu_open_faults(f->fd, 0);
	TEST_ASSERT(f->faults >= 0, "GET_FAULT_FD: %d", f->faults);
	f->inject = kiommu_load_inject(&f->k.vfio.dev[0]);
}

void kiommu_faulty_tear_down(struct kiommu_faulty *f)
{
	if (f->inject)
		kiommu_unload_inject();
	if (f->faults >= 0)
		close(f->faults);
	kiommu_teardown(&f->k);
}
