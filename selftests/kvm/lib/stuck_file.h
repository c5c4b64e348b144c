/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file (FUSE) whose contents do not arrive until a test allows it. A thread
 * that reads it through /proc/self/mem holds its process's mmap_lock for
 * reading until then: the lock cannot be taken for writing, and SIGKILL does
 * not help.
 */
#ifndef KIOMMU_SELFTEST_STUCK_FILE_H
#define KIOMMU_SELFTEST_STUCK_FILE_H

#include <pthread.h>
#include <stdbool.h>

struct kiommu_stuck_file {
	int dev; /* /dev/fuse */
	pthread_t server;
	int wanted[2]; /* pipe: a byte for each reader that waits */
	int let_go[2]; /* pipe: closed when the contents may arrive */
};

/* Return: NULL, or why the machine cannot have such a file. */
const char *kiommu_stuck_file_lacks(void);

/*
 * Creates the file at @path; a thread of this process serves it. To be called
 * once in a process, before it forks.
 */
void kiommu_stuck_file_create(struct kiommu_stuck_file *file, const char *path);

/* Waits for a reader, for up to a minute. Return: whether there is one. */
bool kiommu_stuck_file_wanted(struct kiommu_stuck_file *file);

/* Lets the contents arrive, now and from now on. May be called again. */
void kiommu_stuck_file_let_go(struct kiommu_stuck_file *file);

/* Lets the contents arrive, and removes the file. */
void kiommu_stuck_file_remove(struct kiommu_stuck_file *file, const char *path);

/*
 * Called in any process: maps @path, and starts a thread that waits for the
 * contents through /proc/self/mem, as soon as @when can be read.
 */
void kiommu_stuck_file_hold_mmap_lock(const char *path, int when);

#endif /* KIOMMU_SELFTEST_STUCK_FILE_H */
