// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mutexes of the core, see port.h: each has a wait queue.
 *
 * A waiter enters the queue before it unlocks, and a waker holds the mutex, so
 * no wakeup is lost. Waiters can be killed: the operations that they wait for may
 * belong to another process, and this one has no means of ending them.
 */
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "port.h"

struct kiommu_mutex {
	struct mutex lock; /* protects whatever the core uses it for */
	wait_queue_head_t queue;
};

struct kiommu_mutex *kiommu_port_mutex_create(void)
{
	struct kiommu_mutex *mutex;

	mutex = kmalloc(sizeof(*mutex), GFP_KERNEL_ACCOUNT);
	if (!mutex)
		return NULL;
	mutex_init(&mutex->lock);
	init_waitqueue_head(&mutex->queue);
	return mutex;
}

void kiommu_port_mutex_destroy(struct kiommu_mutex *mutex)
{
	mutex_destroy(&mutex->lock);
	kfree(mutex);
}

void kiommu_port_lock(struct kiommu_mutex *mutex)
{
	mutex_lock(&mutex->lock);
}

void kiommu_port_unlock(struct kiommu_mutex *mutex)
{
	mutex_unlock(&mutex->lock);
}

int kiommu_port_wait(struct kiommu_mutex *mutex)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&mutex->queue, &wait, TASK_KILLABLE);
	mutex_unlock(&mutex->lock);
	schedule();
	finish_wait(&mutex->queue, &wait);
	mutex_lock(&mutex->lock);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

void kiommu_port_wake(struct kiommu_mutex *mutex)
{
	/* Waiters enter the queue with the mutex held, as it is here. */
	if (waitqueue_active(&mutex->queue))
		wake_up_all(&mutex->queue);
}
