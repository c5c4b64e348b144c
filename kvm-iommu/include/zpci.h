/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface from C to what concerns zPCI functions of s390 guests (in
 * arch/s390/): operand rules and answers of RPCIT, the life of a function and
 * of its I/O address translation (MPCIFC). It needs no s390 host: the unit
 * tests use it everywhere.
 *
 * What is decided how, and from which source: arch/s390/rpcit.hpp and
 * arch/s390/zpci_function.hpp. Locking: as core.h. Errors are negative Linux
 * errno values.
 *
 * One RPCIT (B9D3):
 *
 *	kiommu_rpcit_decode(&rpcit);
 *	if (rpcit.outcome == KIOMMU_RPCIT_LOOK_UP) {
 *		find the function by rpcit.fh, or kiommu_rpcit_unknown(&rpcit);
 *		do {
 *			lock shared; if that fails: RETRY on a fatal signal,
 *				else kiommu_rpcit_unknown(&rpcit)
 *			kiommu_rpcit_step(&rpcit, function, domain);
 *			unlock; if MAKE_ROOM, trim idle pins to 0 under P;
 *			cond_resched();
 *		} while (rpcit.outcome is AGAIN or MAKE_ROOM);
 *	}
 *	report rpcit.event if its pec is not 0; answer by rpcit.outcome
 */
#ifndef KIOMMU_ZPCI_H
#define KIOMMU_ZPCI_H

#include "core.h"

#ifdef __cplusplus
extern "C" {
#endif

/* States of a function; a VMM sets them, and RPCIT changes them. */
enum kiommu_zpci_state {
	KIOMMU_ZPCI_DISABLED = 0, /* its handle is not enabled */
	KIOMMU_ZPCI_ENABLED = 1,
	KIOMMU_ZPCI_BLOCKED = 2, /* after an error, before it is enabled */
	KIOMMU_ZPCI_ERROR = 3,
};

/* What the guest registers with MPCIFC, as it wrote it. */
struct kiommu_zpci_ioat {
	kiommu_u64 iota;
	kiommu_u64 pba; /* IOVA, bytes; the low 12 bits have no meaning */
	kiommu_u64 pal; /* likewise, inclusive */
};

/**
 * struct kiommu_zpci_function - a function that KVM handles
 * @fh: handle by which the guest names it now, see kiommu_zpci_set_handle().
 * @state: enum kiommu_zpci_state. Written under D exclusive, and by
 *	kiommu_rpcit_step() (to ERROR, atomically).
 * @sdma: first IOVA of its DMA space, bytes; set by the adapter before the
 *	first call, for IOAT without tables: IOVA = GPA + @sdma.
 * @ioat: the registered IOAT.
 * @anchor: the anchor of the domain for @ioat; 0 if none is registered.
 *
 * The adapter's object embeds it; a function that was just plugged has all
 * fields zero but @fh and @sdma.
 *
 * Lock: D of the domain that it is used with.
 */
struct kiommu_zpci_function {
	kiommu_u32 fh;
	kiommu_u32 state;
	kiommu_u64 sdma;
	struct kiommu_zpci_ioat ioat;
	kiommu_u64 anchor;
};

/**
 * struct kiommu_zpci_event - the error event that goes with an answer
 * @pec: PCI event code; 0 if there is no event.
 * @fh: function handle.
 * @status: enum kvm_iommu_status of what is wrong in the guest's tables; 0 if
 *	they are not the cause.
 * @address: IOVA, bytes.
 * @level: level of the entry that caused @status, as in struct kvm_iommu_fault.
 * @gpa: address of that entry.
 * @has_gpa: @gpa is valid.
 */
struct kiommu_zpci_event {
	kiommu_u32 pec;
	kiommu_u32 fh;
	kiommu_u32 status;
	kiommu_u64 address;
	kiommu_u32 level;
	kiommu_u64 gpa;
	kiommu_u32 has_gpa;
};

enum kiommu_rpcit_outcome {
	KIOMMU_RPCIT_LOOK_UP = 0, /* find the function of @fh */
	KIOMMU_RPCIT_AGAIN = 1, /* call kiommu_rpcit_step() again */
	KIOMMU_RPCIT_MAKE_ROOM = 2, /* trim idle pins, then call it again */
	KIOMMU_RPCIT_DONE = 3, /* @cc; @gprs[0] goes back to register r1 */
	KIOMMU_RPCIT_PROGRAM = 4, /* program interruption @program_code */
	KIOMMU_RPCIT_RETRY = 5, /* a fatal signal: execute it again */
	KIOMMU_RPCIT_USER_SPACE = 6, /* the VMM answers */
};

/**
 * struct kiommu_rpcit - one execution of RPCIT
 * @problem_state: in: PSW bit.
 * @r1: in: register number of the instruction.
 * @r2: in: likewise.
 * @gprs: in: registers r1, r2, r2 + 1 (0 if r2 is 15); out, with DONE: [0] for
 *	r1.
 * @outcome: out: enum kiommu_rpcit_outcome.
 * @cc: out, with DONE: condition code.
 * @program_code: out, with PROGRAM.
 * @fh: out of decode: function handle.
 * @event: out: to be reported when the outcome is final.
 *
 * The other fields are for kiommu_rpcit_step(). All fields but those marked
 * "in" are zero before kiommu_rpcit_decode().
 */
struct kiommu_rpcit {
	kiommu_u32 problem_state;
	kiommu_u32 r1;
	kiommu_u32 r2;
	kiommu_u64 gprs[3];
	kiommu_u32 outcome;
	kiommu_u32 cc;
	kiommu_u32 program_code;
	kiommu_u32 fh;
	struct kiommu_zpci_event event;
	kiommu_u64 next; /* IOVA where the next round begins */
	kiommu_u64 changed; /* pages, in all rounds */
	kiommu_u32 made_room;
};

/* Checks the operands. Outcome: LOOK_UP, PROGRAM, DONE, USER_SPACE. */
void kiommu_rpcit_decode(struct kiommu_rpcit *rpcit);

/* No function that KVM handles has this handle. */
void kiommu_rpcit_unknown(struct kiommu_rpcit *rpcit);

/**
 * kiommu_rpcit_step() - do one round of an RPCIT
 * @rpcit: after decode(), after AGAIN or after MAKE_ROOM.
 * @function: the function that had the handle rpcit->fh when it was looked up.
 * @domain: domain of @function.
 *
 * Several may be under way for one function. The lock may be released between
 * rounds; what changes meanwhile is noticed. Outcome: any but LOOK_UP.
 *
 * Lock: shared.
 */
void kiommu_rpcit_step(struct kiommu_rpcit *rpcit,
		       struct kiommu_zpci_function *function,
		       struct kiommu_domain *domain);

/**
 * kiommu_zpci_reg_ioat() - MPCIFC 4: the guest registers its tables
 *
 * Functions of one domain share its anchor, so they must register the same
 * tables. Nothing is mapped yet, see kiommu_zpci_shadow_ioat().
 *
 * What a VMM answers is in brackets.
 *
 * Lock: exclusive.
 * Return: 0; -ESHUTDOWN if the function is disabled [CC 3]; -EPROTO if it has
 * tables registered [status 24]; -EINVAL if pba is above pal, if they are not
 * within the DMA space of function and host, or if the designation is invalid
 * or the table misaligned [operand exception]; -EIO if the table is not in the
 * guest's memory, -EEXIST if the domain has another anchor, -ENODEV if no KVM
 * is registered [these three: status 16]. On failure nothing has changed.
 */
int kiommu_zpci_reg_ioat(struct kiommu_zpci_function *function,
			 struct kiommu_domain *domain,
			 const struct kiommu_zpci_ioat *ioat);

/**
 * kiommu_zpci_shadow_ioat() - shadow what is registered
 * @next: 0 before the first call.
 *
 * To be called after each kiommu_zpci_reg_ioat(): guests do not execute RPCIT
 * for what is in the tables when they register them, and never without tables.
 * Without tables, it must also be called when memory slots were added. From the
 * first bad entry on, the rest of the tables is left to RPCIT.
 *
 * Lock: shared.
 * Return: 0; -EAGAIN to be called again (the lock may be released in between);
 * else the errors of KVM_IOMMU_REFRESH. On -ENOMEM trim idle pins and call once
 * more. If it fails for good, call kiommu_zpci_dereg_ioat(), and a VMM answers
 * status 16.
 */
int kiommu_zpci_shadow_ioat(const struct kiommu_zpci_function *function,
			    struct kiommu_domain *domain, kiommu_u64 *next);

/**
 * kiommu_zpci_dereg_ioat() - MPCIFC 5: the guest unregisters its tables
 *
 * With the last function of the domain, everything is unmapped, flushed and
 * unpinned on return. MPCIFC 6 is this call, then kiommu_zpci_reg_ioat(). Never
 * allocates.
 *
 * Lock: exclusive.
 * Return: 0; -EPROTO if none is registered [status 24].
 */
int kiommu_zpci_dereg_ioat(struct kiommu_zpci_function *function,
			   struct kiommu_domain *domain);

/**
 * kiommu_zpci_set_state() - the guest or the VMM changes the state
 *
 * DISABLED -> ENABLED (CLP); ERROR, BLOCKED -> ENABLED (MPCIFC 7); ERROR ->
 * BLOCKED (MPCIFC 9); ENABLED, BLOCKED -> ERROR (the VMM found an error); all
 * but DISABLED -> DISABLED (CLP), which unregisters the IOAT.
 *
 * Lock: exclusive.
 * Return: 0; -EINVAL if there is no such state; -EPROTO if there is no such
 * transition [MPCIFC: status 24].
 */
int kiommu_zpci_set_state(struct kiommu_zpci_function *function,
			  struct kiommu_domain *domain, kiommu_u32 state);

/*
 * Reset, unplug, STOP: disables the function and unregisters the IOAT. Lock:
 * exclusive. Never allocates.
 */
void kiommu_zpci_reset(struct kiommu_zpci_function *function,
		       struct kiommu_domain *domain);

/*
 * The handle has changed; RPCITs under way with the old one end with CC 3.
 * Lock: exclusive.
 */
void kiommu_zpci_set_handle(struct kiommu_zpci_function *function,
			    kiommu_u32 fh);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_ZPCI_H */
