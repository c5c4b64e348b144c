// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole life of a KVM-owned IOMMU domain, shown by the DMA of a real PCI
 * device that guest code drives. Prints a table and checks each row.
 *
 *	demo [FILE]	writes the rows to FILE as JSON
 *
 * Without FILE they go to $KIOMMU_OUT/demo.json, if that is set. Exit status:
 * 0 if all rows are ok, else 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "demo.h"
#include "report.h"

static const struct scenario zpci = {
	.title = "zPCI format: the tables of an s390 guest, region-third on top",
	.prefix = "zPCI: ",
	.format = KVM_IOMMU_FORMAT_ZPCI,
	.levels = 3,
	.iova = 0x1000000,
};

static const struct scenario vtd = {
	.title = "VT-d second-stage format: tables anew, at another place",
	.prefix = "VT-d: ",
	.format = KVM_IOMMU_FORMAT_VTD_SS,
	.levels = 3,
	.iova = 0x4000000,
};

static const char *state_text(int state)
{
	static const char * const text[] = { "created", "started", "anchored" };

	return state >= 0 && state <= 2 ? text[state] : "?";
}

void check_state(struct kiommu *k, const char *step, enum kvm_iommu_state state)
{
	report_text(step, "KVM_IOMMU_GET_INFO", state_text(state),
		    state_text(kiommu_get_state(k->vfio.fd)));
}

void check_pins(struct kiommu *k, const char *step, uint64_t pages)
{
	struct kvm_iommu_info info;

	kiommu_get_info(k->vfio.fd, &info);
	report_number(step, "KVM_IOMMU_GET_INFO", pages, info.pinned_pages);
	report_number("... KiB charged to locked_vm of this process",
		      "/proc/self/status: VmLck", pages * 4,
		      (kiommu_locked_vm() - k->locked_vm) / 1024);
}

static int map_dma(struct kiommu *k)
{
	return kiommu_map_dma(k->vfio.fd, k->vm.area->mem, zpci.iova, KIOMMU_PAGE,
			      VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

static int refresh(struct kiommu *k)
{
	return kiommu_refresh(k->vfio.fd, zpci.iova, KIOMMU_PAGE, NULL);
}

static void select_domain(struct kiommu *k)
{
	int fd;

	report_section("A container whose IOMMU is owned by KVM", "");
	kiommu_attach(k, 0);
	fd = k->vfio.fd;
	report_number("VFIO knows the KVM-owned IOMMU type (11)",
		      "VFIO_CHECK_EXTENSION", 1,
		      kiommu_check_extension(fd, VFIO_KVM_IOMMU));
	report_result("select it for the container", "VFIO_SET_IOMMU", 0,
		      kiommu_set_iommu(fd, VFIO_KVM_IOMMU));
	check_state(k, "the domain is created, and has no KVM",
		    KVM_IOMMU_STATE_CREATED);
	report_result("map is rejected: no KVM", "VFIO_IOMMU_MAP_DMA", -ENODEV,
		      map_dma(k));
	report_result("refresh is rejected: no KVM", "KVM_IOMMU_REFRESH", -ENODEV,
		      refresh(k));
}

static void register_kvm(struct kiommu *k)
{
	report_section("KVM registers itself: no anchor yet", "");
	kiommu_add_groups(k);
	kiommu_open_devices(k);
	check_state(k, "KVM is told of the group, the device is opened",
		    KVM_IOMMU_STATE_STARTED);
	report_result("map is rejected: no anchor", "VFIO_IOMMU_MAP_DMA", -ENXIO,
		      map_dma(k));
	report_result("refresh is rejected: no anchor", "KVM_IOMMU_REFRESH", -ENXIO,
		      refresh(k));
	report_number("guest code finds the edu device behind its BAR",
		      "load by guest code", 1,
		      kiommu_guest_call(&k->vm, kiommu_dma_present, k->dma[0]));
}

static void stop_and_close(struct kiommu *k)
{
	report_section("The end", "end: ");
	report_result("KVM leaves, with the anchor still set", "KVM_IOMMU_STOP", 0,
		      kiommu_stop(k->vfio.fd));
	check_state(k, "the domain has no KVM", KVM_IOMMU_STATE_CREATED);
	check_pins(k, "all pins were returned", 0);
	report_result("KVM registers again, by its file descriptor",
		      "KVM_IOMMU_START", 0,
		      kiommu_start(k->vfio.fd, k->vm.vm->fd));
	check_state(k, "the domain is started", KVM_IOMMU_STATE_STARTED);
	kiommu_close_devices(k);
	check_state(k, "the last device is closed: KVM has left",
		    KVM_IOMMU_STATE_CREATED);
	report_result("map is rejected: no KVM", "VFIO_IOMMU_MAP_DMA", -ENODEV,
		      map_dma(k));
	kiommu_teardown(k);
	report_number("container closed: KiB of locked_vm above the start",
		      "/proc/self/status: VmLck", 0,
		      (kiommu_locked_vm() - k->locked_vm) / 1024);
	report_number("... KiB of pinned_vm", "/proc/self/status: VmPin", 0,
		      kiommu_pinned_vm() / 1024);
}

static int write_json(int argc, char **argv)
{
	const char *out = getenv("KIOMMU_OUT");
	char path[512];
	int ret;

	if (argc > 1)
		snprintf(path, sizeof(path), "%s", argv[1]);
	else if (out)
		snprintf(path, sizeof(path), "%s/demo.json", out);
	else
		return 0;
	ret = report_write(path);
	if (ret)
		fprintf(stderr, "demo: %s: %s\n", path, strerror(-ret));
	return ret;
}

int main(int argc, char **argv)
{
	struct kiommu k;

	select_domain(&k);
	if (!report_failures()) {
		register_kvm(&k);
		scenario_tables(&k, &zpci);
		scenario_tables(&k, &vtd);
		scenario_identity(&k);
		scenario_domains(&k);
		stop_and_close(&k);
	}
	printf("\n%u of %u rows ok\n", report_rows() - report_failures(),
	       report_rows());
	return write_json(argc, argv) || report_failures();
}
