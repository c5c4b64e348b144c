// SPDX-License-Identifier: GPL-2.0-only
/* Lines for a program to read, with the median of the rounds. */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static FILE *out;

void bench_report_open(const char *path)
{
	out = fopen(path, "w");
	TEST_ASSERT(out, "%s cannot be written", path);
	setlinebuf(out);
}

void bench_sample(uint64_t *samples, unsigned int index, uint64_t value)
{
	if (index >= BENCH_WARMUP)
		samples[index - BENCH_WARMUP] = value;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *samples)
{
	qsort(samples, BENCH_ROUNDS, sizeof(*samples), compare);
	return samples[BENCH_ROUNDS / 2];
}

static void put(const char *line)
{
	fprintf(out, "%s\n", line);
	printf("%s\n", line);
	fflush(stdout);
}

void bench_report(const struct bench_case *c, const char *who, const char *way,
		  struct bench_samples *s)
{
	static const char *const ops[] = {
		"pair", "teardown", "unchanged", "changed",
	};
	const char *unit = c->level ? "2M leaf" : "page";
	double units = c->count;
	char line[256];

	if (c->op == BENCH_TEARDOWN) {
		unit = "call";
		units = 1;
	} else if (c->op == BENCH_CHANGED) {
		unit = "changed page";
		units = bench_changed(c).count;
	}
	snprintf(line, sizeof(line), "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f", c->name,
		 ops[c->op], unit, who, way, median(s->map) / units,
		 median(s->unmap) / units);
	put(line);
}

void bench_report_memory(const char *name, const char *who, double bytes)
{
	char line[256];

	snprintf(line, sizeof(line), "memory\t%s\t%s\t%.3f", name, who, bytes);
	put(line);
}
