/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes beside each other, each with a guest and a device of its own: what
 * they have, how they are told to go on, and what others see of their threads.
 */
#ifndef KIOMMU_SELFTEST_TENANT_H
#define KIOMMU_SELFTEST_TENANT_H

#include <stdbool.h>

#include <sys/types.h>

#include "guest_vm.h"
#include "vfio.h"

/* So long must be enough for what does not wait. */
#define KIOMMU_TENANT_MS 60000

/* A guest and a container with one device. */
struct kiommu_tenant {
	struct kiommu_container vfio;
	struct kiommu_vm vm;
	int kvm_vfio;
	struct kiommu_device *dev;
};

/* With device @i, which is not open: the guest is not registered yet. */
void kiommu_tenant_set_up(struct kiommu_tenant *t, unsigned int i);
void kiommu_tenant_tear_down(struct kiommu_tenant *t);

/* By a pipe, a byte a time: the one says it, the other one waits for it. */
void kiommu_tell(const int *pipe);
void kiommu_await(const int *pipe);
/* Whether it comes in time. */
bool kiommu_comes(const int *pipe);

/*
 * Whether thread *@tid of process @pid does come to be in @state, a letter of
 * /proc; 0: it is not there. @pid 0: it is the only one of its process. *@tid may be
 * 0 at first.
 */
bool kiommu_thread_reaches(pid_t pid, const pid_t *tid, char state);

#endif /* KIOMMU_SELFTEST_TENANT_H */
