/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The interface from C into the core: what an adapter (the kernel module, or
 * the user-space port of the tests) calls. The core knows nothing of its front
 * end.
 *
 * Locking: the caller has two kinds of reader-writer locks that may be held
 * while sleeping: one for each domain (D) and one for each pin table (P), taken
 * in this order. Each call says which ones it needs:
 *   shared	D and, while the domain is started, P of its pin table, both for
 *		reading. Such calls run in parallel; on one domain, calls on
 *		ranges that overlap wait for each other.
 *   exclusive	the same, both for writing.
 *   P		P of the pin table only, for writing.
 * Different domains and different pin tables are independent.
 *
 * Context: each call may sleep unless it says otherwise. Errors are negative
 * Linux errno values.
 */
#ifndef KIOMMU_CORE_H
#define KIOMMU_CORE_H

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned int kiommu_u32;
typedef unsigned long long kiommu_u64;

/* Guest memory (stage 2) and host IOMMUs: objects of the adapter. */
struct kiommu_guest;
struct kiommu_hosts;
/* The reader of a domain's faults: an object of the adapter. */
struct kiommu_fault_reader;
/* The domain, and the pins of one guest's memory: objects of the core. */
struct kiommu_domain;
struct kiommu_pins;
/* The fault queue of a domain; outlives the domain. */
struct kiommu_faults;

/* To what extent a host IOMMU can unmap a part of an earlier map call. */
enum kiommu_host_split {
	KIOMMU_SPLIT_PAGE = 0, /* any page of its tables (VT-d, AMD-Vi) */
	KIOMMU_SPLIT_CALL = 1, /* only whole map calls (virtio-iommu) */
};

struct kiommu_window {
	kiommu_u64 first; /* IOVA or HVA, bytes, inclusive */
	kiommu_u64 last;
};

/**
 * struct kiommu_host_caps - what all hosts of a domain have in common
 * @aperture: IOVAs that every host translates.
 * @page_sizes: bitmap of the page sizes that any of the hosts may use; 0 if
 *	there is no host.
 * @split: the coarsest of the hosts.
 * @keep_tables: 1 if any of the hosts has tables of its own, which it may keep
 *	when they become empty.
 * @reserved: windows that must never be mapped, sorted by address; owned by the
 *	caller, valid until the next kiommu_core_set_host_caps().
 * @reserved_count: entries of @reserved.
 */
struct kiommu_host_caps {
	struct kiommu_window aperture;
	kiommu_u64 page_sizes;
	enum kiommu_host_split split;
	kiommu_u32 keep_tables;
	const struct kiommu_window *reserved;
	kiommu_u32 reserved_count;
};

/* Mirrors struct kvm_iommu_register_ioat. */
struct kiommu_anchor {
	kiommu_u32 format;
	kiommu_u32 levels;
	kiommu_u64 iota;
	kiommu_u64 offset;
	kiommu_u64 first;
	kiommu_u64 last;
	kiommu_u32 rights; /* KVM_IOMMU_READ, KVM_IOMMU_WRITE; not 0 */
};

/* Mirrors the out fields of struct kvm_iommu_refresh. */
struct kiommu_refresh_result {
	kiommu_u64 stopped_iova;
	kiommu_u64 mapped;
	kiommu_u64 unmapped;
	kiommu_u32 status; /* enum kvm_iommu_status */
	/* The entry that caused @status, as in struct kvm_iommu_fault. */
	kiommu_u32 level;
	kiommu_u64 gpa;
	kiommu_u32 has_gpa;
};

/* Mirrors the out fields of struct kvm_iommu_translate. */
struct kiommu_translation {
	kiommu_u64 gpa;
	kiommu_u64 page_size;
	kiommu_u32 rights;
	kiommu_u32 shadow_rights;
	kiommu_u32 status;
};

struct kiommu_core_info {
	kiommu_u32 state; /* enum kvm_iommu_state */
	struct kiommu_anchor anchor; /* valid in the anchored state */
	kiommu_u64 formats;
	kiommu_u64 mapped_pages;
	kiommu_u64 shadow_bytes;
	kiommu_u64 shadow_limit;
	/* Of the pin table; 0 in the created state. */
	kiommu_u64 pinned_pages;
	kiommu_u64 idle_pages; /* pinned, but not mapped anywhere */
	kiommu_u64 idle_limit;
	kiommu_u64 pin_bytes; /* kernel memory of the table */
	/* Pages of the guest's tables; 0 unless they are tracked. */
	kiommu_u64 tracked_pages;
	kiommu_u64 unsynced_pages;
};

/**
 * kiommu_core_pins_create() - create an empty pin table for a guest's memory
 * @guest: must stay valid until kiommu_core_pins_destroy() has returned.
 * @idle_limit: number of pages that may stay pinned while nothing maps them.
 * @pins: set on success.
 *
 * All domains of a guest share one pin table.
 *
 * Return: 0 or -ENOMEM.
 */
int kiommu_core_pins_create(struct kiommu_guest *guest, kiommu_u64 idle_limit,
			    struct kiommu_pins **pins);

/*
 * Unpins everything and frees the table. No domain is started with it any more.
 */
void kiommu_core_pins_destroy(struct kiommu_pins *pins);

/* Lock: P. The caller trims afterwards. */
void kiommu_core_pins_set_idle_limit(struct kiommu_pins *pins,
				     kiommu_u64 pages);

/* Current number of idle pages. Lock: none. */
kiommu_u64 kiommu_core_pins_idle(const struct kiommu_pins *pins);

/**
 * kiommu_core_pins_trim_due() - check for more idle pages than the limit
 *
 * To be called after each call that may have unmapped something.
 *
 * Lock: none.
 */
int kiommu_core_pins_trim_due(const struct kiommu_pins *pins);

/**
 * kiommu_core_pins_trim() - unpin idle pages until at most @keep are left
 *
 * Pages of preregistered slots are not idle. Never allocates.
 *
 * Lock: P.
 * Return: number of pages unpinned.
 */
kiommu_u64 kiommu_core_pins_trim(struct kiommu_pins *pins, kiommu_u64 keep);

/* Unpins idle pages down to the limit. Lock: P. Never allocates. */
void kiommu_core_pins_trim_to_limit(struct kiommu_pins *pins);

/**
 * kiommu_core_pins_preregister() - pin slots for as long as they exist
 * @gpa: first byte of the first slot.
 * @length: bytes; both 0 for all slots.
 * @status: set to the reason (enum kvm_iommu_status), or 0, as is each @status
 *	in this file.
 *
 * The range must consist of whole slots; holes between them do not matter.
 * Slots that are preregistered already are left alone.
 *
 * Lock: P.
 * Return: 0; -EINVAL if the range is misaligned, cuts a slot, or contains none;
 * -EOVERFLOW; or what a refresh returns for memory that cannot be pinned. On
 * failure nothing has changed, except that idle pages of the slots may have
 * been unpinned.
 */
int kiommu_core_pins_preregister(struct kiommu_pins *pins, kiommu_u64 gpa,
				 kiommu_u64 length, kiommu_u32 *status);

/*
 * The opposite: the pins are treated as any others again. Errors as above.
 * Lock: P.
 */
int kiommu_core_pins_unregister(struct kiommu_pins *pins, kiommu_u64 gpa,
				kiommu_u64 length, kiommu_u32 *status);

/**
 * kiommu_core_pins_release() - unpin the idle pages of a range
 * @first_gfn: first GFN.
 * @last_gfn: last GFN, inclusive.
 *
 * Other than trimming, which does not choose: afterwards no page of the range is
 * pinned that is not mapped, but for preregistered slots. Never allocates.
 *
 * Lock: P.
 */
void kiommu_core_pins_release(struct kiommu_pins *pins, kiommu_u64 first_gfn,
			      kiommu_u64 last_gfn);

/* Number of slots that the table knows. Lock: P, also for reading. */
kiommu_u64 kiommu_core_pins_slots(const struct kiommu_pins *pins);

/**
 * kiommu_core_pins_forget_slots() - free what is known of slots without pins
 *
 * They are looked up again when they are needed. For a guest with far more slots
 * than are in use. Slots that are preregistered or have a dirty log stay.
 *
 * Lock: P.
 */
void kiommu_core_pins_forget_slots(struct kiommu_pins *pins);

/**
 * kiommu_core_slots_changed() - memory slots may have been deleted or changed
 * @first_gfn: first GFN of what may have changed.
 * @last_gfn: last GFN, inclusive.
 *
 * Slots with a page in the range that are no longer as they were are unmapped
 * from all domains, flushed and unpinned. Allocates only to map the rest of a
 * block that had to be split.
 *
 * Lock: P.
 */
void kiommu_core_slots_changed(struct kiommu_pins *pins, kiommu_u64 first_gfn,
			       kiommu_u64 last_gfn);

/**
 * kiommu_core_tables_gone() - stores to pages are not reported any more
 * @first_gfn: first GFN.
 * @last_gfn: last GFN, inclusive.
 *
 * What tracked tables in these pages map is unmapped, and the tables are not
 * known any more, as if their memory was gone; a refresh maps it again.
 *
 * Lock: P.
 */
void kiommu_core_tables_gone(struct kiommu_pins *pins, kiommu_u64 first_gfn,
			     kiommu_u64 last_gfn);

/**
 * kiommu_core_stores_missed() - a store to some page of tables was not followed
 *
 * All tracked pages go out of sync, with a fault record each, since it is
 * unknown what the tables hold now.
 *
 * Lock: P.
 * Return: 0; -EINTR if some pages may be left: call again.
 */
int kiommu_core_stores_missed(struct kiommu_pins *pins);

/* Maximum number of ranges of one kiommu_core_memory_changed(). */
#define KIOMMU_MAX_CHANGES 16u

/**
 * kiommu_core_memory_changed() - memory may have been removed or replaced
 * @ranges: ranges of HVA.
 * @count: number of @ranges, at most KIOMMU_MAX_CHANGES.
 *
 * Pinned pages that are no longer at their address are unmapped from all
 * domains, flushed and unpinned; the others stay. The cost is a lookup of the
 * ranges and, if a page is gone, one walk over everything that is mapped.
 *
 * Lock: P.
 * Return: number of ranges, then at the front of @ranges, that the caller must
 * pass again later: kiommu_port_look_up() had no answer, so their pages stay
 * mapped and pinned.
 */
kiommu_u32 kiommu_core_memory_changed(struct kiommu_pins *pins,
				      struct kiommu_window *ranges,
				      kiommu_u32 count);

/**
 * kiommu_core_mmio_revoked() - device memory was taken out of the hosts
 *
 * The shadows drop those pages that kiommu_port_mmio_mapped() says are gone.
 *
 * Lock: P.
 */
void kiommu_core_mmio_revoked(struct kiommu_pins *pins);

/* Mirrors struct kvm_iommu_fault, field by field. */
struct kiommu_fault {
	kiommu_u64 sequence;
	kiommu_u64 iova;
	kiommu_u64 gpa;
	kiommu_u64 count;
	kiommu_u64 lost;
	kiommu_u32 reason; /* enum kvm_iommu_fault_reason */
	kiommu_u32 flags; /* KVM_IOMMU_FAULT_HAS_IOVA etc. */
	kiommu_u32 code;
	kiommu_u32 status; /* enum kvm_iommu_status */
	kiommu_u32 format;
	kiommu_u32 access;
	kiommu_u32 level;
	kiommu_u32 device;
	kiommu_u32 pasid;
	kiommu_u32 group;
	kiommu_u64 cookie;
	kiommu_u64 length;
};

/**
 * kiommu_core_faults_create() - create a fault queue without a reader
 * @reader: passed on to kiommu_port_faults_*().
 * @faults: set on success.
 *
 * Return: 0 or -ENOMEM.
 */
int kiommu_core_faults_create(struct kiommu_fault_reader *reader,
			      struct kiommu_faults **faults);

/*
 * Frees the queue, which neither a domain nor a reader uses any more. Never
 * sleeps.
 */
void kiommu_core_faults_destroy(struct kiommu_faults *faults);

/**
 * kiommu_core_faults_open() - a reader came: faults are queued from now on
 *
 * Lock: none.
 * Return: 0; -ENOMEM; -EBUSY if there is a reader already.
 */
int kiommu_core_faults_open(struct kiommu_faults *faults);

/* The reader is gone: queued faults are dropped. Lock: none. */
void kiommu_core_faults_close(struct kiommu_faults *faults);

/* Return: 1 if there are records to read, else 0. Lock: none. Never sleeps. */
int kiommu_core_faults_readable(struct kiommu_faults *faults);

/**
 * kiommu_core_faults_peek() - get the oldest records, which stay in the queue
 * @records: filled with up to @max records.
 * @max: capacity of @records.
 *
 * Further faults are not counted in records that were peeked at. Never sleeps.
 *
 * Lock: none, but nobody else reads until kiommu_core_faults_drop().
 * Return: number of records.
 */
kiommu_u32 kiommu_core_faults_peek(struct kiommu_faults *faults,
				   struct kiommu_fault *records,
				   kiommu_u32 max);

/* Drops the first @count of the records peeked at: they were read. */
void kiommu_core_faults_drop(struct kiommu_faults *faults, kiommu_u32 count);

/**
 * kiommu_core_report_fault() - queue a fault, if there is a reader
 * @fault: sequence, count, lost, pasid, group and cookie are set by the call.
 *
 * Never sleeps, waits for no reader, allocates nothing.
 *
 * Context: any, except NMI.
 * Lock: none; may be called with or without the locks of a call held.
 * Return: 1 if the fault was queued or counted, 0 if there is no reader.
 */
int kiommu_core_report_fault(struct kiommu_faults *faults,
			     const struct kiommu_fault *fault);

/**
 * kiommu_core_report_dma_fault() - the same for an access that a host blocked
 * @fault: only flags, iova, access and device are used.
 *
 * What the anchor says of the access (format, code) is added.
 */
int kiommu_core_report_dma_fault(struct kiommu_faults *faults,
				 const struct kiommu_fault *fault);

/**
 * kiommu_core_create() - create a domain in the created state, without hosts
 * @hosts: passed on to kiommu_port_host_*().
 * @faults: must stay valid until kiommu_core_destroy() has returned.
 * @shadow_limit: bytes of node memory that the domain may use.
 * @domain: set on success.
 *
 * Return: 0 or -ENOMEM.
 */
int kiommu_core_create(struct kiommu_hosts *hosts,
		       struct kiommu_faults *faults, kiommu_u64 shadow_limit,
		       struct kiommu_domain **domain);

/**
 * kiommu_core_destroy() - stop and free a domain
 *
 * Cannot fail, never allocates.
 *
 * Lock: exclusive.
 */
void kiommu_core_destroy(struct kiommu_domain *domain);

/**
 * kiommu_core_set_host_caps() - a host was added or removed
 *
 * Lock: exclusive.
 * Return: 0; -EINVAL if something is mapped that @caps forbids, and nothing has
 * changed.
 */
int kiommu_core_set_host_caps(struct kiommu_domain *domain,
			      const struct kiommu_host_caps *caps);

/**
 * kiommu_core_replay() - map everything that is shadowed in one new host
 * @host: index that the adapter gave the host.
 * @killable: give up on a fatal signal.
 *
 * Device memory is not replayed: that is up to the adapter.
 *
 * Lock: exclusive.
 * Return: 0; -ENOMEM, -EIO, or -EINTR on a fatal signal: then the adapter must
 * drop the tables of the host.
 */
int kiommu_core_replay(struct kiommu_domain *domain, kiommu_u32 host,
		       kiommu_u32 killable);

/**
 * kiommu_core_start() - register guest memory
 * @pins: must stay valid until kiommu_core_stop() or kiommu_core_destroy() has
 *	returned.
 *
 * Lock: exclusive.
 * Return: 0; -EBUSY if guest memory is registered already.
 */
int kiommu_core_start(struct kiommu_domain *domain, struct kiommu_pins *pins);

/**
 * kiommu_core_stop() - unregister guest memory
 *
 * Anchor, mappings and idle pins are gone on return. Never allocates.
 *
 * Lock: exclusive.
 * Return: 0; -ENODEV if none is registered.
 */
int kiommu_core_stop(struct kiommu_domain *domain);

/* KVM_IOMMU_REGISTER_IOAT; errors as documented there. Lock: exclusive. */
int kiommu_core_register_ioat(struct kiommu_domain *domain,
			      const struct kiommu_anchor *anchor,
			      kiommu_u32 *status);

/* KVM_IOMMU_UNREGISTER_IOAT; never allocates. Lock: exclusive. */
int kiommu_core_unregister_ioat(struct kiommu_domain *domain);

/*
 * KVM_IOMMU_REFRESH. @result is set on success and on failure; its status says
 * why the call failed. Lock: shared.
 */
int kiommu_core_refresh(struct kiommu_domain *domain, kiommu_u64 iova,
			kiommu_u64 length,
			struct kiommu_refresh_result *result);

/**
 * kiommu_core_map() - map a range without tables, all of it or nothing
 * @iova: first byte, a multiple of 4096.
 * @length: bytes, a multiple of 4096, not 0. Nothing may be mapped in the range.
 * @rights: KVM_IOMMU_READ, KVM_IOMMU_WRITE; not 0. Memory that cannot be had
 *	with these is mapped with less, as by a refresh.
 *
 * The anchor must be the identity: GPA = IOVA - offset. Idle pins may be left
 * over, also on failure.
 *
 * Lock: shared.
 * Return: 0; else nothing is mapped in the range, and @status says why: as
 * kiommu_core_refresh(), where also what a refresh of the identity leaves out is
 * an error: no slot, private memory, device memory that cannot be mapped
 * (-EIO), a reserved window (-EIO); -EEXIST: another anchor is set.
 */
int kiommu_core_map(struct kiommu_domain *domain, kiommu_u64 iova,
		    kiommu_u64 length, kiommu_u32 rights, kiommu_u32 *status);

/**
 * kiommu_core_unmap() - unmap what is mapped in [iova, iova + length)
 * @unmapped: set to the number of pages that were mapped, also on -ENOMEM.
 *
 * Lock: shared.
 * Return: 0; -ENODEV, -ENXIO, -EINVAL, -EOVERFLOW, and nothing has changed;
 * -ENOMEM if the rest of a split large host page was lost, too.
 */
int kiommu_core_unmap(struct kiommu_domain *domain, kiommu_u64 iova,
		      kiommu_u64 length, kiommu_u64 *unmapped);

/* As kiommu_core_unmap(), for everything; the anchor stays. */
int kiommu_core_unmap_all(struct kiommu_domain *domain, kiommu_u64 *unmapped);

/* KVM_IOMMU_TRANSLATE. Lock: shared. */
int kiommu_core_translate(struct kiommu_domain *domain, kiommu_u64 iova,
			  struct kiommu_translation *result);

/* Mirrors struct kvm_iommu_translation, field by field. */
struct kiommu_range_record {
	kiommu_u64 iova;
	kiommu_u64 gpa;
	kiommu_u64 length;
	kiommu_u64 page_size;
	kiommu_u32 rights;
	kiommu_u32 shadow_rights;
	kiommu_u32 status;
	kiommu_u32 reserved;
};

/**
 * kiommu_core_translate_range() - a part of KVM_IOMMU_TRANSLATE_RANGE
 * @records: room for @capacity records.
 * @capacity: at least 1.
 * @count: set to the number of records on success.
 * @next: set on success to the IOVA at which to continue; 0 after the last
 *	IOVA.
 * @status: reason for stopping there; BUDGET also if there was no room left.
 *
 * Lock: shared.
 * Return: 0; -ENODEV, -ENXIO, -EPERM, -EINVAL, -EOVERFLOW, or -EINTR.
 */
int kiommu_core_translate_range(struct kiommu_domain *domain, kiommu_u64 iova,
				kiommu_u64 length,
				struct kiommu_range_record *records,
				kiommu_u32 capacity, kiommu_u32 *count,
				kiommu_u64 *next, kiommu_u32 *status);

/* What KVM_IOMMU_GET_INFO reports of the core. Lock: shared. */
void kiommu_core_get_info(const struct kiommu_domain *domain,
			  struct kiommu_core_info *info);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_H */
