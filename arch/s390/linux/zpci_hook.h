/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Our side of the kernel's hook asm/zpci_iommu.h, which arch/s390/kvm/ adds to a
 * kernel. Built for a kernel that has it.
 */
#ifndef KIOMMU_ZPCI_HOOK_H
#define KIOMMU_ZPCI_HOOK_H

#ifdef KIOMMU_ZPCI_HOOK

/* From now on KVM calls us. Return: 0; -EBUSY another module is registered. */
int kiommu_zpci_hook_init(void);

/* No longer; functions that are still started are stopped. May sleep. */
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
