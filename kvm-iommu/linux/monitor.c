// SPDX-License-Identifier: GPL-2.0-only
/*
 * Monitors of the core, see port.h.
 *
 * A mutex and a queue. Who waits is in the queue before it unlocks, and who
 * wakes has the mutex: no wake-up is lost. Who waits can be killed: the requests
 * that are waited for may be those of another process, which has no end that this
 * one could bring about.
 */
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "port.h"

struct kiommu_monitor {
	struct mutex lock; /* of what the core protects by it */
	wait_queue_head_t queue;
};

struct kiommu_monitor *kiommu_port_monitor_create(void)
{
	struct kiommu_monitor *monitor;

	monitor = kmalloc(sizeof(*monitor), GFP_KERNEL_ACCOUNT);
	if (!monitor)
		return NULL;
	mutex_init(&monitor->lock);
	init_waitqueue_head(&monitor->queue);
	return monitor;
}

void kiommu_port_monitor_destroy(struct kiommu_monitor *monitor)
{
	mutex_destroy(&monitor->lock);
	kfree(monitor);
}

void kiommu_port_lock(struct kiommu_monitor *monitor)
{
	mutex_lock(&monitor->lock);
}

void kiommu_port_unlock(struct kiommu_monitor *monitor)
{
	mutex_unlock(&monitor->lock);
}

int kiommu_port_wait(struct kiommu_monitor *monitor)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&monitor->queue, &wait, TASK_KILLABLE);
	mutex_unlock(&monitor->lock);
	schedule();
	finish_wait(&monitor->queue, &wait);
	mutex_lock(&monitor->lock);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

void kiommu_port_wake(struct kiommu_monitor *monitor)
{
	/* Who waits got into the queue with the mutex held, as it is here. */
	if (waitqueue_active(&monitor->queue))
		wake_up_all(&monitor->queue);
}
