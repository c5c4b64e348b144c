/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of the process that comes no sooner than somebody says what is in it
 * (userfaultfd): who touches it waits for that.
 */
#ifndef KIOMMU_SELFTEST_USERFAULT_H
#define KIOMMU_SELFTEST_USERFAULT_H

#include <stdint.h>

/* NULL, or why the machine has no such memory. */
const char *kiommu_uffd_lacks(void);

/* A file for such memory; and some for it, which nobody has touched yet. */
int kiommu_uffd_open(void);
void kiommu_uffd_add(int uffd, void *mem, uint64_t size);

/* The page that somebody waits for. NULL: nobody has come within a minute. */
void *kiommu_uffd_next(int uffd);

/*
 * The page is there now, with what is at @from; and: who waits for it looks again
 * whether it is. Return 0 or -errno.
 */
int kiommu_uffd_answer(int uffd, void *page, const void *from);
int kiommu_uffd_wake(int uffd, void *page);

#endif /* KIOMMU_SELFTEST_USERFAULT_H */
