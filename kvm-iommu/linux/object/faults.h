/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Faults of a container: who reads them, and those of DMA, which the host's
 * IOMMU driver reports. What is queued of them is the core's.
 */
#ifndef KIOMMU_FAULTS_H
#define KIOMMU_FAULTS_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "port.h"

struct file;
struct kiommu_container;
struct kiommu_host_reports;

/**
 * struct kiommu_fault_reader - see port.h
 * @lock: of what the core has queued.
 * @flags: of the interrupts, with @lock.
 * @queue: who waits for records, or for the end.
 * @reading: one read at a time takes records out.
 * @gone: VFIO has released the container: no more will come.
 */
struct kiommu_fault_reader {
	spinlock_t lock; /* of the core's queue */
	unsigned long flags;
	wait_queue_head_t queue;
	struct mutex reading; /* from peek to drop */
	bool gone;
};

/* fault_fd.c */

void kiommu_fault_reader_init(struct kiommu_fault_reader *reader);

/* No more faults will come: who waits is told. */
void kiommu_fault_reader_hang_up(struct kiommu_fault_reader *reader);

/**
 * kiommu_fault_fd() - KVM_IOMMU_GET_FAULT_FD
 *
 * The file holds a reference to @container, and the module.
 * @fd: set to a descriptor that is reserved; @file: to its file. The caller
 *	installs both, or gives both up.
 *
 * Context: may sleep. Return: 0; -EBUSY; -ENOMEM; -EMFILE; -ENFILE.
 */
int kiommu_fault_fd(struct kiommu_container *container, u32 flags, int *fd,
		    struct file **file);

/* dma_faults.c */

/* What happens in a container's hosts, by the number of kiommu_container_get(). */
extern const struct kiommu_host_reports kiommu_dma_faults;

/* Waits for reports under way. There is no domain any more. */
void kiommu_dma_faults_exit(void);

#endif /* KIOMMU_FAULTS_H */
