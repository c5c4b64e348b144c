// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU's software emulation that tells which instructions a machine
 * executes while it does something that is measured. It counts nothing until
 * the instruction at `begin` is executed for the (skip + 1)th time, and stops
 * when that at `end` is; these are addresses of functions of a static program.
 * A block of instructions that is left early, by an exception, counts as a
 * whole.
 *
 *   -plugin profile.so,out=FILE,begin=ADDRESS,end=ADDRESS,skip=N
 *
 * Lines of FILE, which selftests/report/sync_profile.py reads: "begun N", how
 * often the instruction at `begin` was executed while counting; then, for each
 * block that was executed, its address, its number of instructions, and how
 * often.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

int qemu_plugin_version = 1;

/* A block as it was translated, identified by address and length. */
struct block {
	struct block *next;
	uint64_t address;
	uint64_t instructions;
	uint64_t count;
};

#define BUCKETS (1u << 16)

static struct block *buckets[BUCKETS];
static const char *out;
static uint64_t begin, end, skip;
static uint64_t begun;
static bool counts, over;

static struct block *find_block(uint64_t address, uint64_t instructions)
{
	struct block **link = &buckets[(address ^ address >> 16) % BUCKETS];

	for (; *link; link = &(*link)->next)
		if ((*link)->address == address &&
		    (*link)->instructions == instructions)
			return *link;
	*link = calloc(1, sizeof(**link));
	if (!*link)
		abort();
	(*link)->address = address;
	(*link)->instructions = instructions;
	return *link;
}

static void executed(unsigned int vcpu, void *data)
{
	struct block *block = data;

	(void)vcpu;
	if (block->address == begin && !over) {
		counts = !skip;
		if (skip)
			skip--;
		else
			begun++;
	} else if (block->address == end && counts) {
		counts = false;
		over = true;
	}
	block->count += counts;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, PLUGIN_CB_NO_REGS,
					     find_block(qemu_plugin_tb_vaddr(tb),
							qemu_plugin_tb_n_insns(tb)));
}

static void write_block(FILE *file, const struct block *b)
{
	fprintf(file, "%llx %llu %llu\n", (unsigned long long)b->address,
		(unsigned long long)b->instructions, (unsigned long long)b->count);
}

static void write_out(plugin_id id, void *data)
{
	FILE *file = fopen(out, "w");

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	fprintf(file, "begun %llu\n", (unsigned long long)begun);
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (const struct block *b = buckets[i]; b; b = b->next)
			if (b->count)
				write_block(file, b);
	fclose(file);
}

int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc,
			char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		const char *value = strchr(argv[i], '=');

		if (!value)
			return -1;
		value++;
		if (!strncmp(argv[i], "out=", 4))
			out = value;
		else if (!strncmp(argv[i], "begin=", 6))
			begin = strtoull(value, NULL, 16);
		else if (!strncmp(argv[i], "end=", 4))
			end = strtoull(value, NULL, 16);
		else if (!strncmp(argv[i], "skip=", 5))
			skip = strtoull(value, NULL, 10);
		else
			return -1;
	}
	if (!out || !begin || !end)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, write_out, NULL);
	return 0;
}
