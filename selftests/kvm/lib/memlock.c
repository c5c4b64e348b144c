// SPDX-License-Identifier: GPL-2.0-only
/* See memlock.h. */
#include <unistd.h>

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "kvm_util.h"

#include "memlock.h"

static void drop_ipc_lock(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	TEST_ASSERT(!syscall(SYS_capget, &header, data), "capget");
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	TEST_ASSERT(!syscall(SYS_capset, &header, data), "capset");
}

void kiommu_limit_memlock(uint64_t bytes)
{
	struct rlimit limit = { .rlim_cur = bytes, .rlim_max = 1ull << 30 };

	TEST_ASSERT(!setrlimit(RLIMIT_MEMLOCK, &limit), "setrlimit");
	drop_ipc_lock();
}
