# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel's own tests of iommufd, as Debian's source has them, on the debug kernel:
# with its iommufd as it is (plain), with the patched one (patched), and with our
# module, too, which registers itself there (provider). Each test must have the same
# result. Included by the top-level Makefile.

iommufd-runs := plain patched provider
iommufd-programs := iommufd iommufd_fail_nth
# Besides what is mapped, some tests want 128M in huge pages, and map them twice.
iommufd-huge-pages := 160

# The patched iommufd for the debug kernel, and the module for that.
debug_hwpt_modules := build/debug/hwpt-modules
debug_hwpt_module := build/debug/hwpt-module
.PHONY: debug-hwpt-modules debug-hwpt-module iommufd-programs
debug-hwpt-modules: debug-kernel
	@tools/setup/build-modules debug-hwpt $(debug_hwpt_modules) $(JOBS)

debug-hwpt-module: debug-hwpt-modules
	@echo "building the module for the debug kernel with providers of HWPTs"
	@$(call for-kernel,$(debug_hwpt_modules),$(debug_hwpt_module))
	@selftests/check/build-module --modules $(debug_hwpt_modules) \
		$(debug_kernel)/headers $(debug_hwpt_module) $(JOBS)

iommufd-programs: build/setup.env
	@echo "building the kernel's tests of iommufd"
	@mkdir -p build/iommufd-tests
	@env -u MAKEFLAGS -u MFLAGS make -j $(JOBS) -C selftests/iommufd KHDR=$(KHDR) \
		O=$(CURDIR)/build/iommufd-tests >build/iommufd-tests/build.log 2>&1 || \
		{ cat build/iommufd-tests/build.log; exit 1; }

# The module registers itself when it is loaded, or is not loaded. The host is
# virtio-iommu, because the IOMMU core takes mock devices for those of Intel's and AMD's
# drivers where these are at work (iommu_ops_from_fwnode(NULL)).
suite-iommufd-plain: iommufd-with := --no-module
suite-iommufd-patched: iommufd-with := --no-module --modules $(debug_hwpt_modules)
suite-iommufd-provider: iommufd-with := --modules $(debug_hwpt_modules) \
	--module $(debug_hwpt_module)/kvm-iommu/kvm_iommu.ko
.PHONY: $(iommufd-runs:%=suite-iommufd-%)
$(iommufd-runs:%=suite-iommufd-%): suite-iommufd-%: debug-hwpt-module iommufd-programs
	@$(call run-vm,iommufd-$*,$(iommufd-programs:%=build/iommufd-tests/bin/%),\
		--host virtio-iommu --debug $(debug_kernel) \
		--append hugepages=$(iommufd-huge-pages) $(iommufd-with))
