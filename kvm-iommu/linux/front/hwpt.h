/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Domains that are HWPTs of an iommufd: linux/kvm_iommu_hwpt.h says what they are.
 * hwpt.c has what they have in common. The data types of IOMMU_HWPT_ALLOC that they
 * are made by are providers of their own: hwpt_kvm_iommu.c, hwpt_vtd_s1.c.
 */
#ifndef KIOMMU_HWPT_H
#define KIOMMU_HWPT_H

#include <linux/kvm_iommu.h>

#ifdef KIOMMU_HWPT

struct device;
struct iommu_domain;
struct iommufd_ctx;
struct iommufd_hwpt_provider;
struct kiommu_anchor;
struct kiommu_object;

/* HWPTs can be made from here on, if it succeeds. Return: 0; -EBUSY; -ENOMEM. */
int kiommu_hwpt_register(void);
void kiommu_hwpt_unregister(void);

extern const struct iommufd_hwpt_provider kiommu_hwpt_kvm_iommu;
extern const struct iommufd_hwpt_provider kiommu_hwpt_vtd_s1;

/**
 * struct kiommu_hwpt_place - where an HWPT is made: what iommufd passes
 * @ioas_id: IOAS of the parent, in @ictx.
 * @dev: device for whose IOMMU the HWPT is.
 */
struct kiommu_hwpt_place {
	struct iommufd_ctx *ictx;
	u32 ioas_id;
	struct device *dev;
};

/**
 * kiommu_hwpt_create() - make the domain of an HWPT, and set its anchor
 * @stores: as for kiommu_ioas_guest(). With it, the domain follows the stores of the
 *	guest, and maps what the tables map on return.
 * @status: set to the reason if it fails, or to 0 if the errno says all.
 *
 * Context: may sleep; no lock of iommufd or of lock.h is held.
 * Return: the object, or an ERR_PTR() as struct kvm_iommu_hwpt documents.
 */
struct kiommu_object *kiommu_hwpt_create(const struct kiommu_hwpt_place *place,
					 const void *stores,
					 const struct kiommu_anchor *anchor,
					 u32 *status);

/* The iommu_domain of a new HWPT. */
struct iommu_domain *kiommu_hwpt_domain(const struct kiommu_object *object);

/* Functions of a provider; @data is the object. */
void kiommu_hwpt_free(void *data);
int kiommu_hwpt_attach(void *data, struct device *dev);

/*
 * Copies a struct of a size that the caller of iommufd chose, of which @least bytes
 * were published first. Return: 0; -EINVAL too small; -E2BIG; -EFAULT.
 */
int kiommu_hwpt_copy(void *to, size_t size, const void __user *from, size_t length,
		     size_t least);

#else

static inline int kiommu_hwpt_register(void)
{
	return 0;
}

static inline void kiommu_hwpt_unregister(void)
{
}

#endif

static inline u64 kiommu_hwpt_features(void)
{
#ifdef KIOMMU_HWPT
	return KVM_IOMMU_FEATURE_HWPT;
#else
	return 0;
#endif
}

#endif /* KIOMMU_HWPT_H */
