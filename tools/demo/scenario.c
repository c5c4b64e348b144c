// SPDX-License-Identifier: GPL-2.0-only
/*
 * One table format's part of the demo: the guest writes tables, the domain
 * shadows them, the device moves bytes through them, and cannot reach any more
 * what the guest unmaps.
 *
 * Every copy is DMA by the device: it reads memory at one IOVA into its
 * buffer and writes the buffer to another. Guest code starts it. The device
 * is not told when the IOMMU blocks it, so a block shows by memory that has
 * not changed.
 */
#include "demo.h"
#include "report.h"

#define SCATTERED 4
#define CONTIGUOUS 16
/* Offsets of the pages from scenario->iova. */
#define AT_SCATTERED 0x000000ull
#define AT_CONTIGUOUS 0x100000ull
#define AT_FRAME 0x200000ull
#define AT_READ_ONLY 0x400000ull
#define RANGE 0x600000ull

/* Lies in guest memory: test and guest use it. */
struct pages {
	struct ioat *t;
	uint64_t iova;
	char *scattered[SCATTERED];	/* neither adjacent nor in order */
	char *contiguous;
	char *frame;			/* one large leaf */
	uint64_t frame_size;
	char *read_only;
};

static uint64_t count_mapped(const struct pages *p)
{
	return SCATTERED + CONTIGUOUS + p->frame_size / KIOMMU_PAGE + 1;
}

static struct pages *make_pages(struct kiommu_area *area,
				const struct scenario *scenario)
{
	struct pages *p = kiommu_alloc(area, sizeof(*p), 64);
	char *odd = kiommu_alloc(area, 2 * SCATTERED * KIOMMU_PAGE, KIOMMU_PAGE);

	p->t = ioat_new(area, scenario->format, scenario->levels);
	p->iova = scenario->iova;
	for (unsigned int i = 0; i < SCATTERED; i++)
		p->scattered[i] = odd + (2 * (SCATTERED - i) - 1) * KIOMMU_PAGE;
	p->contiguous = kiommu_alloc(area, CONTIGUOUS * KIOMMU_PAGE, KIOMMU_PAGE);
	p->frame_size = ioat_span(p->t, 1);
	p->frame = kiommu_alloc(area, p->frame_size, p->frame_size);
	p->read_only = kiommu_alloc_page(area);
	return p;
}

/* Guest: maps all pages in the tables. */
static uint64_t guest_map(struct pages *p)
{
	struct kiommu_area *area = p->t->area;

	for (unsigned int i = 0; i < SCATTERED; i++)
		ioat_map(p->t, p->iova + AT_SCATTERED + i * KIOMMU_PAGE,
			 kiommu_gpa(area, p->scattered[i]), 0, IOAT_RW);
	ioat_map_pages(p->t, p->iova + AT_CONTIGUOUS,
		       kiommu_gpa(area, p->contiguous), CONTIGUOUS, IOAT_RW);
	ioat_map(p->t, p->iova + AT_FRAME, kiommu_gpa(area, p->frame), 1, IOAT_RW);
	ioat_map(p->t, p->iova + AT_READ_ONLY, kiommu_gpa(area, p->read_only), 0,
		 IOAT_RW);
	ioat_protect(p->t, p->iova + AT_READ_ONLY, 0);
	return count_mapped(p);
}

/*
 * Guest and host: counts the bytes of the scattered pages that are as in @flat.
 */
static uint64_t count_scattered(const struct pages *p, const char *flat)
{
	uint64_t equal = 0;

	for (unsigned int i = 0; i < SCATTERED; i++)
		for (unsigned int at = 0; at < KIOMMU_PAGE; at++)
			equal += p->scattered[i][at] == flat[i * KIOMMU_PAGE + at];
	return equal;
}

static int device_copy(struct kiommu *k, uint64_t to, uint64_t from, uint64_t size)
{
	return kiommu_guest_call(&k->vm, kiommu_dma_copy, k->dma[0], to, from,
				 size);
}

static void refresh(struct kiommu *k, const struct pages *p, const char *step,
		    uint64_t mapped, uint64_t unmapped)
{
	struct kvm_iommu_refresh result;
	int ret = kiommu_refresh(k->vfio.fd, p->iova, RANGE, &result);

	report_result(step, "KVM_IOMMU_REFRESH", 0, ret);
	if (unmapped)
		report_number("... pages unmapped by it", "(same call)", unmapped,
			      result.unmapped);
	else
		report_number("... pages mapped by it", "(same call)", mapped,
			      result.mapped);
}

static void check_scattered_dma(struct kiommu *k, struct pages *p)
{
	uint64_t size = SCATTERED * KIOMMU_PAGE;
	uint64_t contiguous = p->iova + AT_CONTIGUOUS;
	char *copy = p->contiguous + size;

	kiommu_guest_call(&k->vm, kiommu_fill, p->contiguous, size, 1);
	report_result("device reads contiguous pages, writes scattered ones",
		      "edu DMA by guest code", 0,
		      device_copy(k, p->iova + AT_SCATTERED, contiguous, size));
	report_bytes("... guest finds the bytes in the scattered pages",
		     "compare in the guest", size,
		     kiommu_guest_call(&k->vm, count_scattered, p, p->contiguous));
	report_bytes("... and so does the host", "compare in the host", size,
		     count_scattered(p, p->contiguous));
	report_result("device reads scattered pages, writes contiguous ones",
		      "edu DMA by guest code", 0,
		      device_copy(k, contiguous + size, p->iova + AT_SCATTERED,
				  size));
	report_bytes("... guest finds the bytes in the contiguous pages",
		     "compare in the guest", size,
		     kiommu_guest_call(&k->vm, kiommu_count_equal, copy, size, 1));
	report_bytes("... and so does the host", "compare in the host", size,
		     kiommu_count_equal(copy, size, 1));
}

static void check_frame_dma(struct kiommu *k, struct pages *p)
{
	uint64_t last = p->frame_size - KIOMMU_PAGE;

	report_result("device writes the last page of the large frame",
		      "edu DMA by guest code", 0,
		      device_copy(k, p->iova + AT_FRAME + last,
				  p->iova + AT_CONTIGUOUS, KIOMMU_PAGE));
	report_bytes("... guest finds the bytes there", "compare in the guest",
		     KIOMMU_PAGE,
		     kiommu_guest_call(&k->vm, kiommu_count_equal,
				       p->frame + last, KIOMMU_PAGE, 1));
}

static void check_read_only(struct kiommu *k, struct pages *p)
{
	uint64_t page = p->iova + AT_READ_ONLY;
	uint64_t first = p->iova + AT_FRAME;

	kiommu_guest_call(&k->vm, kiommu_fill, p->read_only, KIOMMU_PAGE, 2);
	report_result("device reads a read-only page", "edu DMA by guest code", 0,
		      device_copy(k, first, page, KIOMMU_PAGE));
	report_bytes("... guest finds the bytes", "compare in the guest",
		     KIOMMU_PAGE,
		     kiommu_guest_call(&k->vm, kiommu_count_equal, p->frame,
				       KIOMMU_PAGE, 2));
	report_result("device tries to write the read-only page",
		      "edu DMA by guest code", 0,
		      device_copy(k, page, p->iova + AT_CONTIGUOUS, KIOMMU_PAGE));
	report_bytes("... refused: the page is unchanged", "compare in the guest",
		     KIOMMU_PAGE,
		     kiommu_guest_call(&k->vm, kiommu_count_equal, p->read_only,
				       KIOMMU_PAGE, 2));
}

static const char *rights_text(uint32_t rights)
{
	static const char * const text[] = { "none", "read", "write", "read+write" };

	return text[rights & IOAT_RW];
}

static void check_translate(struct kiommu *k, struct pages *p)
{
	uint64_t at = p->iova + AT_SCATTERED + 2 * KIOMMU_PAGE + 0x123;
	uint64_t gpa = kiommu_gpa(k->vm.area, p->scattered[2]) + 0x123;
	struct kvm_iommu_translate answer;
	char expected[32], got[32];

	report_result("translate an address in a scattered page",
		      "KVM_IOMMU_TRANSLATE", 0,
		      kiommu_translate(k->vfio.fd, at, &answer));
	snprintf(expected, sizeof(expected), "GPA %#llx", (unsigned long long)gpa);
	snprintf(got, sizeof(got), "GPA %#llx", (unsigned long long)answer.gpa);
	report_text("... guest physical address", "(same call)", expected, got);
	report_text("... what the device may do there", "(same call)",
		    rights_text(IOAT_RW), rights_text(answer.shadow_rights));
	kiommu_translate(k->vfio.fd, p->iova + AT_READ_ONLY, &answer);
	report_text("what the device may do in the read-only page",
		    "KVM_IOMMU_TRANSLATE", rights_text(KVM_IOMMU_READ),
		    rights_text(answer.shadow_rights));
}

/*
 * A transfer that works overwrites the device's buffer first; then the contents
 * of the scattered page must not come out of it. Single bytes may be equal.
 */
static void check_read_blocked(struct kiommu *k, struct pages *p, const char *step)
{
	uint64_t equal;

	kiommu_guest_call(&k->vm, kiommu_fill, p->scattered[0], KIOMMU_PAGE, 3);
	device_copy(k, p->iova + AT_FRAME, p->iova + AT_CONTIGUOUS, KIOMMU_PAGE);
	device_copy(k, p->iova + AT_FRAME, p->iova + AT_SCATTERED, KIOMMU_PAGE);
	equal = kiommu_guest_call(&k->vm, kiommu_count_equal, p->frame,
				  KIOMMU_PAGE, 3);
	report_text(step, "edu DMA by guest code", "not read",
		    equal < KIOMMU_PAGE / 8 ? "not read" : "read");
}

static void check_write_blocked(struct kiommu *k, struct pages *p, const char *step)
{
	kiommu_guest_call(&k->vm, kiommu_fill, p->scattered[0], KIOMMU_PAGE, 4);
	device_copy(k, p->iova + AT_SCATTERED, p->iova + AT_CONTIGUOUS,
		    KIOMMU_PAGE);
	report_bytes(step, "edu DMA by guest code", KIOMMU_PAGE,
		     kiommu_guest_call(&k->vm, kiommu_count_equal,
				       p->scattered[0], KIOMMU_PAGE, 4));
}

static void check_unmap(struct kiommu *k, struct pages *p)
{
	kiommu_guest_call(&k->vm, ioat_unmap_pages, p->t, p->iova + AT_SCATTERED,
			  SCATTERED);
	refresh(k, p, "guest unmaps the scattered pages; refresh", 0, SCATTERED);
	check_write_blocked(k, p, "same DMA write is blocked: bytes unchanged");
	check_read_blocked(k, p, "same DMA read is blocked: bytes not seen");
	device_copy(k, p->iova + AT_FRAME, p->iova + AT_CONTIGUOUS, KIOMMU_PAGE);
	report_bytes("the pages still mapped work as before",
		     "edu DMA by guest code", KIOMMU_PAGE,
		     kiommu_count_equal(p->frame, KIOMMU_PAGE, 1));
}

static void leave(struct kiommu *k, struct pages *p)
{
	int fd = k->vfio.fd;

	report_result("unset the anchor", "KVM_IOMMU_UNREGISTER_IOAT", 0,
		      kiommu_unregister(fd));
	check_write_blocked(k, p, "DMA write is blocked: bytes unchanged");
	report_result("map is rejected: no anchor", "KVM_IOMMU_REFRESH", -ENXIO,
		      kiommu_refresh(fd, p->iova, RANGE, NULL));
	check_pins(k, "all pins were returned", 0);
}

void scenario_tables(struct kiommu *k, const struct scenario *scenario)
{
	struct pages *p = make_pages(k->vm.area, scenario);

	report_section(scenario->title, scenario->prefix);
	report_result("set the anchor: head of the guest's tables",
		      "KVM_IOMMU_REGISTER_IOAT", 0,
		      kiommu_register_tables(k->vfio.fd, p->t));
	check_state(k, "the domain is anchored", KVM_IOMMU_STATE_ANCHORED);
	report_number("guest writes tables: scattered, contiguous, large frame",
		      "stores by guest code", count_mapped(p),
		      kiommu_guest_call(&k->vm, guest_map, p));
	refresh(k, p, "shadow them", count_mapped(p), 0);
	check_pins(k, "each mapped page is pinned and charged", count_mapped(p));
	check_scattered_dma(k, p);
	check_frame_dma(k, p);
	check_read_only(k, p);
	check_translate(k, p);
	check_unmap(k, p);
	leave(k, p);
}

/* IOVA = GPA + offset: what firmware uses before the guest has tables. */
void scenario_identity(struct kiommu *k)
{
	const uint64_t offset = 0x10000000ull;
	const uint64_t size = 2 * KIOMMU_PAGE;
	char *page = kiommu_alloc(k->vm.area, size, KIOMMU_PAGE);
	uint64_t iova = kiommu_gpa(k->vm.area, page) + offset;
	uint64_t unmapped = size;
	int fd = k->vfio.fd;

	report_section("Identity format: no tables, IOVA = GPA + offset",
		       "identity: ");
	report_result("set the anchor: an offset", "KVM_IOMMU_REGISTER_IOAT", 0,
		      kiommu_register_identity(fd, offset));
	report_result("map two pages by type1's own ioctl", "VFIO_IOMMU_MAP_DMA", 0,
		      kiommu_map_dma(fd, NULL, iova, size,
				     VFIO_DMA_MAP_FLAG_READ |
				     VFIO_DMA_MAP_FLAG_WRITE));
	kiommu_guest_call(&k->vm, kiommu_fill, page, KIOMMU_PAGE, 5);
	report_result("device reads one page, writes the other",
		      "edu DMA by guest code", 0,
		      device_copy(k, iova + KIOMMU_PAGE, iova, KIOMMU_PAGE));
	report_bytes("... guest finds the bytes", "compare in the guest",
		     KIOMMU_PAGE,
		     kiommu_guest_call(&k->vm, kiommu_count_equal,
				       page + KIOMMU_PAGE, KIOMMU_PAGE, 5));
	report_result("unmap them", "VFIO_IOMMU_UNMAP_DMA", 0,
		      kiommu_unmap_dma(fd, iova, &unmapped, 0));
	report_number("... bytes unmapped by it", "(same call)", size, unmapped);
}
