/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/kvm_iommu, and the files of the domains that it creates.
 */
#ifndef KIOMMU_DOMAIN_FILE_H
#define KIOMMU_DOMAIN_FILE_H

/* Return: 0, or what misc_register() returns. */
int kiommu_domain_files_register(void);
/* From here on the device can be opened. The module will not fail to load. */
void kiommu_domain_files_ready(void);
void kiommu_domain_files_unregister(void);

#endif /* KIOMMU_DOMAIN_FILE_H */
