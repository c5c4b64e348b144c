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
	@$(call run-suites,unit-gcc unit-clang $(HOSTS))

.PHONY: check
check: module ## format, style, spelling, sparse, symbols, headers, scripts
	@selftests/check/check

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

.PHONY: unit
unit: ## unit tests of the core in user space, by gcc and by clang 14
	@$(call run-suites,unit-gcc unit-clang)

.PHONY: vm-test
vm-test: ## tests of the module in VMs; HOST=intel-iommu TEST=refresh_test picks some
	@$(call run-suites,$(HOST))

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

.PHONY: suite-unit-gcc suite-unit-clang
suite-unit-gcc: build/setup.env
	@selftests/check/unit build/unit unit-gcc $(JOBS) g++

suite-unit-clang: build/setup.env
	@selftests/check/unit build/unit-clang unit-clang $(JOBS) clang++-14

vm-tests = $(patsubst selftests/kvm/%.c,build/kvm/bin/%, \
	$(wildcard $(TEST:%=selftests/kvm/%.c)))
.PHONY: $(HOSTS:%=suite-%)
$(HOSTS:%=suite-%): suite-%: module kvm-programs
	@mkdir -p build/results
	@rm -rf build/vm/$*; status=0; \
	selftests/vm/run --host $* $(vm-tests) || status=1; \
	cp build/vm/$*/results.tsv build/results/$*.tsv; exit $$status

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

.PHONY: FORCE
FORCE:
