// SPDX-License-Identifier: GPL-2.0-only
/*
 * Driver of QEMU's e1000 in loopback (Intel 8254x software developer's manual),
 * see nic.h; runs in the test and in the guest.
 *
 * Each frame uses both rings from their first descriptor on, so a lost frame
 * leaves nothing behind. Descriptors are of the legacy form.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <linux/compiler.h>

#include "kvm_util.h"

#include "nic.h"

#define REG_CTRL 0x0000
#define CTRL_FULL_DUPLEX (1u << 0)
#define CTRL_LINK_UP (1u << 6)
#define REG_STATUS 0x0008
#define STATUS_LINK_UP (1u << 1)
#define REG_MDIC 0x0020
#define MDIC_PHY (1u << 21)
#define MDIC_WRITE (1u << 26)
#define MDIC_READY (1u << 28)
#define MDIC_ERROR (1u << 30)
#define REG_IMC 0x00d8
#define REG_RCTL 0x0100
#define RCTL_ENABLE (1u << 1)
#define RCTL_ALL_FRAMES ((1u << 3) | (1u << 4) | (1u << 15))
#define RCTL_LONG_FRAMES (1u << 5)
#define RCTL_BUFFERS_4K ((3u << 16) | (1u << 25))
#define RCTL_STRIP_CRC (1u << 26)
#define REG_TCTL 0x0400
#define TCTL_ENABLE (1u << 1)
/*
 * Registers of each ring: base, bytes, the device's first entry, first beyond.
 */
#define REG_RX 0x2800
#define REG_TX 0x3800
#define RING_BASE_LOW 0x00
#define RING_BASE_HIGH 0x04
#define RING_BYTES 0x08
#define RING_HEAD 0x10
#define RING_TAIL 0x18

/* Register 0 of the PHY: loopback, 1000 Mbit/s, full duplex. */
#define PHY_LOOPBACK 0x4140u

/*
 * The device receives frames only a second of machine time after RCTL_ENABLE.
 */
#define SETTLE_US 1200000

/* The smallest ring. */
#define RING_ENTRIES 8

struct descriptor {
	uint64_t addr;
	uint16_t length;
	uint8_t checksum_offset;
	uint8_t command;
	uint8_t status;
	uint8_t checksum_start;
	uint16_t special;
};

#define TX_END_OF_FRAME (1u << 0)
#define TX_INSERT_CRC (1u << 1)
#define TX_REPORT (1u << 3)
#define DESCRIPTOR_DONE (1u << 0)

struct received {
	uint64_t addr;
	uint16_t length;
	uint16_t checksum;
	uint8_t status;
	uint8_t errors;
	uint16_t special;
};

static_assert(sizeof(struct descriptor) == 16, "descriptor that is sent");
static_assert(sizeof(struct received) == 16, "descriptor that is received");

/* What the device finds at nic->iova. */
struct own_memory {
	struct received rx[RING_ENTRIES];
	struct descriptor tx[RING_ENTRIES];
	uint8_t unused[KIOMMU_PAGE -
		       RING_ENTRIES * (sizeof(struct received) +
				       sizeof(struct descriptor))];
	uint8_t frame[2][KIOMMU_PAGE];
};

static_assert(sizeof(struct own_memory) == KIOMMU_NIC_SIZE, "KIOMMU_NIC_SIZE");

struct kiommu_nic {
	char *bar;
	uint64_t iova;
	uint64_t gpa;
	struct own_memory *own;
};

static uint32_t read32(const struct kiommu_nic *nic, uint32_t reg)
{
	return le32toh(READ_ONCE(*(uint32_t *)(nic->bar + reg)));
}

static void write32(const struct kiommu_nic *nic, uint32_t reg, uint32_t value)
{
	WRITE_ONCE(*(uint32_t *)(nic->bar + reg), htole32(value));
}

const char *kiommu_nic_lacks(void)
{
	const char *nic = getenv("KIOMMU_NIC");

	return nic && *nic ? NULL : "the machine has no NIC";
}

static void choose_devices(const char *others)
{
	char list[256];

	snprintf(list, sizeof(list), "%s %s", getenv("KIOMMU_NIC"), others);
	TEST_ASSERT(!setenv("KIOMMU_DEVICES", list, 1), "setenv");
}

void kiommu_nic_first(void)
{
	choose_devices(getenv("KIOMMU_DEVICES"));
}

void kiommu_nic_alone(void)
{
	choose_devices("");
}

static void set_ring(const struct kiommu_nic *nic, uint32_t ring, uint64_t iova)
{
	write32(nic, ring + RING_BASE_LOW, iova);
	write32(nic, ring + RING_BASE_HIGH, iova >> 32);
	write32(nic, ring + RING_BYTES,
		RING_ENTRIES * sizeof(struct descriptor));
	write32(nic, ring + RING_HEAD, 0);
	write32(nic, ring + RING_TAIL, 0);
}

static void start(const struct kiommu_nic *nic)
{
	write32(nic, REG_IMC, ~0u);
	write32(nic, REG_TCTL, 0);
	write32(nic, REG_RCTL, 0);
	set_ring(nic, REG_RX, nic->iova + offsetof(struct own_memory, rx));
	set_ring(nic, REG_TX, nic->iova + offsetof(struct own_memory, tx));
	write32(nic, REG_CTRL, CTRL_FULL_DUPLEX | CTRL_LINK_UP);
	write32(nic, REG_MDIC, MDIC_WRITE | MDIC_PHY | PHY_LOOPBACK);
	write32(nic, REG_TCTL, TCTL_ENABLE);
	write32(nic, REG_RCTL, RCTL_ENABLE | RCTL_ALL_FRAMES | RCTL_LONG_FRAMES |
		RCTL_BUFFERS_4K | RCTL_STRIP_CRC);
}

struct kiommu_nic *kiommu_nic_open(struct kiommu_device *dev,
				   struct kiommu_vm *vm, uint64_t iova)
{
	struct kiommu_nic *nic = kiommu_alloc(vm->area, sizeof(*nic), 64);
	uint32_t mdic;

	nic->own = kiommu_alloc(vm->area, sizeof(*nic->own), KIOMMU_PAGE);
	nic->gpa = kiommu_gpa(vm->area, nic->own);
	nic->iova = iova;
	nic->bar = dev->bar;
	TEST_ASSERT(nic->bar, "%s: BAR 0 is not mapped", dev->bdf);
	start(nic);
	mdic = read32(nic, REG_MDIC);
	TEST_ASSERT((mdic & MDIC_READY) && !(mdic & MDIC_ERROR),
		    "%s: no loopback: %x", dev->bdf, mdic);
	TEST_ASSERT(read32(nic, REG_STATUS) & STATUS_LINK_UP, "%s: no link",
		    dev->bdf);
	usleep(SETTLE_US);
	return nic;
}

void kiommu_nic_map(struct kiommu_nic *nic, struct ioat *t)
{
	ioat_map_pages(t, nic->iova, nic->gpa, KIOMMU_NIC_SIZE / KIOMMU_PAGE,
		       IOAT_RW);
}

uint64_t kiommu_nic_send(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes)
{
	struct received *rx = &nic->own->rx[0];
	struct descriptor *tx = &nic->own->tx[0];

	*rx = (struct received){ .addr = htole64(dst) };
	*tx = (struct descriptor){
		.addr = htole64(src),
		.length = htole16(bytes),
		.command = TX_END_OF_FRAME | TX_INSERT_CRC | TX_REPORT,
	};
	barrier();
	write32(nic, REG_RX + RING_HEAD, 0);
	write32(nic, REG_RX + RING_TAIL, 1);
	write32(nic, REG_TX + RING_HEAD, 0);
	write32(nic, REG_TX + RING_TAIL, 1);
	barrier();
	return READ_ONCE(rx->status) & READ_ONCE(tx->status) & DESCRIPTOR_DONE;
}

static uint64_t own_frame(const struct kiommu_nic *nic, unsigned int i)
{
	return nic->iova + offsetof(struct own_memory, frame) + i * KIOMMU_PAGE;
}

static uint8_t frame_byte(const struct kiommu_nic *nic, unsigned int frame,
			  uint64_t i)
{
	return READ_ONCE(nic->own->frame[frame][i]);
}

uint64_t kiommu_nic_copy(struct kiommu_nic *nic, uint64_t dst, uint64_t src,
			 uint64_t bytes)
{
	uint8_t any = 0;

	if (!kiommu_nic_send(nic, own_frame(nic, 0), src, bytes))
		return 0;
	for (uint64_t i = 0; i < bytes; i++)
		any |= frame_byte(nic, 0, i);
	if (!any || !kiommu_nic_send(nic, dst, own_frame(nic, 0), bytes) ||
	    !kiommu_nic_send(nic, own_frame(nic, 1), dst, bytes))
		return 0;
	for (uint64_t i = 0; i < bytes; i++)
		if (frame_byte(nic, 0, i) != frame_byte(nic, 1, i))
			return 0;
	return 1;
}
