# SPDX-License-Identifier: GPL-2.0-only
#
# The user's door: `make help`. All that is built goes to build/, what is
# downloaded to the cache (see tools/setup/setup).

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
MAKEFLAGS += --no-print-directory
export PYTHONDONTWRITEBYTECODE := 1
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
HOSTS := intel-iommu intel-iommu-cm amd-iommu virtio-iommu
# What vm-test runs, where: words of HOSTS, patterns.
HOST ?= $(HOSTS)
TEST ?= *_test

# What set-up found; made by it, again when it has grown stale.
ifneq ($(filter-out help clean,$(MAKECMDGOALS)),)
include build/setup.env
endif
build/setup.env: FORCE
	@tools/setup/setup $@

##@ To use
.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
	@printf '\n%s\n' 'HOST is of $(HOSTS) (default: all)'

.PHONY: demo
demo: module demo-program ## the life of a domain in a VM: prints a table, leaves build/demo.json
	@rm -f build/demo.json
	@echo "demo: booting the virtual machine"
	@status=0; \
	selftests/vm/run --plain --name demo --host intel-iommu --timeout 240 \
		"build/kvm/bin/demo /tmp/out/demo.json" >build/demo.log || \
		status=$$?; \
	if [ -e build/vm/demo/demo.out ]; then cat build/vm/demo/demo.out; fi; \
	if [ $$status != 0 ]; then cat build/demo.log; fi; \
	cp build/vm/demo/files/demo.json build/demo.json && exit $$status

.PHONY: test
test: ## all tests: of the core in user space, of the module in VMs on each host IOMMU
	@$(call run-suites,unit-gcc unit-clang unit-s390x $(HOSTS))

.PHONY: check
check: module ## format, style, spelling, sparse, symbols, headers, scripts
	@selftests/check/check

##@ Figures
.PHONY: bench
bench: bench-vm bench-user ## what maps and refreshes cost, against rivals: a table, build/bench.json (10 minutes)
	@selftests/report/bench.py build/bench.json

.PHONY: plot
plot: build/setup.env ## docs/bench.svg and docs/bench-table.md, from build/bench.json
	@[ -e build/bench.json ] || { echo "plot: run make bench first"; exit 1; }
	@tools/setup/setup --extra python3-matplotlib
	@selftests/report/bench_plot.py build/bench.json docs

##@ Parts
.PHONY: setup
setup: build/setup.env ## install and download what is needed (the other targets imply it)

# The module is built from a copy: Kbuild leaves its files beside the sources.
module_dir := build/module
.PHONY: module
module: build/setup.env ## build kvm_iommu.ko against stock kernel headers
	@echo "building the module"
	@mkdir -p $(module_dir)
	@selftests/check/build-module $(KERNEL_HEADERS) $(module_dir) $(JOBS)

# A module that the tests load: reports faults as a host IOMMU's driver does.
# $(1): where it is built, $(2): the kernel's headers.
build-inject = mkdir -p $(1); \
	rsync -rlp --checksum selftests/inject/ $(1)/; \
	env -u MAKEFLAGS -u MFLAGS make -C $(2) M=$(CURDIR)/$(1) modules \
		>$(1)/build.log 2>&1 || { cat $(1)/build.log; exit 1; }

.PHONY: inject-module
inject-module: build/setup.env
	@$(call build-inject,build/inject,$(KERNEL_HEADERS))

.PHONY: unit
unit: ## unit tests of the core in user space: gcc, clang 14, big-endian (s390x)
	@$(call run-suites,unit-gcc unit-clang unit-s390x)

.PHONY: vm-test
vm-test: ## tests of the module in VMs; HOST=intel-iommu TEST=refresh_test picks some
	@$(call run-suites,$(HOST))

# Slow: two hosts unless some are named. The kernel comes first, so that what
# takes long says so at once.
.PHONY: test-debug
test-debug: ## vm-test on a kernel with KASAN, lockdep, kmemleak, UBSAN; HOST=, TEST= as there
	@$(MAKE) debug-kernel || :
	@$(call run-suites,$(addprefix debug-,$(if $(filter file,$(origin HOST)),\
		intel-iommu amd-iommu,$(HOST))))

.PHONY: asan tsan ubsan
asan: ## unit tests under AddressSanitizer, which finds leaks, too
	@$(call run-suites,asan)

tsan: ## unit tests under ThreadSanitizer
	@$(call run-suites,tsan)

ubsan: ## unit tests under UndefinedBehaviorSanitizer
	@$(call run-suites,ubsan)

.PHONY: format
format: build/setup.env ## bring the C++ sources into the form that `make check` wants
	@find . \( -path ./.git -o -path ./build \) -prune -o \
		\( -name '*.cc' -o -name '*.hpp' \) -print | \
		xargs -r clang-format-14 -i

.PHONY: clean
clean: ## remove build/ (the cache stays)
	rm -rf build

# Not for the user: the suites, each leaving build/results/SUITE.tsv, and what
# they need. A suite that fails does not stop the others; one that leaves no
# results has failed.
run-suites = rm -f $(1:%=build/results/%.tsv); \
	$(MAKE) -k -j $(JOBS) --output-sync=target $(1:%=suite-%) || :; \
	selftests/report/results.py summary $(1:%=build/results/%.tsv)

.PHONY: suite-unit-gcc suite-unit-clang suite-unit-s390x
suite-unit-gcc: build/setup.env
	@selftests/check/unit build/unit unit-gcc $(JOBS) \
		-DCMAKE_CXX_COMPILER=g++

suite-unit-clang: build/setup.env
	@selftests/check/unit build/unit-clang unit-clang $(JOBS) \
		-DCMAKE_CXX_COMPILER=clang++-14

# Of the other byte order: user-mode emulation.
suite-unit-s390x: build/setup.env
	@selftests/check/unit build/unit-s390x unit-s390x $(JOBS) \
		-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/selftests/unit/s390x.cmake

.PHONY: suite-asan suite-tsan suite-ubsan
suite-asan: sanitizer := address
suite-tsan: sanitizer := thread
suite-ubsan: sanitizer := undefined
suite-asan suite-tsan suite-ubsan: suite-%: build/setup.env
	@selftests/check/unit build/$* $* $(JOBS) \
		-DCMAKE_CXX_COMPILER=clang++-14 -DSANITIZE=$(sanitizer)

vm-tests = $(patsubst selftests/kvm/%.c,build/kvm/bin/%, \
	$(wildcard $(TEST:%=selftests/kvm/%.c)))
.PHONY: $(HOSTS:%=suite-%)
$(HOSTS:%=suite-%): suite-%: module inject-module kvm-programs
	@mkdir -p build/results
	@rm -rf build/vm/$*; status=0; \
	selftests/vm/run --host $* --file build/inject/kiommu_inject.ko \
		$(vm-tests) || status=1; \
	cp build/vm/$*/results.tsv build/results/$*.tsv; exit $$status

debug_kernel := build/debug/kernel
# Kbuild sees that a file is newer, not that it is another kernel's.
debug_module := build/debug/module
.PHONY: debug-kernel debug-module $(HOSTS:%=suite-debug-%)
debug-kernel: build/setup.env
	@tools/setup/debug-kernel $(debug_kernel) $(JOBS)

debug-module: debug-kernel
	@echo "building the module for the debug kernel"
	@kernel=$$(readlink -f $(debug_kernel)); \
	[ "$$(cat $(debug_module)/kernel 2>/dev/null)" = "$$kernel" ] || rm -rf $(debug_module); \
	mkdir -p $(debug_module); echo "$$kernel" >$(debug_module)/kernel; \
	selftests/check/build-module "$$kernel/headers" $(debug_module) $(JOBS); \
	$(call build-inject,$(debug_module)/inject,"$$kernel/headers")

$(HOSTS:%=suite-debug-%): suite-debug-%: debug-module kvm-programs
	@mkdir -p build/results
	@rm -rf build/vm/debug-$*; status=0; \
	selftests/vm/run --host $* --name debug-$* --debug $(debug_kernel) \
		--module $(debug_module)/kvm-iommu/kvm_iommu.ko \
		--file $(debug_module)/inject/kiommu_inject.ko $(vm-tests) || status=1; \
	cp build/vm/debug-$*/results.tsv build/results/debug-$*.tsv; exit $$status

kvm-make = mkdir -p build/kvm; \
	env -u MAKEFLAGS -u MFLAGS make -j $(JOBS) -C selftests/kvm \
		KSRC=$(KSRC) KHDR=$(KHDR) O=$(CURDIR)/build/kvm $(1) >build/kvm/build.log 2>&1 || \
		{ cat build/kvm/build.log; exit 1; }

.PHONY: kvm-programs
kvm-programs: build/setup.env
	@echo "building the programs of the VM tests"
	@$(call kvm-make,all)

.PHONY: demo-program
demo-program: build/setup.env
	@echo "building the demo"
	@$(call kvm-make,$(CURDIR)/build/kvm/bin/demo)

include selftests/bench/bench.mk

.PHONY: FORCE
FORCE:
