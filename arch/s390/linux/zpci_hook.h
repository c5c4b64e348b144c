/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Our side of the kernel's hook asm/zpci_iommu.h, which arch/s390/kvm/ adds to
 * a kernel. Built only for kernels that have it.
 */
#ifndef KIOMMU_ZPCI_HOOK_H
#define KIOMMU_ZPCI_HOOK_H

#ifdef KIOMMU_ZPCI_HOOK

/*
 * Registers the hook: KVM calls it from now on. Return: 0; -EBUSY if another
 * module is registered.
 */
int kiommu_zpci_hook_init(void);

/*
 * Unregisters the hook, and stops functions that are still started. May sleep.
 */
void kiommu_zpci_hook_exit(void);

#else

static inline int kiommu_zpci_hook_init(void)
{
	return 0;
}

static inline void kiommu_zpci_hook_exit(void)
{
}

#endif

#endif /* KIOMMU_ZPCI_HOOK_H */
