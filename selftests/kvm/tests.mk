# SPDX-License-Identifier: GPL-2.0-only
#
# Tests that are for one machine alone (patterns), and why. All others are for
# each.

# Knows the tables and the registers of x86's IOMMUs.
tests-x86 := tables_test
# Virtio functions behind zPCI, KVM's hook; the guest memory of kiommu_memory.ko.
tests-s390x := zpci_% provider_test
