// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells, see doorbell.h: eventfds, and who looks at the ring.
 *
 * KVM signals the kick eventfd from within the vCPU's exit: the thread runs in
 * process context, but under the lock of the eventfd and with interrupts off. So
 * nothing is done there but to have it done, by one of two:
 *
 * - the same thread, as task work: KVM runs that before it enters the guest
 *   again (xfer_to_guest_mode_handle_work()). Nobody is woken, and what is in the
 *   ring is done before the vCPU's next instruction. Kernels that do not export
 *   task_work_add() have no such doorbells. It does a few batches and no large
 *   entry; what is left, and what the thread could not do because it was
 *   exiting, is for
 * - a thread of the process: of its memory, its cgroups, its CPU time. It dies
 *   with the process; the ring is not looked at any more then.
 *
 * Task work cannot be called back, and who closes a doorbell must not wait for it:
 * it may be queued behind this very call on the same thread (closing the device
 * is task work, too). So it has a reference, and finds that the ring is not the
 * container's any more. It may be the last to leave this module: see
 * kiommu_doorbells_exit().
 *
 * That user space closes its file descriptors changes nothing: what is behind
 * them is referenced, and KVM may still signal it.
 *
 * Locks: @ring_lock is taken within D, outside of P's requests; @thread_lock
 * within the lock of the eventfd, innermost but for the scheduler's.
 */
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/vhost_task.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include <linux/kvm_iommu.h>

#include "container.h"
#include "doorbell.h"
#include "guest.h"
#include "lock.h"

/* Batches that a vCPU does by itself. */
#define KIOMMU_INLINE_BATCHES 2

enum {
	KIOMMU_BELL_QUEUED, /* @work is queued */
	KIOMMU_BELL_DUE, /* the thread has something to do */
};

/**
 * struct kiommu_doorbell - see above
 * @refs: one for who made it, one for @work while it is queued.
 * @container: referenced.
 * @mm: of the guest's process; compared only.
 * @ring: the core's.
 * @ring_lock: of @ring.
 * @flags: KIOMMU_BELL_*.
 * @kick: the doorbell.
 * @notify: for the guest, or NULL.
 * @poll: how @wait gets into the queue of @kick.
 * @wait: in that queue.
 * @add_work: task_work_add(), or NULL: never by the vCPU.
 * @work: looks at the ring.
 * @thread_lock: of @thread.
 * @thread: NULL once the doorbell is closed.
 */
struct kiommu_doorbell {
	refcount_t refs;
	struct kiommu_container *container;
	struct mm_struct *mm;
	struct kiommu_ring *ring;
	struct mutex ring_lock; /* of @ring */
	unsigned long flags;
	struct eventfd_ctx *kick;
	struct eventfd_ctx *notify;
	poll_table poll;
	wait_queue_entry_t wait;
	int (*add_work)(struct task_struct *task, struct callback_head *work,
			enum task_work_notify_mode notify);
	struct callback_head work;
	spinlock_t thread_lock; /* of @thread */
	struct vhost_task *thread;
};

static void put_bell(struct kiommu_doorbell *bell)
{
	if (!refcount_dec_and_test(&bell->refs))
		return;
	kiommu_core_ring_destroy(bell->ring);
	if (bell->notify)
		eventfd_ctx_put(bell->notify);
	eventfd_ctx_put(bell->kick);
	if (bell->add_work)
		symbol_put(task_work_add);
	mmdrop(bell->mm);
	kiommu_container_put(bell->container);
	mutex_destroy(&bell->ring_lock);
	kfree(bell);
	module_put(THIS_MODULE);
}

static void notify(struct kiommu_doorbell *bell, u32 answer)
{
	if (bell->notify && answer & KIOMMU_RING_NOTIFY)
		eventfd_signal(bell->notify);
}

/*
 * One round. It does nothing if the ring is not, or no longer, the container's,
 * or if this process is being killed. Return: KIOMMU_RING_*.
 */
static u32 look_at_ring(struct kiommu_doorbell *bell,
			enum kiommu_ring_large large)
{
	struct kiommu_container *container = bell->container;
	u32 answer = 0;

	if (kiommu_lock_shared(container))
		return 0;
	if (container->sync.doorbell == bell &&
	    !mutex_lock_killable(&bell->ring_lock)) {
		answer = kiommu_core_ring_consume(container->domain, bell->ring,
						  large);
		mutex_unlock(&bell->ring_lock);
	}
	kiommu_unlock_shared(container);
	notify(bell, answer);
	return answer;
}

#ifdef CONFIG_VHOST_TASK

/* Context: the state of the thread is "asleep" already. */
static bool thread_work(void *data)
{
	struct kiommu_doorbell *bell = data;

	if (!test_and_clear_bit(KIOMMU_BELL_DUE, &bell->flags))
		return false;
	__set_current_state(TASK_RUNNING);
	if (look_at_ring(bell, KIOMMU_RING_LARGE_NOW) & KIOMMU_RING_MORE)
		set_bit(KIOMMU_BELL_DUE, &bell->flags);
	cond_resched();
	return true;
}

/* The process is killed: nobody looks at its ring any more. */
static void thread_killed(void *data)
{
}

static int make_thread(struct kiommu_doorbell *bell)
{
	struct vhost_task *thread;

	thread = vhost_task_create(thread_work, thread_killed, bell,
				   "kvm_iommu-ring");
	if (IS_ERR(thread) && PTR_ERR(thread) == -ERESTARTNOINTR)
		return -ERESTARTNOINTR;
	if (IS_ERR_OR_NULL(thread))
		return -ENOMEM;
	bell->thread = thread;
	vhost_task_start(thread);
	return 0;
}

static void wake_thread(struct kiommu_doorbell *bell)
{
	unsigned long flags;

	spin_lock_irqsave(&bell->thread_lock, flags);
	set_bit(KIOMMU_BELL_DUE, &bell->flags);
	if (bell->thread)
		vhost_task_wake(bell->thread);
	spin_unlock_irqrestore(&bell->thread_lock, flags);
}

/* Nobody wakes it after this, and it has left. */
static void stop_thread(struct kiommu_doorbell *bell)
{
	struct vhost_task *thread;

	spin_lock_irq(&bell->thread_lock);
	thread = bell->thread;
	bell->thread = NULL;
	spin_unlock_irq(&bell->thread_lock);
	vhost_task_stop(thread);
}

#else

static int make_thread(struct kiommu_doorbell *bell)
{
	return -EOPNOTSUPP;
}

static void wake_thread(struct kiommu_doorbell *bell)
{
}

static void stop_thread(struct kiommu_doorbell *bell)
{
}

#endif

/*
 * Context: the thread of the process that rang, before it goes back to the guest
 * or to user space; or its end, when it has no memory any more.
 */
static void inline_work(struct callback_head *work)
{
	struct kiommu_doorbell *bell =
		container_of(work, struct kiommu_doorbell, work);
	unsigned int i = 0;
	u32 answer = KIOMMU_RING_MORE;

	/* Who rings from here on queues it anew: what came is looked at below. */
	clear_bit(KIOMMU_BELL_QUEUED, &bell->flags);
	/* The bit before avail; who rings: avail before the bit. */
	smp_mb__after_atomic();
	if (current->mm == bell->mm)
		for (; answer & KIOMMU_RING_MORE && i < KIOMMU_INLINE_BATCHES; i++)
			answer = look_at_ring(bell, KIOMMU_RING_LARGE_LATER);
	/* One that is killed may not be the only process that has the memory. */
	if (answer & KIOMMU_RING_MORE || fatal_signal_pending(current))
		wake_thread(bell);
	put_bell(bell);
}

/* Return: whether this thread, or another one, is about to look at the ring. */
static bool queue_inline(struct kiommu_doorbell *bell)
{
	const unsigned int others = PF_KTHREAD | PF_USER_WORKER | PF_EXITING;

	if (!bell->add_work || !in_task() || current->mm != bell->mm ||
	    current->flags & others)
		return false;
	if (test_and_set_bit(KIOMMU_BELL_QUEUED, &bell->flags))
		return true;
	refcount_inc(&bell->refs);
	if (!bell->add_work(current, &bell->work, TWA_RESUME))
		return true;
	clear_bit(KIOMMU_BELL_QUEUED, &bell->flags);
	/* Never the last one: who made it holds one while it listens. */
	refcount_dec(&bell->refs);
	return false;
}

/* Context: the lock of the eventfd, interrupts off; any thread, or none. */
static int rung(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct kiommu_doorbell *bell =
		container_of(wait, struct kiommu_doorbell, wait);
	u64 count;

	if (!(key_to_poll(key) & EPOLLIN))
		return 0;
	eventfd_ctx_do_read(bell->kick, &count);
	if (!queue_inline(bell))
		wake_thread(bell);
	return 0;
}

static void enter_queue(struct file *file, wait_queue_head_t *queue,
			poll_table *poll)
{
	struct kiommu_doorbell *bell =
		container_of(poll, struct kiommu_doorbell, poll);

	add_wait_queue(queue, &bell->wait);
}

/* Return: a reference, or -EBADF no file, -EINVAL no eventfd. */
static struct eventfd_ctx *get_eventfd(int fd, struct file **file)
{
	struct eventfd_ctx *ctx;

	*file = fget(fd);
	if (!*file)
		return ERR_PTR(-EBADF);
	ctx = eventfd_ctx_fileget(*file);
	if (!IS_ERR(ctx))
		return ctx;
	fput(*file);
	return ERR_PTR(-EINVAL);
}

/* Return: 0; as get_eventfd(); -EEXIST it is the doorbell. */
static int get_notify(struct kiommu_doorbell *bell, int fd)
{
	struct eventfd_ctx *ctx;
	struct file *file;

	if (fd == -1)
		return 0;
	ctx = get_eventfd(fd, &file);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	fput(file);
	/* To notify would be to ring: the ring would never rest. */
	if (ctx == bell->kick) {
		eventfd_ctx_put(ctx);
		return -EEXIST;
	}
	bell->notify = ctx;
	return 0;
}

static void init_bell(struct kiommu_doorbell *bell,
		      struct kiommu_container *container)
{
	refcount_set(&bell->refs, 1);
	mutex_init(&bell->ring_lock);
	spin_lock_init(&bell->thread_lock);
	init_waitqueue_func_entry(&bell->wait, rung);
	init_poll_funcptr(&bell->poll, enter_queue);
	init_task_work(&bell->work, inline_work);
	__module_get(THIS_MODULE);
	refcount_inc(&container->refs);
	bell->container = container;
	mmgrab(current->mm);
	bell->mm = current->mm;
}

u64 kiommu_doorbell_features(void)
{
	u64 features = 0;

	if (IS_ENABLED(CONFIG_VHOST_TASK))
		features |= KVM_IOMMU_FEATURE_RING;
	if (features && symbol_get(task_work_add)) {
		features |= KVM_IOMMU_FEATURE_RING_INLINE;
		symbol_put(task_work_add);
	}
	return features;
}

struct kiommu_doorbell *
kiommu_doorbell_create(struct kiommu_container *container,
		       struct kvm_iommu_set_sync *cmd)
{
	struct kiommu_doorbell *bell;
	struct file *kick;
	int ret;

	bell = kzalloc(sizeof(*bell), GFP_KERNEL_ACCOUNT);
	if (!bell)
		return ERR_PTR(-ENOMEM);
	ret = kiommu_core_ring_create(cmd->ring, cmd->entries, &bell->ring,
				      &cmd->status);
	if (ret)
		goto err_free;
	bell->kick = get_eventfd(cmd->kick_fd, &kick);
	ret = PTR_ERR_OR_ZERO(bell->kick);
	if (ret)
		goto err_ring;
	ret = get_notify(bell, cmd->notify_fd);
	if (ret == -EEXIST) {
		ret = -EINVAL;
		cmd->status = KVM_IOMMU_STATUS_SAME_FD;
	}
	if (ret)
		goto err_kick;
	init_bell(bell, container);
	if (!(cmd->flags & KVM_IOMMU_SYNC_THREAD))
		bell->add_work = symbol_get(task_work_add);
	ret = make_thread(bell);
	if (ret)
		goto err_bell;
	vfs_poll(kick, &bell->poll);
	fput(kick);
	return bell;

err_bell:
	fput(kick);
	put_bell(bell);
	return ERR_PTR(ret);
err_kick:
	fput(kick);
	eventfd_ctx_put(bell->kick);
err_ring:
	if (ret == -EINVAL && !cmd->status)
		cmd->status = KVM_IOMMU_STATUS_FD_TYPE;
	kiommu_core_ring_destroy(bell->ring);
err_free:
	kfree(bell);
	return ERR_PTR(ret);
}

/* Slots can have changed since the locks were taken; nobody else can tell. */
int kiommu_doorbell_open(struct kiommu_doorbell *bell)
{
	struct kiommu_container *container = bell->container;
	int ret;

	lockdep_assert_held_write(&container->lock);
	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		kiommu_guest_settle(container->guest);
		ret = kiommu_core_ring_begin(container->domain, bell->ring);
	} while (ret == -EAGAIN);
	if (!ret)
		wake_thread(bell);
	return ret;
}

/* How far a drain has come: in a ring that is exchanged meanwhile, anew. */
struct drain {
	const struct kiommu_doorbell *bell; /* compared only */
	struct kiommu_ring_drain until;
};

/* A batch of what is to be drained. Return: KIOMMU_RING_*. */
static u32 drain_batch(struct kiommu_container *container, struct drain *drain)
{
	struct kiommu_doorbell *bell;
	u32 answer = 0;

	if (kiommu_lock_shared(container))
		return 0;
	bell = container->sync.doorbell;
	if (bell != drain->bell)
		*drain = (struct drain){ .bell = bell };
	if (bell && current->mm == bell->mm &&
	    !mutex_lock_killable(&bell->ring_lock)) {
		answer = kiommu_core_ring_drain(container->domain, bell->ring,
						&drain->until);
		mutex_unlock(&bell->ring_lock);
		notify(bell, answer);
	}
	kiommu_unlock_shared(container);
	return answer;
}

void kiommu_doorbell_drain(struct kiommu_container *container)
{
	struct drain drain = {};

	while (drain_batch(container, &drain) & KIOMMU_RING_MORE) {
		if (fatal_signal_pending(current))
			break;
		cond_resched();
	}
}

void kiommu_doorbell_close(struct kiommu_doorbell *bell)
{
	u64 count;

	if (!bell)
		return;
	eventfd_ctx_remove_wait_queue(bell->kick, &bell->wait, &count);
	stop_thread(bell);
	put_bell(bell);
}

/*
 * Doorbells hold this module; the last one may have been let go by task work,
 * which then had to return to its caller from here.
 */
void kiommu_doorbells_exit(void)
{
	synchronize_rcu_tasks();
}
