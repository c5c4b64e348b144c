# SPDX-License-Identifier: GPL-2.0-only
#
# Tests that are for one machine alone (patterns), and why. All others are for
# each.

# An e1000, the doorbell of a KVM, its write tracking; tables and registers of
# x86's IOMMUs.
tests-x86 := nic_test ring_% tables_test tracked_%
# Virtio functions behind zPCI, KVM's hook; the guest memory of kiommu_memory.ko.
tests-s390x := zpci_% provider_test
