/* SPDX-License-Identifier: GPL-2.0-only */
/* The registered providers of guest memory, see memory_provider.h. */
#ifndef KIOMMU_PROVIDERS_H
#define KIOMMU_PROVIDERS_H

#include "guest/memory_provider.h"

struct file;

/* A memory and its provider, whose module is referenced. */
struct kiommu_found {
	const struct kiommu_memory_provider *provider;
	struct kiommu_memory *memory;
};

/*
 * Finds the memory that @key names. Context: may sleep; as for the provider's get().
 * Return: 0; -ENOENT if it is no provider's; -ENODEV if it is going away; -ENOMEM.
 */
int kiommu_providers_find(const void *key, struct kiommu_found *found);

/* The opposite. Context: may sleep; no lock of lock.h is held. */
void kiommu_providers_put(struct kiommu_found found);

/* Returns the key of the guest that the file belongs to, or NULL. May sleep. */
const void *kiommu_providers_key(struct file *file);

#endif /* KIOMMU_PROVIDERS_H */
