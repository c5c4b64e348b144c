// SPDX-License-Identifier: GPL-2.0-only
/* Lines for a program to read, with the median of the rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvm_util.h"

#include "sync.h"

static FILE *out;

void sync_report_open(const char *path)
{
	out = fopen(path, "w");
	TEST_ASSERT(out, "%s cannot be written", path);
	setlinebuf(out);
}

static int compare(const void *a, const void *b)
{
	double x = ((const struct sync_sample *)a)->instructions;
	double y = ((const struct sync_sample *)b)->instructions;

	return x < y ? -1 : x > y;
}

static struct sync_sample median(struct sync_sample *samples)
{
	qsort(samples, SYNC_ROUNDS, sizeof(*samples), compare);
	return samples[SYNC_ROUNDS / 2];
}

static void put(const char *line)
{
	fprintf(out, "%s\n", line);
	printf("%s\n", line);
	fflush(stdout);
}

void sync_report_case(const struct sync_pattern *p, const char *way,
		      struct sync_sample *samples)
{
	struct sync_sample s = median(samples);
	char line[256];

	snprintf(line, sizeof(line), "case\t%s\t%s\t%s\t%lu\t%.2f\t%.3f\t%.3f",
		 p->name, p->driver, way, p->burst, s.instructions, s.to_user,
		 s.exits);
	put(line);
}

void sync_report_part(const char *way, const char *name, uint64_t instructions)
{
	char line[256];

	snprintf(line, sizeof(line), "part\t%s\t%s\t%lu", way, name,
		 instructions);
	put(line);
}

void sync_report_missing(const char *way, int error)
{
	char line[256];

	snprintf(line, sizeof(line), "missing\t%s\t%s", way, strerror(error));
	put(line);
}
