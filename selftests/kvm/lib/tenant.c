// SPDX-License-Identifier: GPL-2.0-only
/* Processes side by side, see tenant.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "kvm_util.h"

#include "ioctls.h"
#include "tenant.h"

void kiommu_tenant_set_up(struct kiommu_tenant *t, unsigned int i)
{
	kiommu_container_open(&t->vfio);
	t->dev = &t->vfio.dev[i];
	TEST_ASSERT(!kiommu_group_open(&t->vfio, t->dev) &&
		    !kiommu_group_attach(&t->vfio, t->dev) &&
		    !kiommu_set_iommu(t->vfio.fd, VFIO_KVM_IOMMU), "container");
	kiommu_vm_create_bare(&t->vm);
	t->kvm_vfio = kiommu_vm_open_vfio(&t->vm);
	TEST_ASSERT(!kiommu_kvm_add_group(t->kvm_vfio, t->dev), "group");
}

void kiommu_tenant_tear_down(struct kiommu_tenant *t)
{
	close(t->kvm_vfio);
	kiommu_container_close(&t->vfio);
	kiommu_vm_free(&t->vm);
}

void kiommu_tell(const int *pipe)
{
	TEST_ASSERT(write(pipe[1], "", 1) == 1, "pipe: %d", errno);
}

void kiommu_await(const int *pipe)
{
	char byte;

	TEST_ASSERT(read(pipe[0], &byte, 1) == 1, "pipe: %d", errno);
}

bool kiommu_comes(const int *pipe)
{
	struct pollfd ready = { .fd = pipe[0], .events = POLLIN };
	char byte;

	return poll(&ready, 1, KIOMMU_TENANT_MS) == 1 &&
	       read(pipe[0], &byte, 1) == 1;
}

static char state_of(pid_t pid, pid_t tid)
{
	char path[64], state = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid ? pid : tid, tid);
	file = tid ? fopen(path, "r") : NULL;
	if (!file)
		return 0;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 0;
	fclose(file);
	return state;
}

bool kiommu_thread_reaches(pid_t pid, const pid_t *tid, char state)
{
	for (int i = 0; i < KIOMMU_TENANT_MS / 10; i++) {
		if (state_of(pid, __atomic_load_n(tid, __ATOMIC_ACQUIRE)) == state)
			return true;
		usleep(10000);
	}
	return false;
}
