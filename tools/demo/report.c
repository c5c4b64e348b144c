// SPDX-License-Identifier: GPL-2.0-only
/* The demo's table of rows and its JSON file. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define MAX_ROWS 128
#define VALUE 32

struct row {
	const char *prefix;
	const char *step;
	const char *call;
	char expected[VALUE];
	char got[VALUE];
	bool ok;
};

static struct row rows[MAX_ROWS];
static unsigned int row_count;
static const char *row_prefix = "";

void report_section(const char *title, const char *prefix)
{
	row_prefix = prefix;
	printf("\n%s\n%3s  %-58s %-30s %-16s %-16s %s\n", title, "#", "step",
	       "call", "expected", "got", "ok");
}

void report_text(const char *step, const char *call, const char *expected,
		 const char *got)
{
	struct row *row = &rows[row_count];

	if (row_count == MAX_ROWS) {
		fputs("demo: more rows than MAX_ROWS\n", stderr);
		exit(1);
	}
	row_count++;
	row->prefix = row_prefix;
	row->step = step;
	row->call = call;
	snprintf(row->expected, VALUE, "%s", expected);
	snprintf(row->got, VALUE, "%s", got);
	row->ok = !strcmp(row->expected, row->got);
	printf("%3u  %-58s %-30s %-16s %-16s %s\n", row_count, step, call,
	       row->expected, row->got, row->ok ? "ok" : "NOT OK");
	fflush(stdout);
}

void report_number(const char *step, const char *call, uint64_t expected,
		   uint64_t got)
{
	char expected_text[VALUE], got_text[VALUE];

	snprintf(expected_text, VALUE, "%llu", (unsigned long long)expected);
	snprintf(got_text, VALUE, "%llu", (unsigned long long)got);
	report_text(step, call, expected_text, got_text);
}

static const char *result_text(int result)
{
	const char *name = NULL;

	if (!result)
		return "success";
	if (result < 0)
		name = strerrorname_np(-result);
	return name ? name : "?";
}

void report_result(const char *step, const char *call, int expected, int got)
{
	report_text(step, call, result_text(expected), result_text(got));
}

void report_bytes(const char *step, const char *call, uint64_t total,
		  uint64_t equal)
{
	char expected_text[VALUE], got_text[VALUE];

	snprintf(expected_text, VALUE, "%llu bytes", (unsigned long long)total);
	snprintf(got_text, VALUE, "%llu bytes", (unsigned long long)equal);
	report_text(step, call, expected_text, got_text);
}

unsigned int report_failures(void)
{
	unsigned int failures = 0;

	for (unsigned int i = 0; i < row_count; i++)
		failures += !rows[i].ok;
	return failures;
}

unsigned int report_rows(void)
{
	return row_count;
}

static void write_text(FILE *file, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', file);
		fputc(*text, file);
	}
}

static void write_row(FILE *file, const struct row *row)
{
	fputs("  {\"step\": \"", file);
	write_text(file, row->prefix);
	write_text(file, row->step);
	fputs("\", \"call\": \"", file);
	write_text(file, row->call);
	fputs("\", \"expected\": \"", file);
	write_text(file, row->expected);
	fputs("\", \"got\": \"", file);
	write_text(file, row->got);
	fprintf(file, "\", \"ok\": %s}", row->ok ? "true" : "false");
}

int report_write(const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file)
		return -errno;
	fputs("[\n", file);
	for (unsigned int i = 0; i < row_count; i++) {
		write_row(file, &rows[i]);
		fputs(i + 1 < row_count ? ",\n" : "\n", file);
	}
	fputs("]\n", file);
	return fclose(file) ? -errno : 0;
}
