/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * kvm-iommu: user-space interface of the KVM-owned IOMMU domain.
 *
 * A VFIO container whose type is set to VFIO_KVM_IOMMU owns one domain. The
 * domain shadows the I/O translation tables of a KVM guest (stage 1, IOVA to
 * GPA), composed with the memory slots of that KVM (stage 2), into the tables
 * of the host IOMMU.
 *
 *   created --KVM registers--> started --REGISTER_IOAT--> anchored
 *
 * Nothing can be mapped before the anchor is set. All ioctls below are issued
 * on the container file descriptor (/dev/vfio/vfio) after VFIO_SET_IOMMU, or on
 * the file of a domain that belongs to no container (/dev/kvm_iommu,
 * KVM_IOMMU_DOMAIN_CREATE).
 *
 * Conventions
 *  - Every struct starts with its size, set by the caller. A size smaller than
 *    the first published one is EINVAL. A larger one is accepted while it is
 *    no larger than a page and all bytes that the kernel does not know are zero,
 *    else E2BIG.
 *  - Unknown flags and reserved fields that are not zero are EOPNOTSUPP, also in
 *    calls that only ask.
 *  - Answers are fields; every ioctl returns 0 or an error.
 *  - A struct with a field status gets the reason of a failure there (enum
 *    kvm_iommu_status), whatever failed, unless the struct itself could not be
 *    read or stored: E2BIG, EFAULT, or EINVAL because it is too small. What
 *    status held before is ignored. In the lists of errors below the statuses
 *    that go with an errno are in brackets where there are several.
 *  - ESTALE: VFIO has released the container meanwhile, or the VFIO_SET_IOMMU of
 *    another thread has not ended yet (without a status if the module is just
 *    being removed). EINVAL, from VFIO, without a status: the container has no
 *    type, or no longer has one. EINTR: a fatal signal came while the
 *    call waited. ENOMEM, from any call after a device was opened but
 *    VFIO_IOMMU_UNMAP_DMA: there was no memory to register the KVM that came
 *    with it; the next call tries again.
 *  - A bad user pointer is EFAULT. A call that fails with one of these or with
 *    an errno listed at the ioctl as "nothing changed" has changed nothing.
 *  - Addresses and lengths are bytes. Pages are 4096 bytes.
 *  - Calls that read the guest's tables or pin its memory must come from the
 *    process whose memory is the guest's (the creator of the KVM), else EPERM.
 *
 * Pins
 *    Memory that a device can reach is pinned and charged to locked_vm of the
 *    process whose memory it is, once for each page, however many containers
 *    of the same KVM map it. Pages that no device can reach any more stay
 *    pinned and charged for a while (idle pins), so that mapping them again is
 *    quick: up to a limit for each KVM (KVM_IOMMU_SET_IDLE_LIMIT, module
 *    parameter idle_pins_mb), and until the host runs short of memory, the
 *    memory slot is gone, or a container of the KVM unsets its anchor.
 *    KVM_IOMMU_PIN_MEMORY pins slots for good. A page is identified by its
 *    GPA: memory that is in two slots is charged for each. Where 2 MiB of guest
 *    memory are contiguous in the host, they are idle and unpinned as a whole.
 *
 * Memory that changes
 *    When a memory slot is deleted, or the process gives memory up (munmap,
 *    madvise, hole punching, truncation), devices lose what was mapped of it,
 *    and the pins are returned; the IOVAs are blocked until they are refreshed.
 *    This is done soon (for a slot within seconds), and at the latest when the
 *    next call on a container begins. Until then, pages that were given up stay
 *    pinned, and devices reach them. In mode KVM_IOMMU_SYNC_TRACKED, and with
 *    KVM_IOMMU_SYNC_SLOTS, it is done for a slot before
 *    KVM_SET_USER_MEMORY_REGION returns.
 *
 * Device memory
 *    A slot can be a BAR of another device of VFIO, mapped by the process: it
 *    is mapped for devices without a pin, with the rights of that mapping, and
 *    taken away before the BAR is: unmapped, disabled, or reset.
 */
#ifndef _UAPI_LINUX_KVM_IOMMU_H
#define _UAPI_LINUX_KVM_IOMMU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#include <linux/kvm_iommu_status.h>

/*
 * Argument of VFIO_CHECK_EXTENSION and VFIO_SET_IOMMU: the KVM-owned IOMMU
 * type. VFIO_SET_IOMMU fails as for type1: EPERM if interrupts of the group
 * are not isolated (module parameter allow_unsafe_interrupts), EINVAL if the
 * group is in the container already or its reserved regions or aperture
 * conflict with what is mapped, EBUSY or ENODEV from the host IOMMU driver.
 */
#define VFIO_KVM_IOMMU 11

#define KVM_IOMMU_TYPE 0xB9
#define KVM_IOMMU_BASE 0x40

/* Life of a domain, as KVM_IOMMU_GET_INFO reports it. */
enum kvm_iommu_state {
	KVM_IOMMU_STATE_CREATED = 0, /* no KVM: maps fail with ENODEV */
	KVM_IOMMU_STATE_STARTED = 1, /* no anchor: maps fail with ENXIO */
	KVM_IOMMU_STATE_ANCHORED = 2, /* the guest's tables can be shadowed */
};

/* Formats of stage 1, for kvm_iommu_register_ioat.format. */
enum kvm_iommu_format {
	/*
	 * No tables: GPA = IOVA - offset. For firmware and bypass. Holes
	 * between memory slots and MMIO are left unmapped without an error.
	 */
	KVM_IOMMU_FORMAT_IDENTITY = 0,
	/*
	 * zPCI (s390) I/O translation tables, big-endian; iota is the IOTA
	 * register as the guest wrote it (designation type, T bit, key).
	 */
	KVM_IOMMU_FORMAT_ZPCI = 1,
	/*
	 * VT-d second stage ("SS paging", Intel VT-d specification, chapter
	 * 3.7 and 9.8), little-endian; iota is the GPA of the top table,
	 * levels is 3, 4 or 5.
	 */
	KVM_IOMMU_FORMAT_VTD_SS = 2,
	/*
	 * AMD-Vi host tables ("v1", AMD IOMMU specification, section 2.2.3),
	 * little-endian; iota is the GPA of the top table, levels is the mode
	 * of the device table entry, 1 to 6.
	 */
	KVM_IOMMU_FORMAT_AMD_V1 = 3,
	/*
	 * x86 long-mode tables: VT-d first stage (VT-d specification, 3.6 and
	 * 9.7), AMD-Vi "v2"; little-endian; iota is the GPA of the top table,
	 * levels is 4 or 5. Requests have user privilege, so that entries
	 * without U/S map nothing; reach is the lower canonical half.
	 */
	KVM_IOMMU_FORMAT_X86_FS = 4,
	/*
	 * Arm stage 1 (VMSAv8-64) with granules of 4, 16 and 64 KiB, as an
	 * SMMUv3 walks it for TTB0; little-endian; iota is the GPA of the top
	 * table (without ASID), levels is what the size of IOVAs needs: 2 to 4
	 * for 4K and 16K, 2 or 3 for 64K. Where IOVAs do not need all of the
	 * top table (T0SZ), last is the highest one. Requests are
	 * unprivileged: entries that only privileged ones may use map nothing.
	 * Neither access flag nor dirty state is managed, so that entries with
	 * AF = 0 map nothing.
	 */
	KVM_IOMMU_FORMAT_ARM_4K = 5,
	KVM_IOMMU_FORMAT_ARM_16K = 6,
	KVM_IOMMU_FORMAT_ARM_64K = 7,
	/*
	 * RISC-V Sv39, Sv48, Sv57, the first stage of a RISC-V IOMMU, with
	 * Svnapot and Svpbmt; little-endian; iota is the GPA of the top table,
	 * levels is 3, 4 or 5. Requests have user privilege, so that pages
	 * without U are not mapped; A and D are not managed: A = 0 maps
	 * nothing, D = 0 allows no write. Reach is the lower half.
	 */
	KVM_IOMMU_FORMAT_RISCV_SV = 8,
};

/* Rights of a device on a page. */
#define KVM_IOMMU_READ (1u << 0)
#define KVM_IOMMU_WRITE (1u << 1)

/**
 * struct kvm_iommu_info - KVM_IOMMU_GET_INFO: what a domain is and can do
 * @size: in: size of the caller's struct; out: size of the kernel's.
 * @flags: in: must be 0; out: KVM_IOMMU_INFO_*.
 * @state: out: enum kvm_iommu_state.
 * @format: out: format of the anchor, valid in state anchored.
 * @iota: out: iota of the anchor, valid in state anchored.
 * @formats: out: bitmap of supported formats, bit enum kvm_iommu_format.
 * @page_sizes: out: bitmap of page sizes of the host's tables.
 * @aperture_first: out: lowest IOVA that the host can translate.
 * @aperture_last: out: highest such IOVA, inclusive. Holes in between are
 *	reported by VFIO_IOMMU_GET_INFO (VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE).
 * @mapped_pages: out: pages in the shadow.
 * @pinned_pages: out: pages pinned and charged to locked_vm, for all
 *	domains of the KVM together; a page of a slot that is mapped at
 *	several IOVAs counts once. 0 in state created, as are @idle_pages, @idle_limit and
 *	@pin_bytes.
 * @shadow_bytes: out: kernel memory used for the shadow, and 4 KiB for each
 *	2 MiB of IOVA that were mapped since the anchor was set and are not
 *	any more: a host may keep the empty table. They are given back when
 *	the anchor is unset, where the host has memory for another domain.
 * @shadow_limit: out: limit of @shadow_bytes.
 * @idle_pages: out: of @pinned_pages, those that no device can reach and that
 *	may be unpinned at any time.
 * @idle_limit: out: limit of @idle_pages.
 * @pin_bytes: out: kernel memory that keeps track of @pinned_pages.
 * @sync: out: enum kvm_iommu_sync_mode.
 * @__reserved: must be 0; out: 0.
 * @tracked_pages: out: pages of the guest's tables whose stores are seen.
 * @unsynced_pages: out: pages of tables that are out of sync, see
 *	KVM_IOMMU_SET_SYNC.
 * @features: out: KVM_IOMMU_FEATURE_*: what this kernel has.
 *
 * Fields that are only out need not be initialised. Legal in each state. Errors:
 * EINVAL, EFAULT, E2BIG, EOPNOTSUPP, ESTALE, EINTR.
 */
struct kvm_iommu_info {
	__u32 size;
	__u32 flags;
#define KVM_IOMMU_INFO_CACHE_COHERENT (1u << 0) /* no-snoop is enforced */
/* A device was opened with another KVM; until the last one is closed. */
#define KVM_IOMMU_INFO_KVM_CONFLICT (1u << 1)
/* No KVM, but memory that a client of type1 has mapped or may map again. */
#define KVM_IOMMU_INFO_USER_MAPS (1u << 2)
	__u32 state;
	__u32 format;
	__aligned_u64 iota;
	__aligned_u64 formats;
	__aligned_u64 page_sizes;
	__aligned_u64 aperture_first;
	__aligned_u64 aperture_last;
	__aligned_u64 mapped_pages;
	__aligned_u64 pinned_pages;
	__aligned_u64 shadow_bytes;
	__aligned_u64 shadow_limit;
	__aligned_u64 idle_pages;
	__aligned_u64 idle_limit;
	__aligned_u64 pin_bytes;
	__u32 sync;
	__u32 __reserved;
	__aligned_u64 tracked_pages;
	__aligned_u64 unsynced_pages;
	__aligned_u64 features;
/* Mode RING of KVM_IOMMU_SET_SYNC. */
#define KVM_IOMMU_FEATURE_RING (1ull << 0)
/* The vCPU that rings the doorbell of a ring can do what is in it. */
#define KVM_IOMMU_FEATURE_RING_INLINE (1ull << 1)
/* Mode TRACKED, of the KVM that is registered; never set in state created. */
#define KVM_IOMMU_FEATURE_TRACKED (1ull << 2)
/* Device memory in slots is mapped (peer-to-peer DMA). */
#define KVM_IOMMU_FEATURE_P2P (1ull << 3)
/* KVM_IOMMU_DIRTY_LOG. */
#define KVM_IOMMU_FEATURE_DIRTY_LOG (1ull << 4)
/* kvm_iommu_register_ioat.rights: less than READ | WRITE is obeyed. */
#define KVM_IOMMU_FEATURE_ANCHOR_RIGHTS (1ull << 5)
/* /dev/kvm_iommu (linux/kvm_iommu_domain.h). */
#define KVM_IOMMU_FEATURE_DOMAIN_FILE (1ull << 6)
/* KVM_IOMMU_ATTACH takes device files (/dev/vfio/devices). */
#define KVM_IOMMU_FEATURE_DEVICE_FILE (1ull << 7)
/* IOMMU_HWPT_DATA_KVM_IOMMU of iommufd (linux/kvm_iommu_hwpt.h). */
#define KVM_IOMMU_FEATURE_HWPT (1ull << 8)
};
#define KVM_IOMMU_GET_INFO _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 0)

/**
 * struct kvm_iommu_start - KVM_IOMMU_START: register a KVM by its fd
 * @size: sizeof(struct kvm_iommu_start).
 * @flags: must be 0.
 * @kvm_fd: file descriptor of the VM (KVM_CREATE_VM).
 * @status: out: enum kvm_iommu_status.
 *
 * Not needed where KVM_DEV_VFIO_FILE_ADD came before VFIO_GROUP_GET_DEVICE_FD:
 * VFIO hands the KVM on when the device is opened. START with the KVM that is
 * registered already succeeds and changes nothing.
 *
 * A registration lasts until KVM_IOMMU_STOP or until the last device of the
 * container is closed, whichever is first; in a domain with a file of its own,
 * until KVM_IOMMU_STOP or until that is closed.
 *
 * Errors (nothing changed): EBADF no such fd; EINVAL the fd is not a KVM
 * (FD_TYPE); EBUSY another KVM is registered, or a client of type1 has
 * mappings; EPERM the KVM is another process's; ENODEV no device of the container
 * is open (NO_DEVICE), or the KVM or its process is going away (KVM_GONE); ENOMEM;
 * EOPNOTSUPP.
 */
struct kvm_iommu_start {
	__u32 size;
	__u32 flags;
	__s32 kvm_fd;
	__u32 status;
};
#define KVM_IOMMU_START _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 1)

/**
 * struct kvm_iommu_stop - KVM_IOMMU_STOP: the KVM leaves
 * @size: sizeof(struct kvm_iommu_stop).
 * @flags: must be 0.
 *
 * Unsets the anchor, removes every mapping, returns idle pins, and drops the
 * KVM; with its last container, all pins are returned. Errors (nothing
 * changed): ENODEV no KVM is registered.
 */
struct kvm_iommu_stop {
	__u32 size;
	__u32 flags;
};
#define KVM_IOMMU_STOP _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 2)

/**
 * struct kvm_iommu_register_ioat - KVM_IOMMU_REGISTER_IOAT: set the anchor
 * @size: sizeof(struct kvm_iommu_register_ioat).
 * @flags: must be 0.
 * @format: enum kvm_iommu_format.
 * @levels: levels of the tables, see enum kvm_iommu_format; 0 for IDENTITY
 *	and ZPCI.
 * @iota: the head of the guest's tables, see enum kvm_iommu_format.
 * @offset: IDENTITY: IOVA - GPA, a multiple of 4096; else 0.
 * @first: lowest IOVA of the guest's DMA window (zPCI: PBA).
 * @last: highest one, inclusive (zPCI: PAL); 0 with @first 0: all that the
 *	tables can reach.
 * @rights: KVM_IOMMU_READ, KVM_IOMMU_WRITE, at least one: what devices may do at
 *	most, whatever the tables say (IR and IW of AMD's device table entry;
 *	both where the guest's architecture has nothing like it).
 * @status: out: enum kvm_iommu_status.
 *
 * Reads nothing but checks that the top table lies in the guest's memory.
 * Maps nothing: refresh does.
 *
 * Errors (nothing changed): ENODEV no KVM; EEXIST an anchor is set; EPERM;
 * EOPNOTSUPP unknown format (FORMAT), a field is set that the format does not
 * have (FIELD), FLAGS; EINVAL designation, translation mode, number of levels
 * or bits of iota that the format does not have (DESIGNATION), misaligned
 * table, offset or window (MISALIGNED), table outside memory slots or in a
 * read-only one (TABLE), window empty or beyond what the tables reach (RANGE),
 * no rights or unknown ones (RIGHTS); ENOMEM (NO_MEMORY); EAGAIN a memory slot
 * changed meanwhile (BUDGET): call again.
 */
struct kvm_iommu_register_ioat {
	__u32 size;
	__u32 flags;
	__u32 format;
	__u32 levels;
	__aligned_u64 iota;
	__aligned_u64 offset;
	__aligned_u64 first;
	__aligned_u64 last;
	__u32 rights;
	__u32 status;
};
#define KVM_IOMMU_REGISTER_IOAT _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 3)

/**
 * struct kvm_iommu_unregister_ioat - KVM_IOMMU_UNREGISTER_IOAT: unset it
 * @size: sizeof(struct kvm_iommu_unregister_ioat).
 * @flags: must be 0.
 *
 * Removes every mapping and returns idle pins before it returns: what stays
 * pinned is what other containers of the KVM have mapped, and slots that were
 * pinned beforehand. Errors (nothing changed): ENODEV no KVM; ENXIO no anchor.
 *
 * To give empty tables of the host back, its devices get another domain. When the
 * host's IOMMU driver refuses that, and the way back as well, the DMA of a group is
 * blocked, whatever is mapped, until an anchor is unset again or the group is put
 * into a container anew. The call succeeds; each device of the group is told by
 * KVM_IOMMU_FAULT_HOST, the group by the kernel's log.
 */
struct kvm_iommu_unregister_ioat {
	__u32 size;
	__u32 flags;
};
#define KVM_IOMMU_UNREGISTER_IOAT _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 4)

/**
 * struct kvm_iommu_refresh - KVM_IOMMU_REFRESH: update the shadow
 * @size: sizeof(struct kvm_iommu_refresh).
 * @flags: must be 0.
 * @iova: first byte of the range, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0.
 * @stopped_iova: out: on success @iova + @length (0 if that is 2^64); on a
 *	failure with a status, all of the range below is done and the page at
 *	@stopped_iova and what lies above is not: call again from there once
 *	the cause is gone.
 * @mapped: out: pages that this call mapped.
 * @unmapped: out: pages that this call unmapped.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * After success each page of the range translates for the device as the
 * guest's tables said at some moment during the call, within the rights of
 * the memory slots. Nothing outside the range has changed, except in mode
 * TRACKED if the call met pages of tables that are out of sync. When an entry is
 * bad, what was mapped for its IOVAs from @stopped_iova on, within the range,
 * is gone. When resources run short, what the guest's tables no longer map is
 * unmapped in all of the range, and what took room by that is tried once more;
 * pins that are idle still count for RLIMIT_MEMLOCK. If the call is refused, only
 * @status is meaningful.
 *
 * One failure reaches beyond the range: with NO_MEMORY or HOST, IOVAs around it
 * that a host mapped by the same large page may have lost their mapping. Each
 * is reported by KVM_IOMMU_FAULT_LOST. If nothing of the range itself is lost,
 * @stopped_iova is @iova.
 *
 * Errors (refused, nothing changed): ENODEV no KVM; ENXIO no anchor; EPERM;
 * EINVAL @iova or @length misaligned, or @length 0 (MISALIGNED), outside the
 * aperture or the window of the anchor (RANGE); EOVERFLOW the end is above 2^64;
 * EOPNOTSUPP (FLAGS, FIELD).
 * Errors after which @stopped_iova says how far it got: EIO, ENOMEM, ENOSPC,
 * EAGAIN, EINTR: see enum kvm_iommu_status, below 32.
 */
struct kvm_iommu_refresh {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 length;
	__aligned_u64 stopped_iova;
	__aligned_u64 mapped;
	__aligned_u64 unmapped;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_REFRESH _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 5)

/**
 * struct kvm_iommu_translate - KVM_IOMMU_TRANSLATE: answer for one IOVA
 * @size: sizeof(struct kvm_iommu_translate).
 * @flags: must be 0.
 * @iova: the IOVA, any alignment.
 * @gpa: out: what the guest's tables say now.
 * @page_size: out: size of the guest's page at @iova, bytes.
 * @rights: out: KVM_IOMMU_READ, KVM_IOMMU_WRITE as guest, anchor and slot allow.
 * @shadow_rights: out: what the device can do at @iova now; 0: blocked. It
 *	differs from @rights while a refresh is due.
 * @status: out: enum kvm_iommu_status; @gpa, @page_size and @rights are 0
 *	unless it is OK.
 * @__reserved: must be 0.
 *
 * Succeeds with a status in @status. It looks at tables and slots, not at the
 * memory behind: a refresh can still fail for that. Errors: ENODEV no KVM;
 * ENXIO no anchor; EPERM; EINVAL outside the aperture or the window of the
 * anchor (RANGE); EOPNOTSUPP (FLAGS, FIELD).
 */
struct kvm_iommu_translate {
	__u32 size;
	__u32 flags;
	__aligned_u64 iova;
	__aligned_u64 gpa;
	__aligned_u64 page_size;
	__u32 rights;
	__u32 shadow_rights;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_TRANSLATE _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 6)

/**
 * struct kvm_iommu_pin_memory - KVM_IOMMU_PIN_MEMORY: pin slots beforehand
 * @size: sizeof(struct kvm_iommu_pin_memory).
 * @flags: must be 0.
 * @gpa: first byte of the first memory slot.
 * @length: bytes to the end of the last one; 0 with @gpa 0: all slots.
 * @status: out: enum kvm_iommu_status.
 * @__reserved: must be 0.
 *
 * Pins all memory of the slots, so that no refresh has to. The range is made
 * of whole slots; holes between them do not matter. The pins last until
 * KVM_IOMMU_UNPIN_MEMORY, until the slot is deleted, or until the last
 * container lets go of the KVM. Pages whose memory the process gives up, or
 * device memory, are not pinned. Slots that are pinned already are left alone.
 *
 * Errors (nothing changed, but idle pages of the slots may be unpinned): ENODEV
 * no KVM; EPERM; EINVAL @gpa or @length is not a multiple of 4096 (MISALIGNED), a
 * slot reaches out of the range, or there is none in it (RANGE); EOVERFLOW the
 * end is above 2^64; EIO a slot without memory behind it, of private memory, or
 * of memory that the kernel does not pin for long (UNBACKED, PRIVATE,
 * PIN_REFUSED); ENOMEM kernel memory (NO_MEMORY), RLIMIT_MEMLOCK (MEMLOCK);
 * EAGAIN a memory slot changed meanwhile (BUDGET): call again; EINTR; EOPNOTSUPP
 * (FLAGS, FIELD).
 */
struct kvm_iommu_pin_memory {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_PIN_MEMORY _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 7)

/**
 * struct kvm_iommu_unpin_memory - KVM_IOMMU_UNPIN_MEMORY: the opposite
 * @size: sizeof(struct kvm_iommu_unpin_memory).
 * @flags: must be 0.
 * @gpa: as in KVM_IOMMU_PIN_MEMORY.
 * @length: likewise.
 * @status: likewise.
 * @__reserved: must be 0.
 *
 * Pages of the slots that are mapped stay pinned for as long as they are; the
 * others become idle. Errors (nothing changed): ENODEV, EPERM, EINVAL,
 * EOVERFLOW, EAGAIN, EINTR, EOPNOTSUPP as above; ENOMEM kernel memory to look up a
 * memory slot (NO_MEMORY).
 */
struct kvm_iommu_unpin_memory {
	__u32 size;
	__u32 flags;
	__aligned_u64 gpa;
	__aligned_u64 length;
	__u32 status;
	__u32 __reserved;
};
#define KVM_IOMMU_UNPIN_MEMORY _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 8)

/**
 * struct kvm_iommu_set_idle_limit - KVM_IOMMU_SET_IDLE_LIMIT: keep less or more
 * @size: sizeof(struct kvm_iommu_set_idle_limit).
 * @flags: must be 0.
 * @pages: that may stay pinned while no device can reach them; for the KVM,
 *	whichever of its containers is called. Until then: module parameter
 *	idle_pins_mb, as it was when the KVM registered.
 *
 * What is above the limit, or a little more, is unpinned before the call
 * returns. Errors (nothing changed): ENODEV no KVM; EPERM.
 */
struct kvm_iommu_set_idle_limit {
	__u32 size;
	__u32 flags;
	__aligned_u64 pages;
};
#define KVM_IOMMU_SET_IDLE_LIMIT _IO(KVM_IOMMU_TYPE, KVM_IOMMU_BASE + 9)

#include <linux/kvm_iommu_domain.h>
#include <linux/kvm_iommu_faults.h>
#include <linux/kvm_iommu_hwpt.h>
#include <linux/kvm_iommu_pages.h>
#include <linux/kvm_iommu_sync.h>

/*
 * Ioctls of type1 that work on the same container
 *
 * They have type1's structs, without a status: there is the errno alone.
 *
 * In a container of type VFIO_TYPE1v2_IOMMU or VFIO_TYPE1_IOMMU that this module
 * serves (its parameter type1), until a KVM is registered by KVM_IOMMU_START: as type1
 * does them, of the caller's memory at vaddr; docs/fronts.md says where that differs.
 * What follows is for all other cases.
 *
 * VFIO_IOMMU_GET_INFO: page sizes and the chain with the IOVA ranges, migration
 *	(page size and largest bitmap of VFIO_IOMMU_DIRTY_PAGES), and DMA avail:
 *	pages of kernel memory that are left for the shadow, of which a mapping
 *	far from all others takes one or a few. EINVAL: argsz is too small.
 * VFIO_IOMMU_MAP_DMA: refreshes [iova, iova + size); vaddr is ignored, flags
 *	must be READ | WRITE (rights come from the guest's tables). Errors as
 *	for KVM_IOMMU_REFRESH.
 * VFIO_IOMMU_UNMAP_DMA: removes what is mapped in [iova, iova + size), or
 *	everything with VFIO_DMA_UNMAP_FLAG_ALL (iova and size must be 0 then,
 *	else EINVAL); size is set to the bytes that were mapped. Legal in
 *	state anchored only: ENODEV (also where there was no memory yet to register the
 *	KVM that came with a device), ENXIO. Errors: EINVAL, EOVERFLOW as
 *	above; EOPNOTSUPP for other flags; EINVAL argsz too small, too; ENOMEM when a
 *	large host page had to be split and the host had no memory: the range
 *	is unmapped, and the rest of that page is too until it is refreshed.
 *	With VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, alone: the pages that a device
 *	could write until they were unmapped. Errors for what is wrong with the
 *	bitmap, or if nothing was started, as in type1: EINVAL, EFAULT. After
 *	ENOMEM, or EFAULT because the bitmap's memory went away during the call,
 *	take all of the range (ENOMEM: and what is around it) as dirty.
 * VFIO_IOMMU_DIRTY_PAGES: START, STOP and GET_BITMAP as in type1, with its
 *	errors, for one container, in each state. GET_BITMAP reports the IOVAs
 *	that a device can write now; ranges need not be those of earlier calls. What
 *	VFIO_IOMMU_UNMAP_DMA unmapped is reported by that call. What was
 *	unmapped in other ways (because the guest's tables said so, in a refresh
 *	or whatever the sync mode is; a slot or memory that went away; the anchor)
 *	is not reported by IOVA; KVM_IOMMU_DIRTY_LOG reports it by GPA. EINTR: a
 *	fatal signal.
 */

#endif /* _UAPI_LINUX_KVM_IOMMU_H */
