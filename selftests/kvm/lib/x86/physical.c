// SPDX-License-Identifier: GPL-2.0-only
/* Physical memory, registers, page frames. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <linux/elf.h>

#include "kvm_util.h"

#include "physical.h"

#define PAGE 4096ull
#define NOT_DIRECT (~0ull) /* p_paddr of what is not the direct map */

/* /proc/kcore is an ELF file; its segments tell where memory lies in it. */
static int offset_in_kcore(int fd, uint64_t pa, size_t size, off_t *offset)
{
	struct elf64_hdr elf;
	struct elf64_phdr segment;

	if (pread(fd, &elf, sizeof(elf), 0) != sizeof(elf))
		return -EIO;
	for (unsigned int i = 0; i < elf.e_phnum; i++) {
		off_t at = elf.e_phoff + i * sizeof(segment);

		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment))
			return -EIO;
		if (segment.p_type != PT_LOAD || segment.p_paddr == NOT_DIRECT)
			continue;
		if (pa >= segment.p_paddr &&
		    pa + size <= segment.p_paddr + segment.p_memsz) {
			*offset = segment.p_offset + (pa - segment.p_paddr);
			return 0;
		}
	}
	return -EFAULT;
}

int physical_read(uint64_t pa, void *to, size_t size)
{
	int fd = open("/proc/kcore", O_RDONLY);
	off_t offset;
	int ret;

	if (fd < 0)
		return -errno;
	ret = offset_in_kcore(fd, pa, size, &offset);
	if (!ret && pread(fd, to, size, offset) != (ssize_t)size)
		ret = -EIO;
	close(fd);
	return ret;
}

static int base_of(const char *device, uint64_t *base)
{
	FILE *file = fopen("/proc/iomem", "r");
	unsigned long long first;
	char line[256], name[128];
	int ret = -ENOENT;

	if (!file)
		return -errno;
	while (ret && fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %llx-%*x : %127[^\n]", &first, name) != 2 ||
		    strcmp(name, device))
			continue;
		*base = first;
		ret = 0;
	}
	fclose(file);
	return ret;
}

int physical_register(const char *device, uint64_t offset, uint64_t *value)
{
	uint64_t *registers;
	uint64_t base;
	int fd, ret;

	ret = base_of(device, &base);
	if (ret)
		return ret;
	fd = open("/dev/mem", O_RDONLY | O_SYNC);
	if (fd < 0)
		return -errno;
	registers = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, base);
	ret = registers == MAP_FAILED ? -errno : 0;
	close(fd);
	if (ret)
		return ret;
	*value = __atomic_load_n(&registers[offset / sizeof(*registers)],
				 __ATOMIC_RELAXED);
	munmap(registers, PAGE);
	return 0;
}

uint64_t physical_frame(const void *page)
{
	int fd = open_path_or_exit("/proc/self/pagemap", O_RDONLY);
	off_t at = (uintptr_t)page / PAGE * sizeof(uint64_t);
	uint64_t word;

	TEST_ASSERT(pread(fd, &word, sizeof(word), at) == sizeof(word),
		    "pagemap: %s", strerror(errno));
	close(fd);
	/* Bit 63: in memory; 54 to 0: the frame, or 0 if it is kept secret. */
	word &= ~(0x1ffull << 55) | 1ull << 63;
	TEST_ASSERT(word >> 63 && word << 1, "no frame behind %p", page);
	return word & ~(1ull << 63);
}
