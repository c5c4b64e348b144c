// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory pressure takes idle pins back.
 *
 * Reclaim runs below any lock whose holder allocates, mmap_lock and folio
 * locks included. Unpinning may lock folios, uncharging locks mmap_lock: so
 * nothing is unpinned here. The scan asks the guests' work to do it, and counts
 * what it asked for as freed; the next count sees what is left.
 */
#include <linux/shrinker.h>

#include "guest.h"

static struct shrinker *kiommu_shrinker;

static unsigned long count_idle(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	return kiommu_guests_idle() ?: SHRINK_EMPTY;
}

static unsigned long scan_idle(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	return kiommu_guests_shrink(sc->nr_to_scan) ?: SHRINK_STOP;
}

int kiommu_shrinker_init(void)
{
	kiommu_shrinker = shrinker_alloc(0, "kvm_iommu");
	if (!kiommu_shrinker)
		return -ENOMEM;
	kiommu_shrinker->count_objects = count_idle;
	kiommu_shrinker->scan_objects = scan_idle;
	shrinker_register(kiommu_shrinker);
	return 0;
}

void kiommu_shrinker_exit(void)
{
	shrinker_free(kiommu_shrinker);
}
