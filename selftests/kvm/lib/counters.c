// SPDX-License-Identifier: GPL-2.0-only
/* Counters and parameters of kernel and module, see counters.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/syscall.h>

#include "kvm_util.h"

#include "dma.h"
#include "ioctls.h"
#include "counters.h"

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

	/* The counters are per CPU, and summed up only now and then: do it. */
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

/* Return: -1 if the module is not loaded. */
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

long kiommu_await_refs(long most)
{
	for (int i = 0; i < 6000 && kiommu_module_refs() > most; i++)
		usleep(10000);
	return kiommu_module_refs();
}

long kiommu_kvm_refs(void)
{
	return refs_of("kvm") + refs_of("kvm_amd") + refs_of("kvm_intel") +
	       refs_of("kiommu_memory");
}

static char module_parameters[512];

/* Saves the parameters of the loaded module as "name=value ...". */
static void keep_parameters(void)
{
	static const char * const names[] = {
		"allow_unsafe_interrupts", "domain_per_group", "idle_pins_mb",
		"shadow_limit_mb",
	};
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128], value[64];
		FILE *file;

		snprintf(path, sizeof(path), "/sys/module/kvm_iommu/parameters/%s",
			 names[i]);
		file = fopen(path, "r");
		TEST_ASSERT(file && fscanf(file, "%63s", value) == 1, "%s", path);
		fclose(file);
		used += snprintf(module_parameters + used,
				 sizeof(module_parameters) - used, "%s=%s ",
				 names[i], value);
	}
}

int kiommu_module_unload(void)
{
	keep_parameters();
	return syscall(SYS_delete_module, "kvm_iommu", O_NONBLOCK) ? -errno : 0;
}

int kiommu_module_try_load(void)
{
	int fd = open_path_or_exit(getenv("KIOMMU_MODULE"), O_RDONLY);
	int ret = syscall(SYS_finit_module, fd, module_parameters, 0) ? -errno : 0;

	close(fd);
	return ret;
}

void kiommu_module_load(void)
{
	int ret = kiommu_module_try_load();

	TEST_ASSERT(!ret, "kvm_iommu.ko cannot be loaded: %d", ret);
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
