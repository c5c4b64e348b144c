/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * User memory: a guest without a KVM, whose memory a client of type1 names by
 * mapping it (VFIO_IOMMU_MAP_DMA). A GPA of it is the IOVA of the mapping, so
 * each page that is mapped has a pin of its own, as with type1.
 *
 * The core sees slots that cover all GPAs and never change, of
 * KIOMMU_USER_SLOT_PAGES each. Which memory is behind a GPA is known while it is
 * being mapped, and that is when its pages are pinned. Afterwards the pins
 * stay, whatever the process does to its address space; pages of devices are
 * taken out of the hosts before they go, as everywhere.
 *
 * All mappings of one such guest are of one process.
 */
#ifndef KIOMMU_USER_MEMORY_H
#define KIOMMU_USER_MEMORY_H

#include <linux/types.h>

struct kiommu_guest;

/* The IOVAs from here on cannot be mapped: the shadow has no room for them. */
#define KIOMMU_USER_IOVA_END BIT_ULL(52)

/* A multiple of 512, so that pages of 2 MiB do not cross slots. */
#define KIOMMU_USER_SLOT_PAGES BIT_ULL(15)

/**
 * struct kiommu_user_mapping - a mapping as its client made it
 * @iova: first byte; all of these are multiples of 4096.
 * @size: bytes, not 0.
 * @vaddr: address in the client's process.
 * @rights: VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE.
 */
struct kiommu_user_mapping {
	u64 iova;
	u64 size;
	u64 vaddr;
	u32 rights;
};

/**
 * kiommu_user_memory_create() - make a guest of the current process's memory
 *
 * Context: as kiommu_guest_get().
 * Return: as kiommu_guest_get().
 */
struct kiommu_guest *kiommu_user_memory_create(void);

/* Whether a guest is one of these. Context: any. */
bool kiommu_is_user_memory(const struct kiommu_guest *guest);

/*
 * For each function below, @guest is user memory, and the caller holds its lock,
 * for writing where the mappings change.
 */

/* Number of mappings. */
unsigned int kiommu_user_mappings(const struct kiommu_guest *guest);

/**
 * kiommu_user_memory_find() - find the first mapping in a range
 *
 * Return: the mapping with the lowest IOVA that has a byte in [@first, @last],
 * or NULL.
 */
const struct kiommu_user_mapping *
kiommu_user_memory_find(const struct kiommu_guest *guest, u64 first, u64 last);

/**
 * kiommu_user_memory_begin() - add a mapping that is about to be made
 * @mapping: copied; overlaps with no other one.
 *
 * Until kiommu_user_memory_end(), pages that the core pins are those of this
 * mapping.
 *
 * Return: 0 or -ENOMEM.
 */
int kiommu_user_memory_begin(struct kiommu_guest *guest,
			     const struct kiommu_user_mapping *mapping);

/* It was made or, if !@made, is removed again. */
void kiommu_user_memory_end(struct kiommu_guest *guest, bool made);

/**
 * kiommu_user_memory_remove() - remove all mappings in a range
 *
 * They are not mapped any more, and none of them reaches out of [@first, @last]. Their
 * pins go, too.
 *
 * Return: bytes that they had.
 */
u64 kiommu_user_memory_remove(struct kiommu_guest *guest, u64 first, u64 last);

#endif /* KIOMMU_USER_MEMORY_H */
