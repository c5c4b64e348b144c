// SPDX-License-Identifier: GPL-2.0-only
/*
 * What KVM does with the hook asm/zpci_iommu.h, in place of kvm.ko, which does
 * not load without SIE: see kiommu_hook.h. The locking is as in KVM: operations
 * on a function run under its kzdev_lock, RPCIT under no lock, slots_changed
 * under slots_lock.
 *
 * KVM stops a function when its device is closed. This module is not told of
 * that: functions that are still started are stopped when the file is closed.
 */
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/zpci_iommu.h>

#include "kiommu_hook.h"
#include "memory.h"

/* A function that a file has started. */
struct started {
	struct list_head list;
	struct kiommu_test_memory *memory;
	struct pci_dev *pdev; /* referenced */
};

static DEFINE_MUTEX(started_lock); /* protects all_started */
static LIST_HEAD(all_started);

static struct kvm *key_of(struct kiommu_test_memory *memory)
{
	return (struct kvm *)memory;
}

static struct started *find_started(const struct kiommu_test_memory *memory,
				    const struct pci_dev *pdev)
{
	struct started *started;

	list_for_each_entry(started, &all_started, list)
		if (started->memory == memory && (!pdev || started->pdev == pdev))
			return started;
	return NULL;
}

static void forget(struct started *started)
{
	list_del(&started->list);
	pci_dev_put(started->pdev);
	kfree(started);
}

static int start(struct kiommu_test_memory *memory, struct pci_dev *pdev)
{
	struct started *started;
	int ret;

	started = kzalloc(sizeof(*started), GFP_KERNEL_ACCOUNT);
	if (!started)
		return -ENOMEM;
	ret = zpci_iommu_start(key_of(memory), to_zpci(pdev));
	if (ret) {
		kfree(started);
		return ret;
	}
	started->memory = memory;
	started->pdev = pci_dev_get(pdev);
	mutex_lock(&started_lock);
	list_add(&started->list, &all_started);
	mutex_unlock(&started_lock);
	return 0;
}

static int stop(struct kiommu_test_memory *memory, struct pci_dev *pdev)
{
	struct started *started;
	int ret;

	ret = zpci_iommu_stop(key_of(memory), to_zpci(pdev));
	mutex_lock(&started_lock);
	started = find_started(memory, pdev);
	if (started)
		forget(started);
	mutex_unlock(&started_lock);
	return ret;
}

static int reset(struct zpci_dev *zdev)
{
	if (zpci_disable_device(zdev) || zpci_reenable_device(zdev))
		return -EREMOTEIO;
	return 0;
}

/* The caller holds kzdev_lock. */
static int operate(struct kiommu_test_memory *memory, struct pci_dev *pdev,
		   const struct kiommu_hook_op *op)
{
	struct zpci_dev *zdev = to_zpci(pdev);
	struct kvm *kvm = key_of(memory);

	switch (op->operation) {
	case KIOMMU_HOOK_START:
		return start(memory, pdev);
	case KIOMMU_HOOK_STOP:
		return stop(memory, pdev);
	case KIOMMU_HOOK_REG_IOAT:
		return zpci_iommu_reg_ioat(kvm, zdev, op->iota, op->pba,
					   op->pal);
	case KIOMMU_HOOK_DEREG_IOAT:
		return zpci_iommu_dereg_ioat(kvm, zdev);
	case KIOMMU_HOOK_SET_STATE:
		return zpci_iommu_set_state(kvm, zdev, op->state);
	case KIOMMU_HOOK_QUERY:
		return 0;
	case KIOMMU_HOOK_RESET:
		return reset(zdev);
	case KIOMMU_HOOK_SET_HANDLE:
		WRITE_ONCE(zdev->fh, op->fh);
		return 0;
	}
	return -EINVAL;
}

static int hook_op(struct kiommu_test_memory *memory, void __user *argp)
{
	struct kiommu_hook_op op;
	struct zpci_dev *zdev;
	struct pci_dev *pdev;
	int ret;

	if (copy_from_user(&op, argp, sizeof(op)))
		return -EFAULT;
	pdev = pci_get_domain_bus_and_slot(op.function.domain, op.function.bus,
					   op.function.devfn);
	if (!pdev)
		return -ENODEV;
	zdev = to_zpci(pdev);
	mutex_lock(&zdev->kzdev_lock);
	ret = operate(memory, pdev, &op);
	op.fh = zdev->fh;
	op.start_dma = zdev->start_dma;
	op.end_dma = zdev->end_dma;
	mutex_unlock(&zdev->kzdev_lock);
	pci_dev_put(pdev);
	if (copy_to_user(argp, &op, sizeof(op)))
		return -EFAULT;
	return ret;
}

static int hook_rpcit(struct kiommu_test_memory *memory, void __user *argp)
{
	struct kiommu_hook_rpcit user;
	struct zpci_rpcit rpcit = {};

	if (copy_from_user(&user, argp, sizeof(user)))
		return -EFAULT;
	rpcit.problem_state = user.problem_state;
	rpcit.r1 = user.r1;
	rpcit.r2 = user.r2;
	memcpy(rpcit.gprs, user.gprs, sizeof(rpcit.gprs));
	user.outcome = zpci_iommu_rpcit(key_of(memory), &rpcit);
	memcpy(user.gprs, rpcit.gprs, sizeof(user.gprs));
	user.cc = rpcit.cc;
	user.program_code = rpcit.program_code;
	return copy_to_user(argp, &user, sizeof(user)) ? -EFAULT : 0;
}

long kiommu_test_hook_ioctl(struct kiommu_test_memory *memory, unsigned int cmd,
			    unsigned long arg)
{
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case KIOMMU_HOOK_OP:
		return hook_op(memory, argp);
	case KIOMMU_HOOK_RPCIT:
		return hook_rpcit(memory, argp);
	default:
		return -ENOTTY;
	}
}

void kiommu_test_hook_release(struct kiommu_test_memory *memory)
{
	struct started *started;
	struct pci_dev *pdev;

	for (;;) {
		mutex_lock(&started_lock);
		started = find_started(memory, NULL);
		pdev = started ? pci_dev_get(started->pdev) : NULL;
		mutex_unlock(&started_lock);
		if (!pdev)
			break;
		mutex_lock(&to_zpci(pdev)->kzdev_lock);
		stop(memory, pdev);
		mutex_unlock(&to_zpci(pdev)->kzdev_lock);
		pci_dev_put(pdev);
	}
}

void kiommu_test_slots_changed(struct kiommu_test_memory *memory)
{
	zpci_iommu_slots_changed(key_of(memory));
}
