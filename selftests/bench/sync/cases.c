// SPDX-License-Identifier: GPL-2.0-only
/* Patterns and drivers. */
#include "kvm_util.h"

#include "sync.h"

/*
 * A NIC's driver keeps some packets of one page each mapped; each new one
 * replaces the oldest. An NVMe driver maps requests of 128K or 1M. A strict
 * driver tells the host of each unmap at once; a lazy one collects unmaps
 * before it does, and does not use their IOVAs again until then.
 */
const struct sync_pattern sync_patterns[] = {
	{ .name = "nic", .driver = "strict", .burst = 1, .depth = 64, .collect = 1 },
	{ .name = "nic", .driver = "lazy", .burst = 1, .depth = 64, .collect = 64 },
	{ .name = "nvme", .driver = "strict", .burst = 32, .collect = 1 },
	{ .name = "nvme", .driver = "lazy", .burst = 32, .collect = 16 },
	{ .name = "big", .driver = "strict", .burst = 256, .collect = 1 },
	{ .name = "big", .driver = "lazy", .burst = 256, .collect = 4 },
};

const unsigned int sync_pattern_count = ARRAY_SIZE(sync_patterns);

static struct sync_sample run_round(struct sync *s)
{
	struct sync_guest *g = s->guest;
	struct sync_exits before = sync_exits(s), after;
	uint64_t pages = g->requests * g->pattern.burst;

	sync_run(s, sync_guest_round);
	after = sync_exits(s);
	TEST_ASSERT(g->frames == pages, "%s: %lu frames, not %lu", s->way->name,
		    g->frames, pages);
	return (struct sync_sample){
		.instructions = (double)g->instructions / pages,
		.to_user = (double)(after.to_user - before.to_user) / g->requests,
		/* The last exit is the one that ends the call. */
		.exits = (double)(after.all - before.all - 1) / g->requests,
	};
}

static void run_case(struct sync *s, const struct sync_pattern *p)
{
	struct sync_sample samples[SYNC_ROUNDS];

	s->guest->pattern = *p;
	s->guest->requests = SYNC_PAGES / p->burst;
	for (unsigned int i = 0; i < SYNC_WARMUP + SYNC_ROUNDS; i++) {
		struct sync_sample sample = run_round(s);

		if (!s->way->alone)
			sync_expect_mapped(s, p->depth * p->burst);
		if (i >= SYNC_WARMUP)
			samples[i - SYNC_WARMUP] = sample;
	}
	sync_run(s, sync_guest_drain);
	sync_expect_mapped(s, 0);
	if (!s->way->alone)
		sync_check_dma(s);
	sync_report_case(p, s->way->name, samples);
}

void sync_run_cases(struct sync *s)
{
	for (unsigned int i = 0; i < sync_pattern_count; i++)
		run_case(s, &sync_patterns[i]);
}
