// SPDX-License-Identifier: GPL-2.0-only
/* Calls of the hook by kiommu_memory.ko, see zpci_hook.h. */
#include <errno.h>
#include <stdio.h>

#include "test_util.h"

#include "ioctls.h"
#include "zpci_hook.h"

#define R1_STATUS 0xff000000ull

static int operate(int vm, const struct kiommu_device *dev,
		   struct kiommu_hook_op *op, uint32_t operation)
{
	unsigned int device, function;

	TEST_ASSERT(sscanf(dev->bdf, "%x:%x:%x.%x", &op->function.domain,
			   &op->function.bus, &device, &function) == 4,
		    "%s", dev->bdf);
	op->function.devfn = device << 3 | function;
	op->operation = operation;
	return kiommu_ioctl(vm, KIOMMU_HOOK_OP, op);
}

int zpci_start(int vm, const struct kiommu_device *dev)
{
	struct kiommu_hook_op op = {};

	return operate(vm, dev, &op, KIOMMU_HOOK_START);
}

int zpci_stop(int vm, const struct kiommu_device *dev)
{
	struct kiommu_hook_op op = {};

	return operate(vm, dev, &op, KIOMMU_HOOK_STOP);
}

int zpci_reg_ioat(int vm, const struct kiommu_device *dev, uint64_t iota,
		  uint64_t pba, uint64_t pal)
{
	struct kiommu_hook_op op = { .iota = iota, .pba = pba, .pal = pal };

	return operate(vm, dev, &op, KIOMMU_HOOK_REG_IOAT);
}

int zpci_dereg_ioat(int vm, const struct kiommu_device *dev)
{
	struct kiommu_hook_op op = {};

	return operate(vm, dev, &op, KIOMMU_HOOK_DEREG_IOAT);
}

int zpci_set_state(int vm, const struct kiommu_device *dev, uint32_t state)
{
	struct kiommu_hook_op op = { .state = state };

	return operate(vm, dev, &op, KIOMMU_HOOK_SET_STATE);
}

int zpci_query(int vm, const struct kiommu_device *dev, struct kiommu_hook_op *op)
{
	struct kiommu_hook_op own = {};

	return operate(vm, dev, op ? op : &own, KIOMMU_HOOK_QUERY);
}

bool zpci_lacks_hook(int vm, const struct kiommu_device *dev)
{
	return zpci_query(vm, dev, NULL) == -ENOTTY;
}

uint32_t zpci_handle(int vm, const struct kiommu_device *dev)
{
	struct kiommu_hook_op op = {};
	int ret = zpci_query(vm, dev, &op);

	TEST_ASSERT(!ret, "handle of %s: %d", dev->bdf, ret);
	return op.fh;
}

int zpci_reset(int vm, const struct kiommu_device *dev)
{
	struct kiommu_hook_op op = {};

	return operate(vm, dev, &op, KIOMMU_HOOK_RESET);
}

int zpci_set_handle(int vm, const struct kiommu_device *dev, uint32_t fh)
{
	struct kiommu_hook_op op = { .fh = fh };

	return operate(vm, dev, &op, KIOMMU_HOOK_SET_HANDLE);
}

int zpci_rpcit_registers(int vm, int problem_state, unsigned int r2,
			 uint64_t gr1, uint64_t gr2, uint64_t gr3)
{
	struct kiommu_hook_rpcit rpcit;
	int ret;

	do {
		rpcit = (struct kiommu_hook_rpcit){
			.problem_state = problem_state,
			.r1 = 3,
			.r2 = r2,
			.gprs = { gr1, gr2, gr3 },
		};
		ret = kiommu_ioctl(vm, KIOMMU_HOOK_RPCIT, &rpcit);
		TEST_ASSERT(!ret, "RPCIT: %d", ret);
	} while (rpcit.outcome == KIOMMU_HOOK_RETRY);
	TEST_ASSERT(rpcit.gprs[1] == gr2 && rpcit.gprs[2] == gr3,
		    "r2, r2 + 1 changed");
	TEST_ASSERT(!((rpcit.gprs[0] ^ gr1) & ~R1_STATUS), "r1 became %#llx",
		    (unsigned long long)rpcit.gprs[0]);
	switch (rpcit.outcome) {
	case KIOMMU_HOOK_DONE:
		/* Only CC 1 comes with a status. */
		if (rpcit.cc != 1)
			return ZPCI_CC(rpcit.cc, 0);
		return ZPCI_CC(1, (rpcit.gprs[0] & R1_STATUS) >> 24);
	case KIOMMU_HOOK_PROGRAM:
		return ZPCI_PROGRAM(rpcit.program_code);
	default:
		return rpcit.outcome;
	}
}

int zpci_rpcit(int vm, uint32_t fh, uint64_t iova, uint64_t length)
{
	int answer;

	do {
		answer = zpci_rpcit_registers(vm, 0, 6, (uint64_t)fh << 32, iova,
					      length);
	} while (answer == ZPCI_BUSY);
	return answer;
}
