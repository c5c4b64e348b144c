/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of the process whose pages are missing until the test supplies them
 * (userfaultfd): an access waits for that.
 */
#ifndef KIOMMU_SELFTEST_USERFAULT_H
#define KIOMMU_SELFTEST_USERFAULT_H

#include <stdint.h>

/* Return: NULL, or why the machine cannot have such memory. */
const char *kiommu_uffd_lacks(void);

/* Opens a userfaultfd; adds memory to it, which must not be touched before. */
int kiommu_uffd_open(void);
void kiommu_uffd_add(int uffd, void *mem, uint64_t size);

/* Return: the page that an access waits for; NULL if none does in a minute. */
void *kiommu_uffd_next(int uffd);

/*
 * The first supplies the page, with the contents at @from. The second wakes the
 * accesses that wait, which look for the page again. Return: 0 or -errno.
 */
int kiommu_uffd_answer(int uffd, void *page, const void *from);
int kiommu_uffd_wake(int uffd, void *page);

#endif /* KIOMMU_SELFTEST_USERFAULT_H */
