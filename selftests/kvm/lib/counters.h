/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What can be seen from outside: pins of the whole machine, users and
 * parameters of the module, counters of a domain.
 */
#ifndef KIOMMU_SELFTEST_COUNTERS_H
#define KIOMMU_SELFTEST_COUNTERS_H

#include <stdint.h>

/*
 * Pins that are held now, of any process; a page may count for several. The
 * kernel counts what it pins and what it unpins (nr_foll_pin_* in
 * /proc/vmstat), so a leak shows after its process is gone, too.
 */
uint64_t kiommu_pins(void);
/*
 * Pins that were made since the machine was started, without those that the
 * library needed for DMA.
 */
uint64_t kiommu_pins_made(void);

/*
 * References to kvm_iommu.ko: one for each container of its type. Modules that
 * use it are not counted.
 */
long kiommu_module_refs(void);

/*
 * Waits, a minute at most, until there are none: processes that were killed may be
 * at their end still, and so may the thread that made a guest which nobody took.
 * Return: kiommu_module_refs().
 */
long kiommu_await_unused(void);

/*
 * References to the modules whose guests are used, KVM's or kiommu_memory.ko: by
 * guests and their files, and by whoever keeps a symbol of theirs.
 */
long kiommu_kvm_refs(void);

/*
 * In a test whose @self has @pins and @kvm_refs as they were: nobody uses the
 * module, no KVM and no pin is left.
 */
#define KIOMMU_EXPECT_NOTHING_LEFT() do {				\
	EXPECT_EQ(0, kiommu_module_refs());				\
	EXPECT_EQ(self->kvm_refs, kiommu_kvm_refs());			\
	EXPECT_EQ(self->pins, kiommu_pins());				\
} while (0)

/*
 * Tries to unload kvm_iommu.ko, without waiting: 0 or -errno. And loads it again,
 * with the parameters that it had when the first was called.
 */
int kiommu_module_unload(void);
void kiommu_module_load(void);

/* Sets a parameter of kvm_iommu.ko. Containers look at theirs when made. */
void kiommu_set_param(const char *name, const char *value);

/* Of kvm_iommu_info. */
uint64_t kiommu_mapped_pages(int fd);
uint64_t kiommu_pinned_pages(int fd);
uint64_t kiommu_idle_pages(int fd);

/* What a device can do at @iova: kvm_iommu_translate.shadow_rights. */
uint32_t kiommu_shadow_rights(int fd, uint64_t iova);

#endif
