/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file whose contents do not come before somebody lets them (FUSE). A thread
 * that reads it through /proc/self/mem has its process's mmap_lock for reading
 * until then: nobody can have that lock for writing, and SIGKILL changes nothing.
 */
#ifndef KIOMMU_SELFTEST_STUCK_FILE_H
#define KIOMMU_SELFTEST_STUCK_FILE_H

#include <pthread.h>
#include <stdbool.h>

struct kiommu_stuck_file {
	int dev; /* /dev/fuse */
	pthread_t server;
	int wanted[2]; /* pipe: a byte when somebody waits for the contents */
	int let_go[2]; /* pipe: closed when they may come */
};

/* NULL, or why the machine has no such file. */
const char *kiommu_stuck_file_lacks(void);

/*
 * The file, at @path, which is made; served by a thread of this process. Once in a
 * process, before it forks.
 */
void kiommu_stuck_file_create(struct kiommu_stuck_file *file, const char *path);

/* Waits until somebody waits. Returns whether that was within a minute. */
bool kiommu_stuck_file_wanted(struct kiommu_stuck_file *file);

/* The contents come, for all who wait and from now on. Once more is harmless. */
void kiommu_stuck_file_let_go(struct kiommu_stuck_file *file);

/* Lets go and takes the file away. */
void kiommu_stuck_file_remove(struct kiommu_stuck_file *file, const char *path);

/*
 * Any process: maps @path, and has a thread of its own wait for the contents by
 * /proc/self/mem, as soon as something can be read from @when.
 */
void kiommu_stuck_file_hold_mmap_lock(const char *path, int when);

#endif /* KIOMMU_SELFTEST_STUCK_FILE_H */
