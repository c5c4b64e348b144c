// SPDX-License-Identifier: GPL-2.0-only
/*
 * A shrinker that has idle pins unpinned under memory pressure.
 *
 * Reclaim runs under any lock whose holder allocates, including mmap_lock and
 * folio locks. Unpinning may lock folios, and uncharging takes mmap_lock, so
 * nothing is unpinned here: the scan asks the guests' work to do it.
 *
 * What was asked for is not free yet, and may not be for long, so the scan
 * returns 0, as for objects that were scanned but not freed. They count as
 * scanned, so that reclaim goes on with other caches and does not carry these
 * pages over to its next round. They are no longer counted as idle, so that
 * they are not asked for again. If nothing can be asked for, the scan returns
 * SHRINK_STOP.
 */
#include <linux/shrinker.h>

#include "guest/guest.h"

static struct shrinker *kiommu_shrinker;

static unsigned long count_idle(struct shrinker *shrinker,
				struct shrink_control *sc)
{
	return kiommu_guests_idle() ?: SHRINK_EMPTY;
}

static unsigned long scan_idle(struct shrinker *shrinker,
			       struct shrink_control *sc)
{
	unsigned long asked = kiommu_guests_shrink(sc->nr_to_scan);

	if (!asked)
		return SHRINK_STOP;
	sc->nr_scanned = asked;
	return 0;
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
