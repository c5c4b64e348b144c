/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes that run side by side, each with its own guest and device: what
 * they have, how they signal each other, and what others see of their threads.
 */
#ifndef KIOMMU_SELFTEST_TENANT_H
#define KIOMMU_SELFTEST_TENANT_H

#include <stdbool.h>

#include <sys/types.h>

#include "guest_vm.h"
#include "vfio.h"

/* Milliseconds: long enough for anything that does not block. */
#define KIOMMU_TENANT_MS 60000

/* A guest and a container with one device. */
struct kiommu_tenant {
	struct kiommu_container vfio;
	struct kiommu_vm vm;
	int kvm_vfio;
	struct kiommu_device *dev;
};

/* With device @i, which is not opened: the guest is not registered yet. */
void kiommu_tenant_set_up(struct kiommu_tenant *t, unsigned int i);
void kiommu_tenant_tear_down(struct kiommu_tenant *t);

/* Signals by a pipe, one byte each: one process tells, the other one awaits. */
void kiommu_tell(const int *pipe);
void kiommu_await(const int *pipe);
/* Whether the byte arrives in time. */
bool kiommu_comes(const int *pipe);

/*
 * Whether thread *@tid of process @pid reaches @state in time, a letter of
 * /proc; 0 means that the thread does not exist. @pid 0: its process has no
 * other thread. *@tid may still be 0 at first.
 */
bool kiommu_thread_reaches(pid_t pid, const pid_t *tid, char state);

#endif /* KIOMMU_SELFTEST_TENANT_H */
