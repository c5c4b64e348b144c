// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM passes on by the kernel's hook asm/zpci_iommu.h: operations of user
 * space on zPCI functions, RPCITs of the guest, deleted memory slots.
 *
 * For answers and errors see docs/s390.md. What a guest is answered is decided
 * in arch/s390/rpcit.hpp.
 *
 * RPCIT is called with kvm->srcu held, which is outside all locks taken here.
 * So a grace period of it must not be waited for under functions_lock, D, P or
 * the locks inside them. Signals that are not fatal do not interrupt an RPCIT:
 * it would have to start over, and a guest that gets many signals would never
 * finish it.
 */
#include <linux/kvm_iommu.h>
#include <asm/zpci_iommu.h>

#include "zpci_functions.h"
#include "zpci_hook.h"
#include "guest/guest.h"
#include "object/lock.h"
#include "object/object.h"

/* PCI event codes; the other codes are about an entry. */
enum {
	PEC_INVALID_ADDRESS_SPACE = 1,
	PEC_OUT_OF_RANGE = 2,
};

static int hook_start(struct kvm *kvm, struct zpci_dev *zdev)
{
	return kiommu_function_start(kvm, zdev);
}

static int hook_stop(struct kvm *kvm, struct zpci_dev *zdev)
{
	return kiommu_function_stop(kvm, zdev);
}

static int register_locked(struct kiommu_function *function,
			   const struct kiommu_zpci_ioat *ioat)
{
	struct kiommu_object *object = function->object;

	/* User space may have replaced the KVM. */
	if (object->guest && object->guest->memory->key != function->key)
		return -EBUSY;
	return kiommu_zpci_reg_ioat(&function->zpci, object->domain, ioat);
}

/* Shadows what the tables map already: guests execute no RPCIT for that. */
static int shadow_ioat(struct kiommu_function *function)
{
	bool made_room = false;
	u64 next = 0;
	int ret;

	do {
		ret = kiommu_function_lock_shared(function);
		if (ret)
			return ret;
		ret = kiommu_zpci_shadow_ioat(&function->zpci,
					      function->object->domain,
					      &next);
		kiommu_function_unlock_shared(function);
		if (ret == -ENOMEM && !made_room) {
			made_room = true;
			ret = kiommu_function_make_room(function) ?: -EAGAIN;
		}
		cond_resched();
	} while (ret == -EAGAIN);
	return ret;
}

static int reg_ioat(struct kiommu_function *function,
		    const struct kiommu_zpci_ioat *ioat)
{
	int ret;

	ret = kiommu_function_lock_exclusive(function);
	if (ret)
		return ret;
	ret = register_locked(function, ioat);
	kiommu_function_unlock_exclusive(function);
	if (ret)
		return ret;
	ret = shadow_ioat(function);
	if (!ret)
		return 0;
	kiommu_lock_exclusive(function->object);
	if (function->object->domain)
		kiommu_zpci_dereg_ioat(&function->zpci,
				       function->object->domain);
	kiommu_unlock_exclusive(function->object);
	return ret;
}

static int hook_reg_ioat(struct kvm *kvm, struct zpci_dev *zdev, u64 iota,
			 u64 pba, u64 pal)
{
	const struct kiommu_zpci_ioat ioat = {
		.iota = iota, .pba = pba, .pal = pal
	};
	struct kiommu_function *function = kiommu_function_get(kvm, zdev);
	int ret;

	if (!function)
		return -ENOENT;
	ret = reg_ioat(function, &ioat);
	kiommu_function_put(function);
	return ret;
}

static int hook_dereg_ioat(struct kvm *kvm, struct zpci_dev *zdev)
{
	struct kiommu_function *function = kiommu_function_get(kvm, zdev);
	int ret;

	if (!function)
		return -ENOENT;
	ret = kiommu_function_lock_exclusive(function);
	if (!ret) {
		ret = kiommu_zpci_dereg_ioat(&function->zpci,
					     function->object->domain);
		kiommu_function_unlock_exclusive(function);
	}
	kiommu_function_put(function);
	return ret;
}

static int hook_set_state(struct kvm *kvm, struct zpci_dev *zdev, u32 state)
{
	struct kiommu_function *function = kiommu_function_get(kvm, zdev);
	int ret;

	if (!function)
		return -ENOENT;
	ret = kiommu_function_lock_exclusive(function);
	if (!ret) {
		ret = kiommu_zpci_set_state(&function->zpci,
					    function->object->domain, state);
		kiommu_function_unlock_exclusive(function);
	}
	kiommu_function_put(function);
	return ret;
}

/*
 * The reader of the domain's faults gets a record, and the VMM tells the
 * guest.
 */
static void report(const struct kiommu_function *function,
		   const struct kiommu_zpci_event *event)
{
	struct kiommu_fault fault = {
		.reason = KVM_IOMMU_FAULT_ENTRY,
		.flags = KVM_IOMMU_FAULT_HAS_IOVA | KVM_IOMMU_FAULT_ZPCI |
			 KVM_IOMMU_FAULT_HAS_FORMAT,
		.code = event->pec,
		.status = event->status,
		.iova = event->address,
		.gpa = event->gpa,
		.level = event->level,
		.format = KVM_IOMMU_FORMAT_ZPCI,
		.device = event->fh,
	};

	if (event->has_gpa)
		fault.flags |= KVM_IOMMU_FAULT_HAS_GPA;
	if (event->pec == PEC_INVALID_ADDRESS_SPACE)
		fault.reason = KVM_IOMMU_FAULT_STATE;
	else if (event->pec == PEC_OUT_OF_RANGE)
		fault.reason = KVM_IOMMU_FAULT_RANGE;
	kiommu_core_report_fault(function->object->faults, &fault);
}

/* Does one round. Return: whether there is another. */
static bool step(struct kiommu_function *function, struct kiommu_rpcit *rpcit)
{
	switch (kiommu_function_lock_shared(function)) {
	case 0:
		break;
	case -EINTR:
		rpcit->outcome = KIOMMU_RPCIT_RETRY;
		return false;
	default:
		kiommu_rpcit_unknown(rpcit);
		return false;
	}
	kiommu_rpcit_step(rpcit, &function->zpci, function->object->domain);
	kiommu_function_unlock_shared(function);
	cond_resched();

	switch (rpcit->outcome) {
	case KIOMMU_RPCIT_MAKE_ROOM:
		/* If nothing can be freed, the next round says so. */
		kiommu_function_make_room(function);
		return true;
	case KIOMMU_RPCIT_AGAIN:
		return true;
	default:
		return false;
	}
}

static void execute(struct kvm *kvm, struct kiommu_rpcit *rpcit)
{
	struct kiommu_function *function;

	function = kiommu_function_get_handle(kvm, rpcit->fh);
	if (!function) {
		kiommu_rpcit_unknown(rpcit);
		return;
	}
	while (step(function, rpcit))
		;
	if (rpcit->event.pec)
		report(function, &rpcit->event);
	kiommu_function_put(function);
}

static int answer(const struct kiommu_rpcit *from, struct zpci_rpcit *to)
{
	switch (from->outcome) {
	case KIOMMU_RPCIT_DONE:
		to->gprs[0] = from->gprs[0];
		to->cc = from->cc;
		return ZPCI_RPCIT_DONE;
	case KIOMMU_RPCIT_PROGRAM:
		to->program_code = from->program_code;
		return ZPCI_RPCIT_PROGRAM;
	case KIOMMU_RPCIT_RETRY:
		return ZPCI_RPCIT_RETRY;
	default:
		return -EOPNOTSUPP;
	}
}

static int hook_rpcit(struct kvm *kvm, struct zpci_rpcit *args)
{
	struct kiommu_rpcit rpcit = {
		.problem_state = args->problem_state,
		.r1 = args->r1,
		.r2 = args->r2,
		.gprs = { args->gprs[0], args->gprs[1], args->gprs[2] },
	};

	/* Leave it all to user space, as if this module were not there. */
	if (!kiommu_functions_started(kvm))
		return -EOPNOTSUPP;
	kiommu_rpcit_decode(&rpcit);
	if (rpcit.outcome == KIOMMU_RPCIT_LOOK_UP)
		execute(kvm, &rpcit);
	return answer(&rpcit, args);
}

static void hook_slots_changed(struct kvm *kvm)
{
	kiommu_guest_slots_changed(kvm);
}

static const struct zpci_iommu_ops hook_ops = {
	.start = hook_start,
	.stop = hook_stop,
	.reg_ioat = hook_reg_ioat,
	.dereg_ioat = hook_dereg_ioat,
	.set_state = hook_set_state,
	.rpcit = hook_rpcit,
	.slots_changed = hook_slots_changed,
};

int kiommu_zpci_hook_init(void)
{
	return zpci_iommu_register(&hook_ops);
}

void kiommu_zpci_hook_exit(void)
{
	zpci_iommu_unregister(&hook_ops);
	kiommu_functions_exit();
}
