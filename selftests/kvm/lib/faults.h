/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file of a domain's faults (KVM_IOMMU_GET_FAULT_FD), and kiommu_inject.ko
 * (selftests/modules/inject), which reports blocked accesses as a host IOMMU
 * driver would.
 */
#ifndef KIOMMU_SELFTEST_FAULTS_H
#define KIOMMU_SELFTEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include <sys/types.h>

#include <linux/kvm_iommu.h>

#include "kiommu_util.h"

#define KIOMMU_NO_INJECT "there is no /files/kiommu_inject.ko"

/*
 * @fd: the container's. @flags: KVM_IOMMU_FAULT_FD_*. Return: the file, or
 * -errno.
 */
int kiommu_open_faults(int fd, uint32_t flags);

/* Return: what read() returned, or -errno. */
ssize_t kiommu_read_faults(int faults, void *to, size_t size);

/*
 * Reads the records that are there now, up to one with this reason. Return:
 * whether there was one.
 */
bool kiommu_next_fault(int faults, uint32_t reason, struct kvm_iommu_fault *fault);

/* What poll() reports now, asked for POLLIN and POLLOUT. */
short kiommu_poll_now(int faults);

/* The number that stands for a device in a record. */
uint32_t kiommu_fault_device(const struct kiommu_device *dev);

/* Loads kiommu_inject.ko for this device. Return: false if there is none. */
bool kiommu_load_inject(const struct kiommu_device *dev);
void kiommu_unload_inject(void);

/*
 * The same for kiommu_claims.ko (selftests/modules/inject), which says more of the
 * host's VT-d than is true. @parameters: of that module.
 */
#define KIOMMU_NO_CLAIMS "there is no /files/kiommu_claims.ko"
bool kiommu_load_claims(const char *parameters);
void kiommu_unload_claims(void);

/*
 * Reports @count blocked accesses, the first at @iova, @stride bytes apart.
 * @access: 'r', 'w'. @context: "thread", "irq", "late".
 */
void kiommu_inject(uint64_t iova, char access, uint64_t count, uint64_t stride,
		   const char *context);

/* How many of the last reports no handler accepted. */
long kiommu_inject_unhandled(void);

/*
 * Has maps of the host domain that the device is in now fail with ENOMEM: the
 * @first-th from now on, counted from 1, and the @count - 1 after it. The
 * second function ends that, and returns how many maps have failed.
 */
void kiommu_refuse_maps(unsigned long first, unsigned long count);
unsigned long kiommu_allow_maps(void);

/* While maps of that domain are refused: whether attaching devices is, too. */
void kiommu_refuse_attach(bool refuse);

/*
 * Whether the kernel has no numbers left for this process, see refuse_ids of the
 * module. The second function ends that, and returns how many were refused, or -1 if
 * this kernel cannot be made to.
 */
void kiommu_refuse_ids(void);
long kiommu_allow_ids(void);

/*
 * Has the group of that device reserve [@first, @first + @length), too; @length 0 ends
 * that. x86 only.
 */
void kiommu_reserve(uint64_t first, uint64_t length);

/* A guest with a file of faults, for the fixtures of tests. */
struct kiommu_faulty {
	struct kiommu k;
	int fd;		/* the container's */
	int faults;	/* the file, or -1; without O_NONBLOCK */
	bool inject;	/* kiommu_inject.ko is loaded */
};

void kiommu_faulty_set_up(struct kiommu_faulty *f);
void kiommu_faulty_tear_down(struct kiommu_faulty *f);

#endif
