/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door from C into the core: what an adapter (the kernel module, or the
 * user-space port of the tests) calls. The core knows nothing of its front.
 *
 * Locking: the caller has two reader-writer locks that may be held while
 * sleeping: one for each domain (D), one for each pin table (P), taken in this
 * order. A call says which it needs:
 *   shared	D and, while the domain is started, P of its pin table, both for
 *		reading: such calls run in parallel; on one domain, those on
 *		ranges that overlap wait for each other.
 *   exclusive	both for writing.
 *   P		that of the pin table alone, for writing.
 * Different domains and different pin tables are independent.
 * Context: each call may sleep. Errors are negative Linux errno values.
 */
#ifndef KIOMMU_CORE_H
#define KIOMMU_CORE_H

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned int kiommu_u32;
typedef unsigned long long kiommu_u64;

/* Guest memory (stage 2) and host IOMMUs: objects of the adapter. */
struct kiommu_mem;
struct kiommu_hosts;
/* Who reads the faults of a domain: an object of the adapter. */
struct kiommu_fault_reader;
/* The domain, and the pins of one guest's memory: objects of the core. */
struct kiommu_domain;
struct kiommu_pins;
/* The faults of a domain that are to be read: outlives the domain. */
struct kiommu_faults;

/* How far down a host IOMMU can take an earlier map call apart. */
enum kiommu_host_split {
	KIOMMU_SPLIT_PAGE = 0, /* at the pages of its tables (VT-d, AMD-Vi) */
	KIOMMU_SPLIT_CALL = 1, /* not at all: whole calls only (virtio-iommu) */
};

struct kiommu_window {
	kiommu_u64 first; /* IOVA, bytes, inclusive */
	kiommu_u64 last;
};

/**
 * struct kiommu_host_caps - what all hosts of a domain can do together
 * @aperture: IOVAs that each host translates.
 * @page_sizes: bitmap of the page sizes that any of the hosts may use.
 * @split: the coarsest of the hosts.
 * @keep_tables: 1 if any of the hosts has tables of its own, which it may keep
 *	when they become empty.
 * @reserved: windows that must never be mapped, sorted by address, owned by
 *	the caller, valid until the next kiommu_core_set_host_caps().
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
	/* The entry that is to blame for @status, as struct kvm_iommu_fault. */
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
	struct kiommu_anchor anchor; /* valid in state anchored */
	kiommu_u64 formats;
	kiommu_u64 mapped_pages;
	kiommu_u64 shadow_bytes;
	kiommu_u64 shadow_limit;
	/* Of the pin table; 0 in state created. */
	kiommu_u64 pinned_pages;
	kiommu_u64 idle_pages; /* pinned, and mapped nowhere */
	kiommu_u64 idle_limit;
	kiommu_u64 pin_bytes; /* kernel memory of the table */
	/* Of the guest's tables, pages; 0 unless they are tracked. */
	kiommu_u64 tracked_pages;
	kiommu_u64 unsynced_pages;
};

/**
 * kiommu_core_pins_create() - the pin table of a guest's memory, empty
 * @mem: must stay valid until kiommu_core_pins_destroy() returned.
 * @idle_limit: pages that may stay pinned while nothing maps them.
 *
 * All domains of a guest share one. Return: 0, -ENOMEM.
 */
int kiommu_core_pins_create(struct kiommu_mem *mem, kiommu_u64 idle_limit,
			    struct kiommu_pins **pins);

/* No domain is started with it any more: all is unpinned on return. */
void kiommu_core_pins_destroy(struct kiommu_pins *pins);

/* Lock: P. The caller trims afterwards. */
void kiommu_core_pins_set_idle_limit(struct kiommu_pins *pins,
				     kiommu_u64 pages);

/* Idle pages at this moment. Lock: none. */
kiommu_u64 kiommu_core_pins_idle(const struct kiommu_pins *pins);

/**
 * kiommu_core_pins_trim_due() - whether more pages are idle than the limit
 *
 * Lock: none. Asked after each call that may have unmapped something.
 */
int kiommu_core_pins_trim_due(const struct kiommu_pins *pins);

/**
 * kiommu_core_pins_trim() - unpin idle pages until at most @keep are left
 *
 * Pages of preregistered slots are not idle. Lock: P. Never allocates.
 * Return: pages unpinned.
 */
kiommu_u64 kiommu_core_pins_trim(struct kiommu_pins *pins, kiommu_u64 keep);

/* Unpins down to the limit. Lock: P. Never allocates. */
void kiommu_core_pins_trim_to_limit(struct kiommu_pins *pins);

/**
 * kiommu_core_pins_preregister() - pin slots for as long as they are there
 * @gpa: first byte of the first slot; @length: bytes; both 0: all slots.
 *
 * The range must be made of whole slots; holes between them do not matter.
 * Slots that are preregistered already are left alone.
 * @status: set to the reason (enum kvm_iommu_status), or 0, as are all that are
 * called so in this file.
 * Lock: P. Return: 0; -EINVAL misaligned, a slot reaches out of the range, or
 * none is in it; -EOVERFLOW; or what a refresh returns for memory that
 * cannot be pinned. On failure nothing has changed, but idle pages of the slots
 * may be unpinned.
 */
int kiommu_core_pins_preregister(struct kiommu_pins *pins, kiommu_u64 gpa,
				 kiommu_u64 length, kiommu_u32 *status);

/* The opposite: their pins become as any others. Errors: as above. Lock: P. */
int kiommu_core_pins_unregister(struct kiommu_pins *pins, kiommu_u64 gpa,
				kiommu_u64 length, kiommu_u32 *status);

/**
 * kiommu_core_slots_changed() - memory slots may have gone or changed
 *
 * Slots that are no longer as they were are unmapped from all domains, flushed
 * and unpinned. Lock: P. Never allocates.
 */
void kiommu_core_slots_changed(struct kiommu_pins *pins);

/**
 * kiommu_core_stores_missed() - a store to some page of tables was not followed
 *
 * All that are tracked go out of sync, with a fault record each: nobody knows
 * what is behind them. Lock: P. Return: 0; -EINTR some may be left: call again.
 */
int kiommu_core_stores_missed(struct kiommu_pins *pins);

/* Ranges of one kiommu_core_memory_changed(). */
#define KIOMMU_MAX_CHANGES 16u

/**
 * kiommu_core_memory_changed() - memory may have gone or been exchanged
 * @ranges: of HVA, @count of them, at most KIOMMU_MAX_CHANGES.
 *
 * Pinned pages that are no longer at their address are unmapped from all
 * domains, flushed and unpinned; the others stay. The cost is that of a
 * look at the ranges and, if something has gone, of one at what is mapped.
 * Lock: P. Return: how many of the ranges, which come first in @ranges then, are
 * to be asked for again later: where kiommu_port_look_up() had no answer, pages
 * stay as they are, mapped and pinned.
 */
kiommu_u32 kiommu_core_memory_changed(struct kiommu_pins *pins,
				      struct kiommu_window *ranges,
				      kiommu_u32 count);

/**
 * kiommu_core_mmio_revoked() - device memory was taken out of the hosts
 *
 * The shadows forget what kiommu_port_mmio_mapped() says is gone. Lock: P.
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
	kiommu_u32 flags; /* KVM_IOMMU_FAULT_HAS_IOVA and so on */
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
 * kiommu_core_faults_create() - the faults of a domain; nobody reads them
 * @reader: passed on to kiommu_port_faults_*().
 *
 * Return: 0, -ENOMEM.
 */
int kiommu_core_faults_create(struct kiommu_fault_reader *reader,
			      struct kiommu_faults **faults);

/* Nobody uses it, and no domain has it, any more. Never sleeps. */
void kiommu_core_faults_destroy(struct kiommu_faults *faults);

/**
 * kiommu_core_faults_open() - somebody reads: faults are queued from now on
 *
 * Lock: none. Return: 0; -ENOMEM; -EBUSY somebody does already.
 */
int kiommu_core_faults_open(struct kiommu_faults *faults);

/* Nobody reads any more: what is queued is forgotten. Lock: none. */
void kiommu_core_faults_close(struct kiommu_faults *faults);

/* Return: 1 if there are records to read, else 0. Lock: none. Never sleeps. */
int kiommu_core_faults_readable(struct kiommu_faults *faults);

/**
 * kiommu_core_faults_peek() - the oldest records, which stay in the queue
 * @records: filled with up to @max.
 *
 * Lock: none, but between this and kiommu_core_faults_drop() nobody else
 * reads. Never sleeps. Return: how many there are; no more is counted in them.
 */
kiommu_u32 kiommu_core_faults_peek(struct kiommu_faults *faults,
				   struct kiommu_fault *records,
				   kiommu_u32 max);

/* Forgets the first @count of those peeked at: they were read. */
void kiommu_core_faults_drop(struct kiommu_faults *faults, kiommu_u32 count);

/**
 * kiommu_core_report_fault() - queue a fault, if somebody reads
 * @fault: sequence, count, lost, pasid, group and cookie are set here.
 *
 * Never sleeps, waits for no reader, allocates nothing; in any context but
 * that of a non-maskable interrupt. Lock: none; with or without those of a
 * call.
 * Return: 1 if it was queued or counted, 0 if nobody reads.
 */
int kiommu_core_report_fault(struct kiommu_faults *faults,
			     const struct kiommu_fault *fault);

/**
 * kiommu_core_report_dma_fault() - the same, for an access that a host blocked
 * @fault: flags, iova, access and device alone.
 *
 * What the anchor says of it (format, code) is added.
 */
int kiommu_core_report_dma_fault(struct kiommu_faults *faults,
				 const struct kiommu_fault *fault);

/**
 * kiommu_core_create() - a domain in state created, without hosts
 * @hosts: passed on to kiommu_port_host_*().
 * @faults: must stay valid until kiommu_core_destroy() returned.
 * @shadow_limit: bytes of node memory that the domain may hold.
 * @domain: set on success.
 *
 * Return: 0, -ENOMEM.
 */
int kiommu_core_create(struct kiommu_hosts *hosts,
		       struct kiommu_faults *faults, kiommu_u64 shadow_limit,
		       struct kiommu_domain **domain);

/**
 * kiommu_core_destroy() - stop and free; cannot fail, never allocates
 *
 * Lock: exclusive.
 */
void kiommu_core_destroy(struct kiommu_domain *domain);

/**
 * kiommu_core_set_host_caps() - a host joined or left
 *
 * Lock: exclusive. Return: 0; -EINVAL if something is mapped where @caps forbids it (nothing
 * changed).
 */
int kiommu_core_set_host_caps(struct kiommu_domain *domain,
			      const struct kiommu_host_caps *caps);

/**
 * kiommu_core_replay() - map all that is shadowed in one host that joined
 * @host: index that the adapter gave the host.
 *
 * Device memory is not replayed: that is the adapter's.
 * Lock: exclusive. Return: 0; -ENOMEM, -EIO: the adapter must drop the host's tables.
 */
int kiommu_core_replay(struct kiommu_domain *domain, kiommu_u32 host);

/**
 * kiommu_core_start() - a guest memory registers
 * @pins: must stay valid until kiommu_core_stop() or _destroy() returned.
 *
 * Lock: exclusive. Return: 0; -EBUSY one is registered.
 */
int kiommu_core_start(struct kiommu_domain *domain, struct kiommu_pins *pins);

/**
 * kiommu_core_stop() - it leaves: anchor, mappings, idle pins are gone
 *
 * Lock: exclusive. Never allocates. Return: 0; -ENODEV none is registered.
 */
int kiommu_core_stop(struct kiommu_domain *domain);

/*
 * KVM_IOMMU_REGISTER_IOAT; errors as documented there. @status: the reason, enum
 * kvm_iommu_status, or 0. Lock: exclusive.
 */
int kiommu_core_register_ioat(struct kiommu_domain *domain,
			      const struct kiommu_anchor *anchor,
			      kiommu_u32 *status);

/* KVM_IOMMU_UNREGISTER_IOAT; never allocates. Lock: exclusive. */
int kiommu_core_unregister_ioat(struct kiommu_domain *domain);

/*
 * KVM_IOMMU_REFRESH; @result is written on success and failure; its status says
 * why it failed. Lock: shared.
 */
int kiommu_core_refresh(struct kiommu_domain *domain, kiommu_u64 iova,
			kiommu_u64 length,
			struct kiommu_refresh_result *result);

/**
 * kiommu_core_unmap() - drop what is mapped in [iova, iova + length)
 * @unmapped: set to the pages that were mapped, also on -ENOMEM.
 *
 * Lock: shared. Return: 0; -ENODEV, -ENXIO, -EINVAL, -EOVERFLOW (nothing changed);
 * -ENOMEM the rest of a split large host page was lost too.
 */
int kiommu_core_unmap(struct kiommu_domain *domain, kiommu_u64 iova,
		      kiommu_u64 length, kiommu_u64 *unmapped);

/* As kiommu_core_unmap(), for everything; the anchor stays. */
int kiommu_core_unmap_all(struct kiommu_domain *domain, kiommu_u64 *unmapped);

/* KVM_IOMMU_TRANSLATE. Lock: shared. */
int kiommu_core_translate(struct kiommu_domain *domain, kiommu_u64 iova,
			  struct kiommu_translation *result);

/*
 * The ring of a guest (linux/kvm_iommu_ring.h): an object of the core. Those of
 * its calls that name a domain come one at a time for each ring.
 */
struct kiommu_ring;

/**
 * kiommu_core_ring_create() - a ring at @gpa; its memory is not looked at
 * @entries: how many it has.
 *
 * Lock: none. Return: 0; -EINVAL @gpa is misaligned, or @entries; -EOVERFLOW it
 * ends above 2^64; -ENOMEM.
 */
int kiommu_core_ring_create(kiommu_u64 gpa, kiommu_u32 entries,
			    struct kiommu_ring **ring, kiommu_u32 *status);
void kiommu_core_ring_destroy(struct kiommu_ring *ring);

/**
 * kiommu_core_ring_begin() - the host's fields of the ring are 0 from here on
 *
 * But for those of a ring whose memory cannot be used, which is given up.
 * The domain is started. Lock: exclusive. Return: 0; -ENOMEM; -EINTR a fatal
 * signal; -EAGAIN slots have changed of which the core must be told first.
 */
int kiommu_core_ring_begin(struct kiommu_domain *domain,
			   struct kiommu_ring *ring);

/* What is done with an entry of many pages, which takes long. */
enum kiommu_ring_large {
	KIOMMU_RING_LARGE_LATER, /* it, and those after it, are left alone */
	KIOMMU_RING_LARGE_NOW, /* a part of it is done */
};

/* What kiommu_core_ring_consume() and kiommu_core_ring_drain() answer. */
#define KIOMMU_RING_MORE 1u /* there are entries that are not done */
#define KIOMMU_RING_NOTIFY 2u /* the guest wants to be notified */

/**
 * kiommu_core_ring_consume() - do what is in the ring, up to a bound
 *
 * A batch of entries becomes one refresh with one flush; the guest is told of
 * each by its status, and the reader of faults of those that failed.
 * The domain is started. Lock: shared. Return:
 * KIOMMU_RING_*; without MORE the guest rings the doorbell for what comes.
 */
kiommu_u32 kiommu_core_ring_consume(struct kiommu_domain *domain,
				    struct kiommu_ring *ring,
				    enum kiommu_ring_large large);

/**
 * struct kiommu_ring_drain - how far one drain of a ring goes
 * @begun: 0 before the first call, which fills this in.
 * @avail: it is over when so many entries are done, counted as the guest does.
 */
struct kiommu_ring_drain {
	kiommu_u32 begun;
	kiommu_u32 avail;
};

/**
 * kiommu_core_ring_drain() - do what is in the ring by now, a part of it
 * @until: the caller's own, zeroed before the first call.
 *
 * What the guest had put into the ring at the first call is done when the answer
 * is without MORE. Until then call it again, best with the locks let go between.
 * The domain is started. Lock: shared. Return: as kiommu_core_ring_consume().
 */
kiommu_u32 kiommu_core_ring_drain(struct kiommu_domain *domain,
				  struct kiommu_ring *ring,
				  struct kiommu_ring_drain *until);

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
 * kiommu_core_translate_range() - KVM_IOMMU_TRANSLATE_RANGE, a part of it
 * @records: room for @capacity records, at least 1.
 * @count: how many there are; set on success.
 * @next: where to go on, 0 behind the last IOVA; set on success.
 * @status: why it stopped there; BUDGET also if there was no more room.
 *
 * Lock: shared. Return: 0; -ENODEV, -ENXIO, -EPERM, -EINVAL, -EOVERFLOW,
 * or -EINTR.
 */
int kiommu_core_translate_range(struct kiommu_domain *domain, kiommu_u64 iova,
				kiommu_u64 length,
				struct kiommu_range_record *records,
				kiommu_u32 capacity, kiommu_u32 *count,
				kiommu_u64 *next, kiommu_u32 *status);

/**
 * kiommu_core_dirty_start() - log which pages devices may write
 *
 * Looks at all that is mapped. Lock: P. Return: 0; -EEXIST it is logged already;
 * -ENOMEM; -EINTR a fatal signal: there is no log then.
 */
int kiommu_core_dirty_start(struct kiommu_pins *pins, kiommu_u32 *status);

/* The opposite; what was logged is forgotten. Lock: P. Return: 0, -ENOENT. */
int kiommu_core_dirty_stop(struct kiommu_pins *pins, kiommu_u32 *status);

/**
 * kiommu_core_dirty_check() - whether a range can be read
 *
 * Lock: P. Never allocates. Return: 0; -EINVAL @gpa or @length misaligned, or
 * @length 0; -EOVERFLOW; -ENOENT there is no log.
 */
int kiommu_core_dirty_check(struct kiommu_pins *pins, kiommu_u64 gpa,
			    kiommu_u64 length, kiommu_u32 *status);

/**
 * kiommu_core_dirty_take() - tell which pages are dirty
 * @bits: of the pages of the range, which was checked: bit i % 64 of word i / 64
 *	is that of page i. All words with one of them are written.
 *
 * What was unmapped is taken out of the log. The cost is that of the range,
 * whatever is mapped. Lock: P. Never allocates. Return: 0; -ENOENT there is no
 * log.
 */
int kiommu_core_dirty_take(struct kiommu_pins *pins, kiommu_u64 gpa,
			   kiommu_u64 length, kiommu_u64 *bits,
			   kiommu_u32 *status);

/* Puts what was taken back. Lock: P. Never allocates. */
void kiommu_core_dirty_put_back(struct kiommu_pins *pins, kiommu_u64 gpa,
				kiommu_u64 length, const kiommu_u64 *bits);

/**
 * kiommu_core_writable_pages() - which IOVAs a device can write now
 * @first: IOVA of the first page; @pages: how many, not beyond 2^64 bytes.
 * @bits: as above, zeroed by the caller.
 *
 * In each state; device memory is left out. Lock: shared. Return: 0; -EINTR.
 */
int kiommu_core_writable_pages(struct kiommu_domain *domain, kiommu_u64 first,
			       kiommu_u64 pages, kiommu_u64 *bits);

/* kiommu_core_unmap(), which tells the same of what it unmaps. */
int kiommu_core_unmap_writable(struct kiommu_domain *domain, kiommu_u64 iova,
			       kiommu_u64 length, kiommu_u64 *bits,
			       kiommu_u64 *unmapped);

#define KIOMMU_TRACKING_RANGES 16

/**
 * struct kiommu_tracking_work - IOVAs to be brought up to date, mode TRACKED
 * @ranges: the first @count of them, the last one first.
 * @count: 0: nothing is left.
 * @rounds: how many calls it took so far.
 * @for_refresh: 0: for a store of the guest; else KIOMMU_TRACKING_*.
 * @gfn: the page that was stored to.
 * @walk: tells what was tracked before it began from what is by it; 0: it is yet
 *	to begin.
 */
struct kiommu_tracking_work {
	struct kiommu_window ranges[KIOMMU_TRACKING_RANGES];
	kiommu_u32 count;
	kiommu_u32 rounds;
	kiommu_u32 for_refresh;
#define KIOMMU_TRACKING_ALL 1u /* all that the tables say */
#define KIOMMU_TRACKING_REFRESHED 2u /* what a refresh found out of sync */
	kiommu_u64 gfn;
	kiommu_u64 walk;
};

/**
 * kiommu_core_tracking_start() - pages of tables are tracked as they are met
 * @burst: as of KVM_IOMMU_SET_SYNC.
 *
 * What the tables say already is to be brought up to date by the caller, see
 * kiommu_core_tracking_all(). It ends by kiommu_core_tracking_stop(), and when
 * the guest memory leaves. Lock: exclusive; started, not tracking. Return: 0;
 * -ENOMEM.
 */
int kiommu_core_tracking_start(struct kiommu_domain *domain, kiommu_u32 burst);

/* No page is tracked any more. Never allocates. Lock: exclusive. */
void kiommu_core_tracking_stop(struct kiommu_domain *domain);

/* All that the tables say, to be brought up to date. Lock: shared. */
void kiommu_core_tracking_all(struct kiommu_domain *domain,
			      struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_store() - the guest has stored something
 * @gpa: of the first byte; @bytes: in one page.
 *
 * Sets @work to what is to be brought up to date, perhaps nothing. The page was
 * tracked when the store was made; memory has the new value. Lock: shared.
 */
void kiommu_core_tracking_store(struct kiommu_domain *domain, kiommu_u64 gpa,
				kiommu_u32 bytes,
				struct kiommu_tracking_work *work);

/**
 * kiommu_core_tracking_step() - bring IOVAs up to date
 *
 * What is wrong with the tables, or cannot be done, goes to the faults.
 * Lock: shared; in a thread of the guest's process. Return: 0; -EAGAIN there is
 * more: call again, best with the locks let go between; -EINTR a fatal signal,
 * what was not done is out of sync, but for what a refresh left as it was.
 */
int kiommu_core_tracking_step(struct kiommu_domain *domain,
			      struct kiommu_tracking_work *work);

/**
 * kiommu_core_untrack() - KVM_IOMMU_UNTRACK
 * @count: pages that were tracked.
 *
 * Takes time for the pages that are known there, not for the range. Lock: shared;
 * tracking. Return: 0; -EINVAL, -EOVERFLOW; -EINTR a fatal signal, and some may be
 * untracked.
 */
int kiommu_core_untrack(struct kiommu_domain *domain, kiommu_u64 gpa,
			kiommu_u64 length, kiommu_u64 *count,
			kiommu_u32 *status);

/* What KVM_IOMMU_GET_INFO tells of the core. Lock: shared. */
void kiommu_core_get_info(const struct kiommu_domain *domain,
			  struct kiommu_core_info *info);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_H */
