/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is common to the module's own ioctls: how their structs are checked, and
 * when they are written back.
 */
#ifndef KIOMMU_COMMAND_H
#define KIOMMU_COMMAND_H

#include <linux/stddef.h>
#include <linux/types.h>

#include <linux/kvm_iommu.h>

struct file;
struct kiommu_object;

/* The struct of any of the ioctls. */
union kiommu_ucmd {
	struct {
		__u32 size;
		__u32 flags;
	} head;
	struct kvm_iommu_info info;
	struct kvm_iommu_start start;
	struct kvm_iommu_stop stop;
	struct kvm_iommu_register_ioat register_ioat;
	struct kvm_iommu_unregister_ioat unregister_ioat;
	struct kvm_iommu_refresh refresh;
	struct kvm_iommu_translate translate;
	struct kvm_iommu_pin_memory pin_memory;
	struct kvm_iommu_unpin_memory unpin_memory;
	struct kvm_iommu_set_idle_limit set_idle_limit;
	struct {
		struct kvm_iommu_get_fault_fd cmd;
		struct file *file; /* installed once the answer is stored */
	} get_fault_fd;
	struct kvm_iommu_set_sync set_sync;
	struct kvm_iommu_untrack untrack;
	struct kvm_iommu_translate_range translate_range;
	struct kvm_iommu_dirty_log dirty_log;
	struct kvm_iommu_attach attach;
	struct kvm_iommu_detach detach;
	struct {
		struct kvm_iommu_domain_create cmd;
		struct file *file; /* as above */
	} domain_create;
};

/* When the struct is written back. */
enum kiommu_reply {
	REPLY_NEVER,
	REPLY_ON_SUCCESS,
	REPLY_ALWAYS, /* the struct has a status */
};

/**
 * struct kiommu_locking - the locks that a handler runs under
 * @lock: returns 0, or the errno that the ioctl fails with.
 * @unlock: the opposite.
 */
struct kiommu_locking {
	int (*lock)(struct kiommu_object *object);
	void (*unlock)(struct kiommu_object *object);
};

/**
 * struct kiommu_op - an ioctl
 * @cmd: its number.
 * @size: current size of its struct.
 * @min_size: size of its struct when it was first published.
 * @status: offset of its status, for REPLY_ALWAYS.
 * @reserved: offset of its reserved field, or 0.
 * @reply: when the struct is written back.
 * @flags: flags that a caller may set.
 * @bare: it needs no domain, and is given NULL.
 * @of_file: it is for domains that have a file.
 * @locking: locks taken around @execute; NULL if it takes its own.
 * @execute: the handler.
 * @finish: optional; called without any lock after @execute has succeeded and
 *	the answer was stored, or could not be.
 */
struct kiommu_op {
	unsigned int cmd;
	u32 size;
	u32 min_size;
	u32 status;
	u32 reserved;
	enum kiommu_reply reply;
	u32 flags;
	bool bare;
	bool of_file;
	const struct kiommu_locking *locking;
	int (*execute)(struct kiommu_object *object,
		       union kiommu_ucmd *ucmd);
	void (*finish)(union kiommu_ucmd *ucmd, bool stored);
};

/* @_last is the last field of the struct as first published. */
#define KIOMMU_OP(_cmd, _struct, _last, _reply, _locking, _execute, ...) \
	{								\
		.cmd = _cmd,						\
		.size = sizeof(struct _struct),				\
		.min_size = offsetofend(struct _struct, _last),		\
		.reply = _reply,					\
		.locking = _locking,					\
		.execute = _execute,					\
		##__VA_ARGS__						\
	}

/* An ioctl whose struct has a status. */
#define KIOMMU_STATUS_OP(_cmd, _struct, _last, _locking, _execute, ...)	\
	KIOMMU_OP(_cmd, _struct, _last, REPLY_ALWAYS, _locking, _execute, \
		  .status = offsetof(struct _struct, status), ##__VA_ARGS__)

#define RESERVED(_struct) .reserved = offsetof(struct _struct, __reserved)

/**
 * kiommu_command() - execute an ioctl
 * @ops: the ioctls of a kind of file.
 * @count: entries of @ops.
 * @object: the domain; NULL if there is none, or none any more.
 * @cmd: number of the ioctl.
 * @arg: the caller's struct.
 *
 * Context: may sleep; no lock of lock.h is held.
 * Return: as linux/kvm_iommu.h says.
 */
long kiommu_command(const struct kiommu_op *ops, unsigned int count,
		    struct kiommu_object *object, unsigned int cmd,
		    unsigned long arg);

/*
 * Installs a file at a descriptor if the caller has been told of it, so that it
 * cannot be used before; else gives both up. For kiommu_op.finish.
 */
void kiommu_finish_fd(int fd, struct file *file, bool stored);

#endif /* KIOMMU_COMMAND_H */
