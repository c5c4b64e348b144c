# SPDX-License-Identifier: GPL-2.0-only
#
# Tests for one machine only (patterns), and why. All others run on each.

# They need an e1000, KVM's doorbell or write tracking, tables and registers
# of x86's IOMMUs, or modules of tools/setup/build-modules.
tests-x86 := hwpt_% moves_test nic_test ring_% tables_test tracked_%
# They need virtio functions behind zPCI, KVM's hook, or the guest memory of
# kiommu_memory.ko.
tests-s390x := zpci_% provider_test
