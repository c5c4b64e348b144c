// SPDX-License-Identifier: GPL-2.0-only
/*
 * Domains with a file of their own: two devices in one, one of which moves to
 * another without being closed.
 */
#include <string.h>
#include <unistd.h>

#include "demo.h"
#include "domain.h"
#include "report.h"

#define IOVA 0x8000000ull
#define DST (IOVA + KIOMMU_PAGE)

struct domain {
	int fd;
	struct ioat *t;
	char *page;	/* at DST */
};

static const char create_step[] =
	"create a domain, the KVM registered; no device needed";

/* IOVA is the same page in each domain, DST a page of its own. */
static void make_domain(struct kiommu *k, struct domain *d, const char *step,
			uint64_t src)
{
	int fd = kiommu_domain_create(k->vm.fd);

	report_result(step, "KVM_IOMMU_DOMAIN_CREATE", 0, fd < 0 ? fd : 0);
	d->fd = fd;
	d->page = kiommu_alloc_page(k->vm.area);
	d->t = ioat_new(k->vm.area, KVM_IOMMU_FORMAT_VTD_SS, 3);
	ioat_map(d->t, IOVA, src, 0, KVM_IOMMU_READ);
	ioat_map(d->t, DST, kiommu_gpa(k->vm.area, d->page), 0, IOAT_RW);
	report_result("... anchor it in the guest's tables",
		      "KVM_IOMMU_REGISTER_IOAT", 0,
		      kiommu_register_tables(fd, d->t));
	report_result("... and shadow them", "KVM_IOMMU_REFRESH", 0,
		      kiommu_refresh(fd, IOVA, 2 * KIOMMU_PAGE, NULL));
}

/* The device copies IOVA to DST; the domains' pages show which one it uses. */
static void check_reaches(struct kiommu *k, unsigned int device,
			  const char *step, struct domain *in,
			  struct domain *other, char *src)
{
	static const char untouched[KIOMMU_PAGE];
	static uint8_t seed = 100;

	kiommu_fill(src, KIOMMU_PAGE, ++seed);
	memset(in->page, 0, KIOMMU_PAGE);
	memset(other->page, 0, KIOMMU_PAGE);
	kiommu_guest_call(&k->vm, kiommu_dma_copy, k->dma[device], DST, IOVA,
			  KIOMMU_PAGE);
	report_bytes(step, "edu DMA by guest code", KIOMMU_PAGE,
		     kiommu_count_equal(in->page, KIOMMU_PAGE, seed));
	report_text("... and nothing in the other domain", "compare",
		    "untouched", memcmp(other->page, untouched, KIOMMU_PAGE) ?
		    "written" : "untouched");
}

static void attach(struct domain *d, int container, const char *step)
{
	int ret = kiommu_domain_attach(d->fd, container, NULL);

	report_result(step, "KVM_IOMMU_ATTACH", 0, ret < 0 ? ret : 0);
}

void scenario_domains(struct kiommu *k)
{
	char *src = kiommu_alloc_page(k->vm.area);
	const uint64_t gpa = kiommu_gpa(k->vm.area, src);
	int container[2] = { k->vfio.fd };
	struct domain first, second;

	report_section("Domains with a file of their own: two devices, one moves",
		       "domains: ");
	container[1] = kiommu_move_device(k, 1);
	make_domain(k, &first, create_step, gpa);
	attach(&first, container[0], "attach a device, by its container");
	attach(&first, container[1], "attach another one");
	make_domain(k, &second, "create a second domain of the same KVM", gpa);
	check_reaches(k, 0, "the first device writes by the first domain", &first,
		      &second, src);
	check_reaches(k, 1, "so does the other one", &first, &second, src);
	attach(&second, container[1], "move that one to the second domain");
	check_reaches(k, 1, "it writes by the second domain at once", &second,
		      &first, src);
	check_reaches(k, 0, "the first device has stayed", &first, &second, src);
	report_number("a page in both domains is pinned once",
		      "KVM_IOMMU_GET_INFO", 3, kiommu_pinned_pages(first.fd));
	close(first.fd);
	close(second.fd);
	check_pins(k, "files closed: all pins were returned", 0);
	close(container[1]);
}
