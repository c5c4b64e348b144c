/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The door from C into the core: what an adapter (the kernel module, or the
 * user-space port of the tests) calls. The core knows nothing of its front.
 *
 * Locking: calls on one domain must not overlap; the caller serialises them
 * by a lock that may be held while sleeping. Different domains are
 * independent.
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
/* The domain: an object of the core. */
struct kiommu_domain;

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
 * @reserved: windows that must never be mapped, sorted by address, owned by
 *	the caller, valid until the next kiommu_core_set_host_caps().
 * @reserved_count: entries of @reserved.
 */
struct kiommu_host_caps {
	struct kiommu_window aperture;
	kiommu_u64 page_sizes;
	enum kiommu_host_split split;
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
};

/* Mirrors the out fields of struct kvm_iommu_refresh. */
struct kiommu_refresh_result {
	kiommu_u64 stopped_iova;
	kiommu_u64 mapped;
	kiommu_u64 unmapped;
	kiommu_u32 status; /* enum kvm_iommu_status */
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
	kiommu_u64 pinned_pages;
	kiommu_u64 shadow_bytes;
	kiommu_u64 shadow_limit;
};

/**
 * kiommu_core_create() - a domain in state created, without hosts
 * @hosts: passed on to kiommu_port_host_*().
 * @shadow_limit: bytes of node memory that the domain may hold.
 * @domain: set on success.
 *
 * Return: 0, -ENOMEM.
 */
int kiommu_core_create(struct kiommu_hosts *hosts, kiommu_u64 shadow_limit,
		       struct kiommu_domain **domain);

/**
 * kiommu_core_destroy() - stop and free; cannot fail, never allocates
 */
void kiommu_core_destroy(struct kiommu_domain *domain);

/**
 * kiommu_core_set_host_caps() - a host joined or left
 *
 * Return: 0; -EINVAL if something is mapped where @caps forbids it (nothing
 * changed).
 */
int kiommu_core_set_host_caps(struct kiommu_domain *domain,
			      const struct kiommu_host_caps *caps);

/**
 * kiommu_core_replay() - map all that is shadowed in one host that joined
 * @host: index that the adapter gave the host.
 *
 * Return: 0; -ENOMEM, -EREMOTEIO: the adapter must drop the host's tables.
 */
int kiommu_core_replay(struct kiommu_domain *domain, kiommu_u32 host);

/**
 * kiommu_core_start() - a guest memory registers
 * @mem: must stay valid until kiommu_core_stop() or _destroy() returned.
 *
 * Return: 0; -EBUSY one is registered.
 */
int kiommu_core_start(struct kiommu_domain *domain, struct kiommu_mem *mem);

/**
 * kiommu_core_stop() - it leaves: anchor, mappings, pins are gone on return
 *
 * Never allocates. Return: 0; -ENODEV none is registered.
 */
int kiommu_core_stop(struct kiommu_domain *domain);

/* KVM_IOMMU_REGISTER_IOAT; errors as documented there. */
int kiommu_core_register_ioat(struct kiommu_domain *domain,
			      const struct kiommu_anchor *anchor);

/* KVM_IOMMU_UNREGISTER_IOAT; never allocates. */
int kiommu_core_unregister_ioat(struct kiommu_domain *domain);

/* KVM_IOMMU_REFRESH; @result is written whenever its status is not OK and on
 * success, zeroed otherwise.
 */
int kiommu_core_refresh(struct kiommu_domain *domain, kiommu_u64 iova,
			kiommu_u64 length,
			struct kiommu_refresh_result *result);

/**
 * kiommu_core_unmap() - drop what is mapped in [iova, iova + length)
 * @unmapped: set to the pages that were mapped, also on -ENOMEM.
 *
 * Return: 0; -ENODEV, -ENXIO, -EDOM, -EOVERFLOW, -ERANGE (nothing changed);
 * -ENOMEM the rest of a split large host page was lost too.
 */
int kiommu_core_unmap(struct kiommu_domain *domain, kiommu_u64 iova,
		      kiommu_u64 length, kiommu_u64 *unmapped);

/* As kiommu_core_unmap(), for everything; the anchor stays. */
int kiommu_core_unmap_all(struct kiommu_domain *domain, kiommu_u64 *unmapped);

/* KVM_IOMMU_TRANSLATE. */
int kiommu_core_translate(struct kiommu_domain *domain, kiommu_u64 iova,
			  struct kiommu_translation *result);

/* What KVM_IOMMU_GET_INFO tells of the core. */
void kiommu_core_get_info(const struct kiommu_domain *domain,
			  struct kiommu_core_info *info);

#ifdef __cplusplus
}
#endif

#endif /* KIOMMU_CORE_H */
