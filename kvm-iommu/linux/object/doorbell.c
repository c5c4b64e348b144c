// SPDX-License-Identifier: GPL-2.0-only
/*
 * Doorbells, see doorbell.h: eventfds, and the threads that consume the ring.
 *
 * KVM signals the kick eventfd from within the vCPU's exit: in process context,
 * but under the lock of the eventfd and with interrupts off. So the wakeup
 * callback only passes the work on, to one of two:
 *
 * - the same thread, as task work. KVM runs it before it enters the guest again
 *   (xfer_to_guest_mode_handle_work()). Nobody has to be woken up, and the
 *   entries in the ring are done before the vCPU's next instruction. Kernels
 *   that do not export task_work_add() do not have this. Task work does a few
 *   batches and no large entry. What is left, and what the thread could not do
 *   because it was exiting, goes to
 * - a thread of the process, so that memory, cgroups and CPU time are the
 *   process's. It dies with the process; after that the ring is not consumed
 *   any more.
 *
 * Task work cannot be cancelled, and kiommu_doorbell_close() must not wait for
 * it: it may be queued behind this very call on the same thread (closing the
 * device is task work, too). So it holds a reference, and finds that the ring
 * is not the domain's any more. It may be the last code to leave this
 * module, see kiommu_doorbells_exit().
 *
 * User space may close its file descriptors: the eventfds are referenced, and
 * KVM may still signal them.
 *
 * Locks: @ring_lock is taken inside D and P, outside the core's range locks;
 * @thread_lock is taken inside the lock of the eventfd, innermost except for
 * the scheduler's.
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

#include "core_sync.h"
#include "guest/guest.h"
#include "object/doorbell.h"
#include "object/lock.h"
#include "object/object.h"

/* Batches that a vCPU does in its task work. */
#define KIOMMU_INLINE_BATCHES 2

enum {
	KIOMMU_BELL_QUEUED, /* @work is queued */
	KIOMMU_BELL_DUE, /* the thread has work to do */
};

/**
 * struct kiommu_doorbell - see above
 * @refs: one for the creator, one for @work while it is queued.
 * @object: referenced.
 * @mm: mm of the guest's process; compared only.
 * @ring: the core's ring.
 * @ring_lock: protects @ring.
 * @flags: KIOMMU_BELL_*.
 * @kick: eventfd that the guest signals.
 * @notify: eventfd that notifies the guest, or NULL.
 * @poll: adds @wait to the wait queue of @kick.
 * @wait: entry in that wait queue.
 * @add_work: task_work_add(), or NULL if vCPUs never consume the ring.
 * @work: task work that consumes the ring.
 * @thread_lock: protects @thread.
 * @thread: NULL once the doorbell is closed.
 */
struct kiommu_doorbell {
	refcount_t refs;
	struct kiommu_object *object;
	struct mm_struct *mm;
	struct kiommu_ring *ring;
	struct mutex ring_lock; /* protects @ring */
	unsigned long flags;
	struct eventfd_ctx *kick;
	struct eventfd_ctx *notify;
	poll_table poll;
	wait_queue_entry_t wait;
	int (*add_work)(struct task_struct *task, struct callback_head *work,
			enum task_work_notify_mode notify);
	struct callback_head work;
	spinlock_t thread_lock; /* protects @thread */
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
	kiommu_object_put(bell->object);
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
 * Does one round over the ring. Does nothing if it is not, or no longer, the
 * domain's, or if this process is being killed. Return: KIOMMU_RING_*.
 */
static u32 look_at_ring(struct kiommu_doorbell *bell,
			enum kiommu_ring_large large)
{
	struct kiommu_object *object = bell->object;
	u32 answer = 0;

	if (kiommu_lock_shared(object))
		return 0;
	if (object->sync.doorbell == bell &&
	    !mutex_lock_killable(&bell->ring_lock)) {
		answer = kiommu_core_ring_consume(object->domain, bell->ring,
						  large);
		mutex_unlock(&bell->ring_lock);
	}
	kiommu_unlock_shared(object);
	notify(bell, answer);
	return answer;
}

#ifdef CONFIG_VHOST_TASK

/* Context: the task state is TASK_INTERRUPTIBLE already. */
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

/* The process was killed: its ring is not consumed any more. */
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

/* On return the thread has exited, and wake_thread() does not touch it. */
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
 * Context: the thread that rang, before it returns to the guest or to user
 * space; or in exit, when current->mm is NULL.
 */
static void inline_work(struct callback_head *work)
{
	struct kiommu_doorbell *bell =
		container_of(work, struct kiommu_doorbell, work);
	unsigned int i = 0;
	u32 answer = KIOMMU_RING_MORE;

	/*
	 * A ring from here on queues the work again; earlier entries are seen
	 * below.
	 */
	clear_bit(KIOMMU_BELL_QUEUED, &bell->flags);
	/*
	 * Clear the bit before reading avail; a ring sets avail before the bit.
	 */
	smp_mb__after_atomic();
	if (current->mm == bell->mm)
		for (; answer & KIOMMU_RING_MORE && i < KIOMMU_INLINE_BATCHES; i++)
			answer = look_at_ring(bell, KIOMMU_RING_LARGE_LATER);
	/* One that is killed may not be the only process that has the memory. */
	if (answer & KIOMMU_RING_MORE || fatal_signal_pending(current))
		wake_thread(bell);
	put_bell(bell);
}

/*
 * Return: true if task work, of this thread or another, will consume the ring.
 */
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
	/*
	 * Not the last reference: the creator has one while the doorbell
	 * listens.
	 */
	refcount_dec(&bell->refs);
	return false;
}

/*
 * Context: the eventfd's lock is held, interrupts are off; any thread or
 * interrupt.
 */
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

/*
 * Return: a reference; -EBADF if there is no file; -EINVAL if it is no eventfd.
 */
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

/* Return: 0; as get_eventfd(); -EEXIST if it is the kick eventfd itself. */
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
	/* A notification would ring the doorbell: consuming would never end. */
	if (ctx == bell->kick) {
		eventfd_ctx_put(ctx);
		return -EEXIST;
	}
	bell->notify = ctx;
	return 0;
}

static void init_bell(struct kiommu_doorbell *bell,
		      struct kiommu_object *object)
{
	refcount_set(&bell->refs, 1);
	mutex_init(&bell->ring_lock);
	spin_lock_init(&bell->thread_lock);
	init_waitqueue_func_entry(&bell->wait, rung);
	init_poll_funcptr(&bell->poll, enter_queue);
	init_task_work(&bell->work, inline_work);
	__module_get(THIS_MODULE);
	refcount_inc(&object->refs);
	bell->object = object;
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
kiommu_doorbell_create(struct kiommu_object *object,
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
	init_bell(bell, object);
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

/*
 * Slots may change while the locks are held. They are held for writing, so
 * nobody else can settle the guest.
 */
int kiommu_doorbell_open(struct kiommu_doorbell *bell)
{
	struct kiommu_object *object = bell->object;
	int ret;

	lockdep_assert_held_write(&object->lock);
	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		kiommu_guest_settle(object->guest);
		ret = kiommu_core_ring_begin(object->domain, bell->ring);
	} while (ret == -EAGAIN);
	if (!ret)
		wake_thread(bell);
	return ret;
}

/* Progress of a drain; starts over if the ring is replaced meanwhile. */
struct drain {
	const struct kiommu_doorbell *bell; /* compared only */
	struct kiommu_ring_drain until;
};

/* Drains one batch. Return: KIOMMU_RING_*. */
static u32 drain_batch(struct kiommu_object *object, struct drain *drain)
{
	struct kiommu_doorbell *bell;
	u32 answer = 0;

	if (kiommu_lock_shared(object))
		return 0;
	bell = object->sync.doorbell;
	if (bell != drain->bell)
		*drain = (struct drain){ .bell = bell };
	if (bell && current->mm == bell->mm &&
	    !mutex_lock_killable(&bell->ring_lock)) {
		answer = kiommu_core_ring_drain(object->domain, bell->ring,
						&drain->until);
		mutex_unlock(&bell->ring_lock);
		notify(bell, answer);
	}
	kiommu_unlock_shared(object);
	return answer;
}

void kiommu_doorbell_drain(struct kiommu_object *object)
{
	struct drain drain = {};

	while (drain_batch(object, &drain) & KIOMMU_RING_MORE) {
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
 * Doorbells hold references to this module. The last one may have been dropped
 * by task work, which then still had to return to its caller.
 */
void kiommu_doorbells_exit(void)
{
	synchronize_rcu_tasks();
}
