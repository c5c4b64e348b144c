/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What can be observed from outside: pins of the whole machine, users and
 * parameters of the module, counters of a domain.
 */
#ifndef KIOMMU_SELFTEST_COUNTERS_H
#define KIOMMU_SELFTEST_COUNTERS_H

#include <stdint.h>

/*
 * Pins that any process holds now; a page may be pinned several times. The
 * kernel counts what it pins and what it unpins (nr_foll_pin_* in
 * /proc/vmstat), so a leak shows even after its process has gone.
 */
uint64_t kiommu_pins(void);
/*
 * Pins made since the machine was started, except those that the library needed
 * for DMA.
 */
uint64_t kiommu_pins_made(void);

/*
 * References to kvm_iommu.ko: one for each container of its type. Modules that
 * use it are not counted.
 */
long kiommu_module_refs(void);

/*
 * Waits for up to a minute until there are at most @most references. The thread
 * that creates a guest holds one until it exits, which may be after the call
 * that wanted the guest has returned; killed processes may still be exiting,
 * too. Return: kiommu_module_refs().
 */
long kiommu_await_refs(long most);

/*
 * References to the modules that guests come from, KVM's or kiommu_memory.ko:
 * those of guests, of their files, and of modules that keep one of their
 * symbols.
 */
long kiommu_kvm_refs(void);

/*
 * For a test whose @self has the initial values @pins and @kvm_refs: the module
 * has no user, and no reference to a KVM and no pin is left.
 */
#define KIOMMU_EXPECT_NOTHING_LEFT() do {				\
	EXPECT_EQ(0, kiommu_module_refs());				\
	EXPECT_EQ(self->kvm_refs, kiommu_kvm_refs());			\
	EXPECT_EQ(self->pins, kiommu_pins());				\
} while (0)

/*
 * The first tries to unload kvm_iommu.ko, without waiting, and returns 0 or
 * -errno. The second loads it again, with the parameters of that time.
 */
int kiommu_module_unload(void);
void kiommu_module_load(void);
/* Return: 0, or -errno. */
int kiommu_module_try_load(void);

/* Sets a parameter of kvm_iommu.ko. A container reads it when it is created. */
void kiommu_set_param(const char *name, const char *value);

/* Fields of kvm_iommu_info. */
uint64_t kiommu_mapped_pages(int fd);
uint64_t kiommu_pinned_pages(int fd);
uint64_t kiommu_idle_pages(int fd);

/* What a device can do at @iova: kvm_iommu_translate.shadow_rights. */
uint32_t kiommu_shadow_rights(int fd, uint64_t iova);

#endif
