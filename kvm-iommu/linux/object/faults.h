/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Faults of a domain: their reader, and the DMA faults that the host's IOMMU
 * driver reports. The queue itself belongs to the core.
 */
#ifndef KIOMMU_FAULTS_H
#define KIOMMU_FAULTS_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "port.h"

struct file;
struct kiommu_object;
struct kiommu_host_reports;

/**
 * struct kiommu_fault_reader - see port.h
 * @lock: protects the core's queue.
 * @flags: interrupt state saved by the holder of @lock.
 * @queue: waited on for records, or for @gone.
 * @reading: serialises reads; held from peeking at records to dropping them.
 * @gone: VFIO has released the domain, so no more faults will come.
 */
struct kiommu_fault_reader {
	spinlock_t lock; /* protects the core's queue */
	unsigned long flags;
	wait_queue_head_t queue;
	struct mutex reading; /* from peek to drop */
	bool gone;
};

/* fault_fd.c */

void kiommu_fault_reader_init(struct kiommu_fault_reader *reader);

/* No more faults will come: wakes up whoever waits for one. */
void kiommu_fault_reader_hang_up(struct kiommu_fault_reader *reader);

/**
 * kiommu_fault_fd() - KVM_IOMMU_GET_FAULT_FD
 * @fd: set to a reserved file descriptor.
 * @file: set to its file. The caller installs both, or gives both up.
 *
 * The file holds references to @object and to the module.
 *
 * Context: may sleep.
 * Return: 0; -EBUSY; -ENOMEM; -EMFILE; -ENFILE.
 */
int kiommu_fault_fd(struct kiommu_object *object, u32 flags, int *fd,
		    struct file **file);

/* dma_faults.c */

/*
 * Handlers for a domain's hosts, which name it by its id, see
 * kiommu_object_get().
 */
extern const struct kiommu_host_reports kiommu_dma_faults;

/* Waits for reports under way. No domain is left. */
void kiommu_dma_faults_exit(void);

#endif /* KIOMMU_FAULTS_H */
