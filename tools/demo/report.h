/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the demo did, row by row: printed as a table while it happens, and kept
 * for the JSON file.
 */
#ifndef KIOMMU_DEMO_REPORT_H
#define KIOMMU_DEMO_REPORT_H

#include <stdint.h>

/*
 * Begins a section of rows. @title: the line above them. @prefix: put before
 * their steps in the JSON file.
 */
void report_section(const char *title, const char *prefix);

/*
 * Report one row. @step: what happens, for a newcomer; @call: the ioctl or
 * whatever was called; both are string constants. @expected and @got are
 * compared as text, as numbers, or as errno.
 */
void report_text(const char *step, const char *call, const char *expected,
		 const char *got);
void report_number(const char *step, const char *call, uint64_t expected,
		   uint64_t got);
/* @expected, @got: 0 or a negative errno. */
void report_result(const char *step, const char *call, int expected, int got);
/* @equal: how many of @total bytes were equal; all of them should be. */
void report_bytes(const char *step, const char *call, uint64_t total,
		  uint64_t equal);

/* The number of rows so far that were not ok, and of all rows. */
unsigned int report_failures(void);
unsigned int report_rows(void);

/* Writes the rows as a JSON array. Return: 0 or -errno. */
int report_write(const char *path);

#endif
