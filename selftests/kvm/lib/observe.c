// SPDX-License-Identifier: GPL-2.0-only
/* Counters and parameters of kernel and module, see observe.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test_util.h"

#include "dma.h"
#include "ioctls.h"
#include "observe.h"

static void write_file(const char *path, const char *value)
{
	ssize_t length = strlen(value);
	int fd = open(path, O_WRONLY);

	TEST_ASSERT(fd >= 0, "%s cannot be written", path);
	TEST_ASSERT(write(fd, value, length) == length, "%s: %s", path, value);
	close(fd);
}

static void count_pins(unsigned long long *acquired,
		       unsigned long long *released)
{
	int found = 0;
	char line[128];
	FILE *file;

	/* Each CPU counts for itself for a while: make it tell. */
	write_file("/proc/sys/vm/stat_refresh", "1");
	file = fopen("/proc/vmstat", "r");
	TEST_ASSERT(file, "no /proc/vmstat");
	while (fgets(line, sizeof(line), file)) {
		found += sscanf(line, "nr_foll_pin_acquired %llu", acquired) == 1;
		found += sscanf(line, "nr_foll_pin_released %llu", released) == 1;
	}
	fclose(file);
	TEST_ASSERT(found == 2, "the kernel does not count its pins");
}

uint64_t kiommu_pins(void)
{
	unsigned long long acquired = 0, released = 0;

	count_pins(&acquired, &released);
	return acquired - released;
}

uint64_t kiommu_pins_made(void)
{
	unsigned long long acquired = 0, released = 0;

	count_pins(&acquired, &released);
	return acquired - kiommu_dma_pins_made();
}

/* -1: it is not loaded. */
static long refs_of(const char *module)
{
	char path[128];
	long refs = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", module);
	file = fopen(path, "r");
	if (!file)
		return -1;
	TEST_ASSERT(fscanf(file, "%ld", &refs) == 1, "%s cannot be read", path);
	fclose(file);
	return refs;
}

/* Modules that are built on kvm_iommu.ko count as users of it. */
static long holders_of(const char *module)
{
	char path[128];
	long count = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/module/%s/holders", module);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

long kiommu_module_refs(void)
{
	return refs_of("kvm_iommu") - holders_of("kvm_iommu");
}

long kiommu_kvm_refs(void)
{
	return refs_of("kvm") + refs_of("kvm_amd") + refs_of("kvm_intel") +
	       refs_of("kiommu_memory");
}

void kiommu_set_param(const char *name, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/module/kvm_iommu/parameters/%s", name);
	write_file(path, value);
}

static struct kvm_iommu_info info_of(int fd)
{
	struct kvm_iommu_info info;
	int ret = kiommu_get_info(fd, &info);

	TEST_ASSERT(!ret, "KVM_IOMMU_GET_INFO: %d", ret);
	return info;
}

uint64_t kiommu_mapped_pages(int fd)
{
	return info_of(fd).mapped_pages;
}

uint64_t kiommu_pinned_pages(int fd)
{
	return info_of(fd).pinned_pages;
}

uint64_t kiommu_idle_pages(int fd)
{
	return info_of(fd).idle_pages;
}

uint32_t kiommu_shadow_rights(int fd, uint64_t iova)
{
	struct kvm_iommu_translate answer;
	int ret = kiommu_translate(fd, iova, &answer);

	TEST_ASSERT(!ret, "KVM_IOMMU_TRANSLATE(%llx): %d",
		    (unsigned long long)iova, ret);
	return answer.shadow_rights;
}
