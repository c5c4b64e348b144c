// SPDX-License-Identifier: GPL-2.0-only
/*
 * The shape of the interface: structs of wrong or future size, bad pointers,
 * unknown flags and numbers, for each ioctl. A refused call changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>

#include "kvm_test_harness.h"
#include "kvm_util.h"

#include "cdev.h"
#include "faults.h"
#include "kiommu_util.h"

#define IOVA (KIOMMU_IOVA_BASE + 0x100000ull)
#define RW (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

#define OP(_name, _struct, ...) {					\
	.name = #_name,							\
	.request = KVM_IOMMU_##_name,					\
	.size = sizeof(struct _struct),					\
	##__VA_ARGS__ }
/* The size with which a struct that has grown was first published. */
#define INFO_SIZE offsetof(struct kvm_iommu_info, idle_pages)

/* Offsets of fields, for ops[]. */
#define RESERVED(_struct) .reserved = offsetof(struct _struct, __reserved)
#define STATUS(_struct) .status = offsetof(struct _struct, status)

/* The module's ioctls; offsets are 0 where there is no such field. */
static const struct op {
	const char *name;
	unsigned long request;
	uint32_t size;
	uint32_t grown; /* bytes added since it was published */
	size_t reserved;
	size_t status;
	bool replies; /* has output, but no status */
	uint8_t flags; /* known flags */
} ops[] = {
	OP(GET_INFO, kvm_iommu_info, RESERVED(kvm_iommu_info), .replies = true,
	   .grown = sizeof(struct kvm_iommu_info) - INFO_SIZE),
	OP(START, kvm_iommu_start, STATUS(kvm_iommu_start)),
	OP(STOP, kvm_iommu_stop),
	OP(REGISTER_IOAT, kvm_iommu_register_ioat,
	   STATUS(kvm_iommu_register_ioat)),
	OP(UNREGISTER_IOAT, kvm_iommu_unregister_ioat),
	OP(REFRESH, kvm_iommu_refresh, RESERVED(kvm_iommu_refresh),
	   STATUS(kvm_iommu_refresh)),
	OP(TRANSLATE, kvm_iommu_translate, RESERVED(kvm_iommu_translate),
	   STATUS(kvm_iommu_translate)),
	OP(PIN_MEMORY, kvm_iommu_pin_memory, RESERVED(kvm_iommu_pin_memory),
	   STATUS(kvm_iommu_pin_memory)),
	OP(UNPIN_MEMORY, kvm_iommu_unpin_memory,
	   RESERVED(kvm_iommu_unpin_memory), STATUS(kvm_iommu_unpin_memory)),
	OP(SET_IDLE_LIMIT, kvm_iommu_set_idle_limit),
	OP(GET_FAULT_FD, kvm_iommu_get_fault_fd,
	   RESERVED(kvm_iommu_get_fault_fd), .replies = true,
	   .flags = KVM_IOMMU_FAULT_FD_NONBLOCK),
	OP(SET_SYNC, kvm_iommu_set_sync, STATUS(kvm_iommu_set_sync),
	   .flags = KVM_IOMMU_SYNC_THREAD | KVM_IOMMU_SYNC_SLOTS),
	OP(UNTRACK, kvm_iommu_untrack, RESERVED(kvm_iommu_untrack),
	   STATUS(kvm_iommu_untrack)),
	OP(TRANSLATE_RANGE, kvm_iommu_translate_range,
	   RESERVED(kvm_iommu_translate_range),
	   STATUS(kvm_iommu_translate_range)),
	OP(DIRTY_LOG, kvm_iommu_dirty_log, STATUS(kvm_iommu_dirty_log)),
};

FIXTURE(abi) {
	struct kiommu k;
	int fd;
	char *page; /* the struct under test; the page behind it is a hole */
};

FIXTURE_SETUP(abi)
{
	kiommu_setup(&self->k, VFIO_KVM_IOMMU);
	self->fd = self->k.vfio.fd;
	self->page = mmap(NULL, 2 * KIOMMU_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)self->page);
	ASSERT_EQ(0, munmap(self->page + KIOMMU_PAGE, KIOMMU_PAGE));
}

FIXTURE_TEARDOWN(abi)
{
	kiommu_teardown(&self->k);
}

/* What the last try_op() left in the struct's status. */
static uint32_t status_of(FIXTURE_DATA(abi) *self, const struct op *op)
{
	uint32_t status;

	memcpy(&status, self->page + op->status, sizeof(status));
	return status;
}

/* Issues @op with a struct of zeroes except for its size, and @value at @at. */
static int try_op(FIXTURE_DATA(abi) *self, const struct op *op, uint32_t size,
		  size_t at, uint8_t value)
{
	memset(self->page, 0, KIOMMU_PAGE);
	memcpy(self->page, &size, sizeof(size));
	if (value)
		self->page[at] = value;
	return kiommu_ioctl(self->fd, op->request, self->page);
}

TEST_F_TIMEOUT(abi, struct_sizes, 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct op *op = &ops[i];

		TH_LOG("%s", op->name);
		EXPECT_EQ(-EINVAL, try_op(self, op, 0, 0, 0));
		EXPECT_EQ(-EINVAL, try_op(self, op, 4, 0, 0));
		EXPECT_EQ(-EINVAL, try_op(self, op, op->size - op->grown - 1, 0, 0));
		/* A struct of a later kernel, which has more fields. */
		EXPECT_EQ(-E2BIG, try_op(self, op, op->size + 8, op->size, 1));
		EXPECT_EQ(-E2BIG, try_op(self, op, op->size + 8, op->size + 7, 1));
		EXPECT_EQ(-E2BIG, try_op(self, op, KIOMMU_PAGE, KIOMMU_PAGE - 1, 1));
		/* More than any kernel will support is not even looked at. */
		EXPECT_EQ(-E2BIG, try_op(self, op, KIOMMU_PAGE + 8, 0, 0));
		EXPECT_EQ(-E2BIG, try_op(self, op, UINT32_MAX, 0, 0));
		ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));
	}
}

/* A struct of the first version is filled as far as it goes. */
TEST_F_TIMEOUT(abi, first_info, 120)
{
	struct kvm_iommu_info info;

	memset(&info, 0x5a, sizeof(info));
	info.size = INFO_SIZE;
	info.flags = 0;
	info.__reserved = 0;
	ASSERT_EQ(0, kiommu_ioctl(self->fd, KVM_IOMMU_GET_INFO, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, info.state);
	EXPECT_EQ(0x5a5a5a5a5a5a5a5aull, info.idle_pages);
}

/* A larger struct works like today's while its new part is zero. */
TEST_F_TIMEOUT(abi, larger_structs_work, 120)
{
	struct {
		union {
			struct kvm_iommu_info info;
			struct kvm_iommu_start start;
			struct kvm_iommu_stop stop;
			struct kvm_iommu_register_ioat anchor;
			struct kvm_iommu_unregister_ioat unregister;
			struct kvm_iommu_refresh refresh;
			struct kvm_iommu_translate translate;
			struct kvm_iommu_pin_memory pin;
			struct kvm_iommu_unpin_memory unpin;
			struct kvm_iommu_set_idle_limit limit;
			struct kvm_iommu_get_fault_fd fault_fd;
			struct kvm_iommu_set_sync sync;
			struct kvm_iommu_untrack untrack;
			struct kvm_iommu_translate_range range;
			struct kvm_iommu_dirty_log log;
		};
		uint64_t later[4];
	} arg;
#define LARGER(_member, ...) ({						\
	memset(&arg, 0, sizeof(arg));					\
	arg._member = (typeof(arg._member)){				\
		.size = sizeof(arg._member) + 16, ##__VA_ARGS__ };	\
	memset((char *)&arg + arg._member.size, 0xa5, 8);		\
	&arg; })
	struct kvm_iommu_translation record;
	int fd = self->fd;

	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_STOP, LARGER(stop)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_START,
				  LARGER(start, .kvm_fd = self->k.vm.fd)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_REGISTER_IOAT, LARGER(anchor, .rights = IOAT_RW)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_REFRESH,
				  LARGER(refresh, .iova = KIOMMU_AREA_GPA,
					 .length = KIOMMU_PAGE)));
	EXPECT_EQ(sizeof(arg.refresh) + 16, arg.refresh.size);
	EXPECT_EQ(1, arg.refresh.mapped);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_TRANSLATE,
				  LARGER(translate, .iova = KIOMMU_AREA_GPA)));
	EXPECT_EQ(KIOMMU_AREA_GPA, arg.translate.gpa);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_GET_INFO, LARGER(info)));
	/* The kernel reports the size that it knows, and leaves the rest. */
	EXPECT_EQ(sizeof(arg.info), arg.info.size);
	EXPECT_EQ(KVM_IOMMU_STATE_ANCHORED, arg.info.state);
	EXPECT_EQ(0, arg.later[0]);
	EXPECT_EQ(0, arg.later[1]);
	EXPECT_EQ(0xa5a5a5a5a5a5a5a5ull, arg.later[2]);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_TRANSLATE_RANGE,
				  LARGER(range, .iova = KIOMMU_AREA_GPA,
					 .length = KIOMMU_PAGE, .capacity = 1,
					 .records = (uintptr_t)&record)));
	EXPECT_EQ(1, arg.range.count);
	EXPECT_EQ(KIOMMU_AREA_GPA, record.gpa);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_DIRTY_LOG, LARGER(log)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_DIRTY_LOG,
				  LARGER(log, .op = KVM_IOMMU_DIRTY_STOP)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_PIN_MEMORY,
				  LARGER(pin, .gpa = KIOMMU_AREA_GPA,
					 .length = KIOMMU_AREA_SIZE)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_UNPIN_MEMORY,
				  LARGER(unpin, .gpa = KIOMMU_AREA_GPA,
					 .length = KIOMMU_AREA_SIZE)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_SET_IDLE_LIMIT,
				  LARGER(limit, .pages = 7)));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_GET_INFO, LARGER(info)));
	EXPECT_EQ(7, arg.info.idle_limit);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_GET_FAULT_FD, LARGER(fault_fd)));
	EXPECT_EQ(0, close(arg.fault_fd.fd));
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_SET_SYNC,
				  LARGER(sync, .mode = KVM_IOMMU_SYNC_EXPLICIT)));
	ASSERT_EQ(-ENXIO, kiommu_ioctl(fd, KVM_IOMMU_UNTRACK,
				       LARGER(untrack, .length = KIOMMU_PAGE)));
	EXPECT_EQ(KVM_IOMMU_STATUS_NOT_TRACKED, arg.untrack.status);
	ASSERT_EQ(0, kiommu_ioctl(fd, KVM_IOMMU_UNREGISTER_IOAT,
				  LARGER(unregister)));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(fd));
#undef LARGER
}

TEST_F_TIMEOUT(abi, bad_pointers, 120)
{
	char *hole = self->page + KIOMMU_PAGE;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct op *op = &ops[i];
		uint32_t size = op->size;

		TH_LOG("%s", op->name);
		EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, op->request, NULL));
		EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, op->request, hole));
		EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, op->request, (void *)-8));
		/* The size can be read, the end of the struct cannot. */
		memcpy(hole - 4, &size, sizeof(size));
		EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, op->request, hole - 4));
		ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));
	}
}

/* -EFAULT if the answer cannot be stored: nothing has changed then either. */
TEST_F_TIMEOUT(abi, read_only_answers, 120)
{
	struct kvm_iommu_refresh refresh = {
		.size = sizeof(refresh),
		.iova = KIOMMU_AREA_GPA,
		.length = KIOMMU_PAGE,
	};
	struct kvm_iommu_get_fault_fd get = { .size = sizeof(get) };

	ASSERT_EQ(0, kiommu_register_identity(self->fd, 0));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!ops[i].status && !ops[i].replies)
			continue;
		TH_LOG("%s", ops[i].name);
		ASSERT_EQ(0, mprotect(self->page, KIOMMU_PAGE,
				      PROT_READ | PROT_WRITE));
		memset(self->page, 0, KIOMMU_PAGE);
		memcpy(self->page, &ops[i].size, sizeof(ops[i].size));
		if (ops[i].request == KVM_IOMMU_REFRESH)
			memcpy(self->page, &refresh, sizeof(refresh));
		ASSERT_EQ(0, mprotect(self->page, KIOMMU_PAGE, PROT_READ));
		EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, ops[i].request,
						self->page));
	}
	/* No file was left open. */
	ASSERT_EQ(0, kiommu_ioctl(self->fd, KVM_IOMMU_GET_FAULT_FD, &get));
	EXPECT_EQ(0, close(get.fd));
	EXPECT_EQ(0, kiommu_mapped_pages(self->fd));
	EXPECT_EQ(self->k.locked_vm, kiommu_locked_vm());
}

TEST_F_TIMEOUT(abi, unknown_flags_and_reserved_fields, 120)
{
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct op *op = &ops[i];

		TH_LOG("%s", op->name);
		EXPECT_EQ(-EOPNOTSUPP,
			  try_op(self, op, op->size, 4, op->flags + 1));
		EXPECT_EQ(-EOPNOTSUPP, try_op(self, op, op->size, 7, 0x80));
		if (op->status)
			EXPECT_EQ(KVM_IOMMU_STATUS_FLAGS, status_of(self, op));
		if (op->reserved) {
			EXPECT_EQ(-EOPNOTSUPP,
				  try_op(self, op, op->size, op->reserved, 1));
			EXPECT_EQ(-EOPNOTSUPP, try_op(self, op, op->size,
						      op->reserved + 3, 0x80));
		}
		if (op->reserved && op->status)
			EXPECT_EQ(KVM_IOMMU_STATUS_FIELD, status_of(self, op));
		ASSERT_EQ(KVM_IOMMU_STATE_STARTED, kiommu_get_state(self->fd));
	}
}

/* Every failure has a status, whatever was in the field before. */
TEST_F_TIMEOUT(abi, each_failure_has_a_status, 120)
{
	ASSERT_EQ(0, kiommu_stop(self->fd));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct op *op = &ops[i];
		uint32_t expected = KVM_IOMMU_STATUS_NO_KVM;
		int error = -ENODEV;

		if (!op->status)
			continue;
		if (op->request == KVM_IOMMU_START) {
			/* Descriptor 0 is not a KVM's. */
			expected = KVM_IOMMU_STATUS_FD_TYPE;
			error = -EINVAL;
		} else if (op->request == KVM_IOMMU_TRANSLATE_RANGE) {
			/* No room for a record. */
			expected = KVM_IOMMU_STATUS_RANGE;
			error = -EINVAL;
		}
		TH_LOG("%s", op->name);
		EXPECT_EQ(error, try_op(self, op, op->size, op->status, 0x5a));
		EXPECT_EQ(expected, status_of(self, op));
	}
}

/* A file whose function for ioctls has the name of KVM's, but not in KVM. */
TEST_F_TIMEOUT(abi, start_with_a_namesake_of_kvm, 120)
{
	struct kvm_iommu_start cmd = { .size = sizeof(cmd) };

	if (!kiommu_load_inject(&self->k.vfio.dev[0]))
		SKIP(return, KIOMMU_NO_INJECT);
	ASSERT_EQ(0, kiommu_stop(self->fd));
	cmd.kvm_fd = open("/dev/kiommu_not_kvm", O_RDWR);
	ASSERT_LE(0, cmd.kvm_fd);
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, KVM_IOMMU_START, &cmd));
	EXPECT_EQ(KVM_IOMMU_STATUS_FD_TYPE, cmd.status);
	close(cmd.kvm_fd);
	kiommu_unload_inject();
	EXPECT_EQ(0, kiommu_start(self->fd, self->k.vm.fd));
}

TEST_F_TIMEOUT(abi, unknown_requests, 120)
{
	const unsigned int type = KVM_IOMMU_TYPE, base = KVM_IOMMU_BASE;

	memset(self->page, 0, KIOMMU_PAGE);
	for (unsigned int nr = _IOC_NR(KVM_IOMMU_DIRTY_LOG) + 1; nr < base + 32; nr++) {
		/* The file of a domain knows these, a container does not. */
		if (kiommu_front_is_file() && (nr == _IOC_NR(KVM_IOMMU_ATTACH) ||
					       nr == _IOC_NR(KVM_IOMMU_DETACH)))
			continue;
		EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IO(type, nr), self->page));
	}
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IO(type, base - 1), self->page));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IO(type, 0), self->page));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IO(type, 255), self->page));
	/* The number is one of ours, the direction or size is not. */
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IOC(_IOC_WRITE, type, base, 0),
					self->page));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, _IOC(_IOC_NONE, type, base, 8),
					self->page));
	/* VFIO's, but not for this type of IOMMU. */
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, VFIO_IOMMU_ENABLE, self->page));
	EXPECT_EQ(-ENOTTY, kiommu_ioctl(self->fd, VFIO_EEH_PE_OP, self->page));
}

TEST_F_TIMEOUT(abi, get_info, 120)
{
	struct kvm_iommu_info info;

	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(sizeof(info), info.size);
	EXPECT_EQ(0, info.flags & ~KVM_IOMMU_INFO_CACHE_COHERENT);
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, info.state);
	/* All formats up to the last one. */
	EXPECT_EQ((2u << KVM_IOMMU_FORMAT_RISCV_SV) - 1, info.formats);
	EXPECT_TRUE(info.page_sizes & KIOMMU_PAGE);
	EXPECT_EQ(0, info.aperture_first % KIOMMU_PAGE);
	EXPECT_EQ(KIOMMU_PAGE - 1, info.aperture_last % KIOMMU_PAGE);
	EXPECT_LT(1ull << 32, info.aperture_last);
	EXPECT_EQ(0, info.mapped_pages);
	EXPECT_EQ(0, info.pinned_pages);
	EXPECT_EQ(0, info.shadow_bytes);
	EXPECT_EQ(256ull << 20, info.shadow_limit);
	EXPECT_EQ(KVM_IOMMU_FEATURE_P2P | KVM_IOMMU_FEATURE_DIRTY_LOG |
		  KVM_IOMMU_FEATURE_ANCHOR_RIGHTS | KVM_IOMMU_FEATURE_DOMAIN_FILE |
		  (kiommu_cdev_possible() ? KVM_IOMMU_FEATURE_DEVICE_FILE : 0) |
		  (kiommu_front_has_hwpt() ? KVM_IOMMU_FEATURE_HWPT : 0) |
		  KIOMMU_KERNEL_FEATURES,
		  info.features & ~(KVM_IOMMU_FEATURE_RING_INLINE |
				    KVM_IOMMU_FEATURE_TRACKED));
	/* Output fields may hold anything; flags may not. */
	EXPECT_EQ(-EOPNOTSUPP,
		  (info.flags = ~0u,
		   kiommu_ioctl(self->fd, KVM_IOMMU_GET_INFO, &info)));
	info.flags = 0;
	info.state = 99;
	info.features = ~0ull;
	ASSERT_EQ(0, kiommu_ioctl(self->fd, KVM_IOMMU_GET_INFO, &info));
	EXPECT_EQ(KVM_IOMMU_STATE_STARTED, info.state);
}

TEST_F_TIMEOUT(abi, check_extension, 120)
{
	int fresh = open_path_or_exit("/dev/vfio/vfio", O_RDWR);
	struct kvm_iommu_info info;

	/* Before a type is chosen: what any driver supports. */
	EXPECT_EQ(1, kiommu_check_extension(fresh, VFIO_KVM_IOMMU));
	EXPECT_EQ(1, kiommu_check_extension(fresh, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(0, kiommu_check_extension(fresh, 4711));
	EXPECT_EQ(-EINVAL, kiommu_get_info(fresh, &info));
	/* Without a group there is nothing that an IOMMU could be set for. */
	EXPECT_EQ(-EINVAL, kiommu_set_iommu(fresh, VFIO_KVM_IOMMU));
	close(fresh);

	/* Afterwards: what this driver supports. */
	ASSERT_EQ(0, kiommu_get_info(self->fd, &info));
	EXPECT_EQ(1, kiommu_check_extension(self->fd, VFIO_KVM_IOMMU));
	EXPECT_EQ(0, kiommu_check_extension(self->fd, VFIO_TYPE1_IOMMU));
	EXPECT_EQ(0, kiommu_check_extension(self->fd, VFIO_TYPE1v2_IOMMU));
	EXPECT_EQ(1, kiommu_check_extension(self->fd, VFIO_UNMAP_ALL));
	EXPECT_EQ(!!(info.flags & KVM_IOMMU_INFO_CACHE_COHERENT),
		  kiommu_check_extension(self->fd, VFIO_DMA_CC_IOMMU));
	EXPECT_EQ(0, kiommu_check_extension(self->fd, 4711));
	/* A type can be chosen only once. */
	EXPECT_EQ(-EINVAL, kiommu_set_iommu(self->fd, VFIO_KVM_IOMMU));
	EXPECT_EQ(-EINVAL, kiommu_set_iommu(self->fd, VFIO_TYPE1v2_IOMMU));
}

TEST_F_TIMEOUT(abi, type1_info_tells_iova_ranges, 120)
{
	struct vfio_iommu_type1_info *info = (void *)self->page;
	struct vfio_iommu_type1_info_cap_iova_range *cap;
	const uint32_t min = offsetof(typeof(*info), cap_offset);
	struct kvm_iommu_info ours;
	uint64_t end = 0;

	EXPECT_EQ(-EFAULT, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, NULL));
	info->argsz = min - 1;
	EXPECT_EQ(-EINVAL, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, info));
	/* Too small for the chain: the size that it needs is told. */
	info->argsz = sizeof(*info);
	ASSERT_EQ(0, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_LT(sizeof(*info), info->argsz);
	EXPECT_EQ(0, info->cap_offset);
	EXPECT_TRUE(info->iova_pgsizes & KIOMMU_PAGE);
	ASSERT_EQ(0, kiommu_ioctl(self->fd, VFIO_IOMMU_GET_INFO, info));
	EXPECT_EQ(VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS, info->flags);
	ASSERT_EQ(sizeof(*info), info->cap_offset);

	cap = (void *)(self->page + info->cap_offset);
	ASSERT_EQ(VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, cap->header.id);
	EXPECT_EQ(1, cap->header.version);
	ASSERT_LT(0, cap->nr_iovas);
	ASSERT_EQ(0, kiommu_get_info(self->fd, &ours));
	EXPECT_LE(ours.aperture_first, cap->iova_ranges[0].start);
	for (uint32_t i = 0; i < cap->nr_iovas; i++) {
		uint64_t first = cap->iova_ranges[i].start;
		uint64_t last = cap->iova_ranges[i].end;

		EXPECT_LT(first, last);
		if (i)
			EXPECT_LT(end, first);
		/* On x86 this window is for interrupts (MSI). */
		EXPECT_TRUE(last < 0xfee00000ull || first > 0xfeefffffull);
		end = last;
	}
	EXPECT_GE(ours.aperture_last, end);
}

TEST_F_TIMEOUT(abi, type1_map_and_unmap_refuse_bad_arguments, 120)
{
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map) - 1,
						.flags = RW };
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap) - 1 };
	uint64_t size = KIOMMU_PAGE, zero = 0;
	int fd = self->fd;

	ASSERT_EQ(0, kiommu_register_identity(fd, 0));
	EXPECT_EQ(-EFAULT, kiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, NULL));
	EXPECT_EQ(-EFAULT, kiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, NULL));
	EXPECT_EQ(-EINVAL, kiommu_ioctl(fd, VFIO_IOMMU_MAP_DMA, &map));
	EXPECT_EQ(-EINVAL, kiommu_ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap));

	/* Rights come from the guest, vaddr from its memory slots. */
	EXPECT_EQ(-EOPNOTSUPP, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, size, 0));
	EXPECT_EQ(-EOPNOTSUPP, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, size,
					      VFIO_DMA_MAP_FLAG_READ));
	EXPECT_EQ(-EOPNOTSUPP, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, size,
					      RW | VFIO_DMA_MAP_FLAG_VADDR));
	EXPECT_EQ(-EINVAL, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA + 1, size, RW));
	EXPECT_EQ(-EINVAL, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, 1, RW));
	EXPECT_EQ(-EINVAL, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, 0, RW));
	EXPECT_EQ(-EOVERFLOW, kiommu_map_dma(fd, NULL, -size, 2 * size, RW));
	EXPECT_EQ(0, kiommu_mapped_pages(fd));

	ASSERT_EQ(0, kiommu_map_dma(fd, NULL, KIOMMU_AREA_GPA, size, RW));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(fd, KIOMMU_AREA_GPA + 1, &size, 0));
	EXPECT_EQ(-EINVAL, kiommu_unmap_dma(fd, KIOMMU_AREA_GPA, &zero, 0));
	/* Without the bitmap. */
	EXPECT_EQ(-EINVAL,
		  kiommu_unmap_dma(fd, KIOMMU_AREA_GPA, &size,
				   VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP));
	EXPECT_EQ(-EOPNOTSUPP, kiommu_unmap_dma(fd, KIOMMU_AREA_GPA, &size,
						VFIO_DMA_UNMAP_FLAG_VADDR));
	EXPECT_EQ(-EOPNOTSUPP, kiommu_unmap_dma(fd, 0, &zero, 1u << 31));
	size = 2 * KIOMMU_PAGE;
	EXPECT_EQ(-EOVERFLOW, kiommu_unmap_dma(fd, -KIOMMU_PAGE, &size, 0));
	EXPECT_EQ(1, kiommu_mapped_pages(fd));
	EXPECT_EQ(0, zero);
	EXPECT_EQ(2 * KIOMMU_PAGE, size);
}

TEST_HARNESS_MAIN
