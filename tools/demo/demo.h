/* SPDX-License-Identifier: GPL-2.0-only */
/* The parts of the demo. */
#ifndef KIOMMU_DEMO_H
#define KIOMMU_DEMO_H

#include "kiommu_util.h"

/* One table format's part of the demo. */
struct scenario {
	const char *title;
	const char *prefix;	/* of its rows in the JSON file */
	uint32_t format;	/* enum kvm_iommu_format */
	uint32_t levels;	/* of the guest's tables */
	uint64_t iova;		/* first IOVA used, a multiple of 2M */
};

/* Begin and end in state started: set an anchor, do DMA, unset the anchor. */
void scenario_tables(struct kiommu *k, const struct scenario *scenario);
void scenario_identity(struct kiommu *k);
/*
 * Begins in state started, with two devices; the second is in no container of
 * @k afterwards.
 */
void scenario_domains(struct kiommu *k);

/* Report rows on what the domain and the kernel hold now. */
void check_state(struct kiommu *k, const char *step, enum kvm_iommu_state state);
void check_pins(struct kiommu *k, const char *step, uint64_t pages);

#endif
