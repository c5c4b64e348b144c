// SPDX-License-Identifier: GPL-2.0-only
/*
 * HWPTs of the data type that VT-d has for nesting, IOMMU_HWPT_DATA_VTD_S1, for hosts
 * whose VT-d cannot nest: a VMM that was written for such hardware runs unchanged.
 * See linux/iommufd.h for the calls, and Intel Virtualization Technology for Directed
 * I/O 4.1, sections 3.6 (first-stage translation) and 11.4 (capabilities).
 *
 * Hardware walks the tables when a device needs them, so a guest invalidates nothing
 * when an entry becomes present. There is nobody to ask for a refresh then: stores of
 * the guest have to be followed. The KVM whose guest it is comes with the device, as
 * KVM_DEV_VFIO_FILE_ADD has told VFIO. An invalidation reads the tables anew, because
 * there are stores that KVM does not tell of: those of the VMM.
 */
#include <linux/bitfield.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/iommu.h>
#include <linux/iommufd_provider.h>
#include <linux/module.h>
#include <linux/vfio.h>
#include <uapi/linux/iommufd.h>

#include <linux/kvm_iommu.h>

#include "front/hwpt.h"
#include "object/object.h"
#include "object/tracking.h"

static bool vtd_s1;
module_param(vtd_s1, bool, 0644);
MODULE_PARM_DESC(vtd_s1,
		 "Serve nested HWPTs of VT-d where the host's IOMMU cannot nest");

/* What first-stage tables we read, and can be had, in the capability registers. */
#define CAP_SAGAW_5 BIT_ULL(11)
#define CAP_MGAW GENMASK_ULL(21, 16)
#define CAP_FS1GP BIT_ULL(56)
#define CAP_FS5LP BIT_ULL(60)
#define ECAP_NEST BIT_ULL(26)
#define ECAP_SMTS BIT_ULL(43)
#define ECAP_FSTS BIT_ULL(47)

static bool serves(u32 type, const void *info, size_t length)
{
	const struct iommu_hw_info_vtd *vtd = info;

	return READ_ONCE(vtd_s1) && type == IOMMU_HW_INFO_TYPE_INTEL_VTD &&
	       length >= sizeof(*vtd) && !(vtd->ecap_reg & ECAP_NEST);
}

/*
 * Hardware looks up in the host's tables what the guest's have put out; in ours are the
 * guest's IOVAs. So 5 levels are not claimed where the host's tables do not reach as
 * far. How far they do reach is in MGAW, for guests as for anyone.
 */
static bool holds_5_levels(u64 cap)
{
	return (cap & CAP_SAGAW_5) && FIELD_GET(CAP_MGAW, cap) + 1 >= 57;
}

static void hw_info(void *info)
{
	struct iommu_hw_info_vtd *vtd = info;

	vtd->cap_reg |= CAP_FS1GP;
	if (holds_5_levels(vtd->cap_reg))
		vtd->cap_reg |= CAP_FS5LP;
	else
		vtd->cap_reg &= ~CAP_FS5LP;
	vtd->ecap_reg |= ECAP_NEST | ECAP_SMTS | ECAP_FSTS;
}

static int is_vfio_device(struct device *dev, void *data)
{
	return dev->class && !strcmp(dev->class->name, "vfio-dev");
}

/*
 * The KVM of the device's file, or NULL. VFIO holds it until the device is unbound from
 * the iommufd, which waits for iommufd's call of us.
 */
static const struct kvm *kvm_of(struct device *dev)
{
	struct device *vfio = device_find_child(dev, NULL, is_vfio_device);
	const struct kvm *kvm;

	if (!vfio)
		return NULL;
	kvm = container_of(vfio, struct vfio_device, device)->kvm;
	put_device(vfio);
	return kvm;
}

/*
 * Which requests SRE and WPE are about does not come without a PASID. Nobody sets the
 * extended accessed bit.
 */
static int anchor_of(const struct iommu_hwpt_vtd_s1 *vtd,
		     struct kiommu_anchor *anchor)
{
	if (vtd->__reserved ||
	    vtd->flags & ~(u64)(IOMMU_VTD_S1_SRE | IOMMU_VTD_S1_WPE))
		return -EOPNOTSUPP;
	if (vtd->addr_width != 48 && vtd->addr_width != 57)
		return -EINVAL;
	*anchor = (struct kiommu_anchor){
		.format = KVM_IOMMU_FORMAT_X86_FS,
		.levels = vtd->addr_width == 48 ? 4 : 5,
		.iota = vtd->pgtbl_addr,
		.rights = KVM_IOMMU_READ | KVM_IOMMU_WRITE,
	};
	return 0;
}

static void *hwpt_alloc(struct iommufd_ctx *ictx, u32 ioas_id,
			struct device *dev,
			const struct iommu_user_data *user_data,
			struct iommu_domain **domain)
{
	const struct kiommu_hwpt_place place = { ictx, ioas_id, dev };
	struct kiommu_object *object;
	struct iommu_hwpt_vtd_s1 vtd;
	struct kiommu_anchor anchor;
	const struct kvm *kvm;
	u32 status;
	int ret;

	ret = kiommu_hwpt_copy(&vtd, sizeof(vtd), user_data->uptr, user_data->len,
			       offsetofend(struct iommu_hwpt_vtd_s1, __reserved));
	if (!ret)
		ret = anchor_of(&vtd, &anchor);
	if (ret)
		return ERR_PTR(ret);
	kvm = kvm_of(dev);
	if (!kvm)
		return ERR_PTR(-EOPNOTSUPP);
	object = kiommu_hwpt_create(&place, kvm, &anchor, &status);
	if (IS_ERR(object))
		return object;
	*domain = kiommu_hwpt_domain(object);
	/* As hardware without FS5LP. */
	if (vtd.addr_width == 57 &&
	    (*domain)->geometry.aperture_end < GENMASK_ULL(56, 0)) {
		kiommu_hwpt_free(object);
		return ERR_PTR(-EINVAL);
	}
	return object;
}

static int invalidate_one(struct kiommu_object *object, const void __user *from,
			  u32 length)
{
	struct iommu_hwpt_vtd_s1_invalidate entry;
	u64 most;
	int ret;

	ret = kiommu_hwpt_copy(&entry, sizeof(entry), from, length,
			       sizeof(entry));
	if (ret)
		return ret;
	if (entry.__reserved || entry.flags & ~IOMMU_VTD_INV_FLAGS_LEAF)
		return -EOPNOTSUPP;
	if (!IS_ALIGNED(entry.addr, SZ_4K) ||
	    (entry.npages == U64_MAX && entry.addr))
		return -EINVAL;
	if (!entry.npages)
		return 0;
	/* What lies beyond the last address is not there. */
	most = (U64_MAX - entry.addr) / SZ_4K + 1;
	return kiommu_tracking_refresh(object, entry.addr, entry.npages < most ?
				       entry.addr + entry.npages * SZ_4K - 1 :
				       U64_MAX);
}

static int hwpt_invalidate(void *data, struct iommu_user_data_array *array)
{
	const u32 count = array->entry_num;
	int ret = 0;
	u32 i;

	array->entry_num = 0;
	if (array->type != IOMMU_HWPT_INVALIDATE_DATA_VTD_S1)
		return -EINVAL;
	for (i = 0; i < count && !ret; i++) {
		ret = invalidate_one(data, array->uptr + (u64)i * array->entry_len,
				     array->entry_len);
		if (!ret)
			array->entry_num++;
		cond_resched();
	}
	return ret;
}

const struct iommufd_hwpt_provider kiommu_hwpt_vtd_s1 = {
	.owner = THIS_MODULE,
	.data_type = IOMMU_HWPT_DATA_VTD_S1,
	.alloc = hwpt_alloc,
	.free = kiommu_hwpt_free,
	.attach = kiommu_hwpt_attach,
	.invalidate = hwpt_invalidate,
	.serves = serves,
	.hw_info = hw_info,
};
