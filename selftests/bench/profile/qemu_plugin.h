/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The part of QEMU's interface for plugins, version 1, that is used here: see
 * its documentation, "QEMU TCG Plugins". QEMU has the functions.
 */
#ifndef KIOMMU_QEMU_PLUGIN_H
#define KIOMMU_QEMU_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t plugin_id;

struct qemu_info;

/* A block of instructions that is being translated; valid in that call only. */
struct qemu_plugin_tb;

enum plugin_cb_flags {
	PLUGIN_CB_NO_REGS,
};

typedef void (*tb_translated_fn)(plugin_id id, struct qemu_plugin_tb *tb);
typedef void (*tb_executed_fn)(unsigned int vcpu, void *data);
typedef void (*exit_fn)(plugin_id id, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_translated_fn fn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  tb_executed_fn fn,
					  enum plugin_cb_flags flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, exit_fn fn, void *data);

/* The address of the first instruction. */
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
/* The number of instructions. */
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

/* The symbols that QEMU looks up in a plugin. */
#define PLUGIN_EXPORT __attribute__((visibility("default")))

extern PLUGIN_EXPORT int qemu_plugin_version;
PLUGIN_EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info,
				      int argc, char **argv);

#endif
