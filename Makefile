# SPDX-License-Identifier: GPL-2.0-only
#
# Start with `make help`. Everything is built in build/; downloads go to the
# cache (see tools/setup/setup).

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
MAKEFLAGS += --no-print-directory
export PYTHONDONTWRITEBYTECODE := 1
# ccache: what was compiled before, the same text by the same compiler, is taken
# from the cache, wherever the tree lies.
export CCACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kvm-iommu/ccache
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export CCACHE_MAXSIZE := 2G
export CMAKE_CXX_COMPILER_LAUNCHER := ccache
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

JOBS ?= $(shell nproc)
# Host IOMMUs. zpci comes first: its kernel takes longest to build.
x86-hosts := intel-iommu intel-iommu-cm amd-iommu virtio-iommu
s390x-hosts := zpci
HOSTS := $(s390x-hosts) $(x86-hosts)
# What vm-test runs: HOST takes words of HOSTS, TEST patterns.
HOST ?= $(HOSTS)
TEST ?= *_test
# What the tests in VMs use domains through: container, file, cdev, or hwpt: as cdev,
# where HWPTs can be had, too. The suites of
# the others have names of their own.
FRONT ?= container
ifeq ($(filter container file cdev hwpt,$(FRONT)),)
$(error FRONT is container, file, cdev or hwpt)
endif
front := $(if $(filter-out container,$(FRONT)),-$(FRONT))
# front-of NAME, host-of NAME: what the name of a suite says.
front-of = $(or $(filter file cdev hwpt,$(lastword $(subst -, ,$(1)))),container)
host-of = $(patsubst %-hwpt,%,$(patsubst %-cdev,%,$(patsubst %-file,%,$(1))))
# The kernel that vm-test boots: the stock one, or that of the next line.
KERNEL ?=
ifneq ($(filter-out next,$(KERNEL)),)
$(error KERNEL is next, or empty)
endif
# For time's sake `make test` takes one of them through files, the others not, and
# some tests only through files of devices.
both-fronts := $(x86-hosts:intel-iommu-cm=intel-iommu-cm-file) device-files hwpts \
	hwpts-amd vmm clients
device-files-tests := device_file_test device_fails_test groups_test lifetime_test
hwpts-tests := hwpt_test hwpt_memory_test hwpt_race_test hwpt_tracked_test hwpt_vtd_test \
	hwpt_vtd_says_test device_file_test abi_test
# On a host whose IOMMU is none that we stand in for.
hwpts-amd-tests := hwpt_test hwpt_vtd_says_test

# What set-up found; tools/setup/setup writes it again when it is stale.
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
		/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST)) selftests/bench/bench.mk
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
	@$(call run-suites,$(s390x-hosts:%=%$(front)) image unit-gcc unit-clang \
		unit-s390x $(if $(front),$(x86-hosts:%=%$(front)),$(both-fronts)))

.PHONY: check
check: module s390x-module next-module ## format, style, spelling, sparse, symbols, headers, scripts
	@selftests/check/check

##@ Figures
.PHONY: bench
bench: bench-vm bench-user bench-sync-vm ## what maps and refreshes cost, against rivals: a table, build/bench.json (10 minutes)
	@selftests/report/bench.py build/bench.json

.PHONY: plot
plot: build/setup.env ## docs/bench.svg, docs/bench-table.md, docs/sync.svg, docs/sync-table.md, from build/bench.json
	@[ -e build/bench.json ] || { echo "plot: run make bench first"; exit 1; }
	@tools/setup/setup --extra python3-matplotlib
	@selftests/report/bench_plot.py build/bench.json docs
	@selftests/report/sync_plot.py build/bench.json docs

.PHONY: drawing
drawing: build/setup.env ## docs/architecture.svg, from docs/architecture.dot
	@tools/setup/setup --extra graphviz
	@dot -Tsvg docs/architecture.dot -o docs/architecture.svg

##@ Parts
.PHONY: setup
setup: build/setup.env ## install and download what is needed (the other targets imply it)

# Modules are built from a copy, because Kbuild leaves its files beside the
# sources.
module_dir := build/module
.PHONY: module
module: build/setup.env ## build kvm_iommu.ko against stock kernel headers
	@echo "building the module"
	@mkdir -p $(module_dir)
	@selftests/check/build-module $(KERNEL_HEADERS) $(module_dir) $(JOBS)

# A module that tests load: it reports faults as a host IOMMU's driver does.
inject := selftests/modules/inject
.PHONY: inject-module
inject-module: module
	@selftests/check/build-module --part $(inject) $(KERNEL_HEADERS) \
		$(module_dir) $(JOBS)

# The kernel of the s390x machine, and what is built for it.
s390x := build/s390x
s390x-flags := ARCH=s390 CROSS_COMPILE=s390x-linux-gnu-
.PHONY: s390x-kernel
s390x-kernel: build/setup.env ## build the kernel of the s390x machine (6 minutes, once)
	@tools/setup/build-kernel s390x $(s390x)/kernel $(JOBS)

.PHONY: s390x-module
s390x-module: s390x-kernel ## build kvm_iommu.ko for it
	@echo "building the module for s390x"
	@$(call build-for,$(s390x)/kernel,$(s390x)/module,$(s390x-flags))

# The next kernel line: a backported kernel, and trixie's compiler to build for it.
next := build/next
.PHONY: next-kernel next-module
next-kernel: build/setup.env
	@tools/setup/next-kernel $(next)/kernel

next-module: next-kernel ## build kvm_iommu.ko against the next kernel line (see docs/kernels.md)
	@echo "building the module for the next kernel line"
	@$(call for-kernel,$(next)/kernel,$(next)/module); \
	for part in kvm-iommu $(inject); do \
		selftests/check/build-module --part $$part --root "$$kernel/root" \
			"/usr/src/linux-headers-$$(<"$$kernel/release")" \
			$(next)/module $(JOBS); \
	done

.PHONY: unit
unit: ## unit tests of the core in user space: gcc, clang 14, big-endian (s390x)
	@$(call run-suites,unit-gcc unit-clang unit-s390x)

# One build of the core and the formats; `make unit` runs all.
.PHONY: test-fast
test-fast: build/setup.env ## what a change of the core needs first: its unit tests by one compiler, the arrows, the mutants' list
	@selftests/check/check format arrows mutants
	@KIOMMU_SEEDS=2 $(call run-suites,unit-fast)

.PHONY: vm-test
vm-test: ## tests of the module in VMs; HOST=intel-iommu TEST=refresh_test picks some; FRONT=file: through files of domains; FRONT=cdev: and files of devices; FRONT=hwpt: the same on an iommufd for HWPTs; KERNEL=next: on the next kernel line
	@$(call run-suites,$(addsuffix $(front),$(if $(KERNEL),$(addprefix $(KERNEL)-,\
		$(if $(filter file,$(origin HOST)),$(x86-hosts),$(HOST))),$(HOST))))

.PHONY: clients
clients: ## programs of Debian's that use type1, unmodified, on two hosts: they do the same with type1=0 and type1=1
	@$(call run-suites,$(clients-suites))

# Slow, so on two hosts unless some are named. The kernel is built first, so
# that its messages appear at once.
.PHONY: test-debug
test-debug: ## vm-test on a kernel with KASAN, lockdep, kmemleak, UBSAN; HOST=, TEST= as there
	@$(MAKE) debug-kernel || :
	@$(call run-suites,$(addsuffix $(front),$(addprefix debug-,\
		$(if $(filter file,$(origin HOST)),intel-iommu amd-iommu,$(HOST)))))

# As slow; see selftests/iommufd/iommufd.mk.
.PHONY: test-iommufd
test-iommufd: ## the kernel's own tests of iommufd, on the debug kernel: the same result with our patch, and with the module
	@$(MAKE) debug-kernel || :
	@rm -f $(iommufd-runs:%=build/results/iommufd-%.tsv)
	@$(MAKE) -k -j $(JOBS) --output-sync=target $(iommufd-runs:%=suite-iommufd-%) || :
	@selftests/report/compare.py build/results/iommufd.tsv \
		$(iommufd-runs:%=build/results/iommufd-%.tsv)
	@selftests/report/results.py summary build/results/iommufd.tsv

.PHONY: asan tsan
asan: ## unit tests under AddressSanitizer, which finds leaks, too, and UBSan
	@$(call run-suites,asan)

tsan: ## unit tests under ThreadSanitizer
	@$(call run-suites,tsan)

# The shell has a variable SECONDS of its own, which counts up, so the value is
# expanded here.
stress-seconds := $(if $(filter command line,$(origin SECONDS)),$(SECONDS),60)
stress-sanitizers := asan tsan
.PHONY: stress stress-ci
stress: ## threads that do all at once, under make asan's and make tsan's sanitizers, on each kind of host; SECONDS=60 for each, SEED=
	@$(call run-suites,$(stress-sanitizers:%=stress-%),1)

stress-ci: ## the same, a minute in all
	@$(MAKE) stress SECONDS=30

.PHONY: mutants mutants-part
mutants: build/setup.env ## each of many ways to break the core must fail a unit test; ONLY='15-*' picks some
	@selftests/check/mutants build/unit $(JOBS) $(if $(ONLY),--only '$(ONLY)')

# Each commit tries another part.
mutants-part: build/setup.env ## those of them that 2 minutes suffice for
	@selftests/check/mutants build/unit $(JOBS) --seconds 120 \
		--seed "$$(git rev-parse --short HEAD 2>/dev/null || date +%F)"

.PHONY: format
format: build/setup.env ## bring the C++ sources into the form that `make check` wants
	@find . \( -path ./.git -o -path ./build \) -prune -o \
		\( -name '*.cc' -o -name '*.hpp' \) -print | \
		xargs -r clang-format-14 -i

.PHONY: tidy
tidy: compdb ## clang-tidy over the core and the formats, see .clang-tidy
	@tools/setup/setup --extra clang-tidy-14
	@clang-tidy-14 -p build/unit-fast --quiet \
		$$(git ls-files 'kvm-iommu/core/*.cc' 'arch/*.cc') 2>/dev/null

.PHONY: coverage
coverage: build/setup.env ## lines and branches of core and formats that the unit tests reach; none may fall below selftests/check/coverage.floor
	@tools/setup/setup --extra llvm-14
	@selftests/check/coverage build/coverage $(JOBS)

.PHONY: clean
clean: ## remove build/ (the cache stays)
	rm -rf build

##@ Habits
.PHONY: hooks
hooks: ## before each commit in this clone: format and the checks that take seconds
	@ln -sf ../../tools/hooks/pre-commit "$$(git rev-parse --git-path hooks)/pre-commit"

.PHONY: compdb
compdb: module ## compile_commands.json of core, module and tests, for editors and clang tools
	@mkdir -p build/unit-fast
	@cmake -S selftests/unit -B build/unit-fast -DCMAKE_CXX_COMPILER=g++ \
		-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 >build/unit-fast/cmake.log
	@$(call kvm-make,build/kvm,all,-n -B) && cp build/kvm/build.log build/compdb.log
	@tools/compdb compile_commands.json $(KERNEL_HEADERS) $(module_dir) \
		build/unit-fast build/compdb.log

# Not for the user: the suites, each of which leaves build/results/SUITE.tsv,
# and what they need. A suite that fails does not stop the others; one that
# leaves no results has failed. run-suites SUITES [JOBS]
run-suites = rm -f $(1:%=build/results/%.tsv); \
	$(MAKE) -k -j $(or $(2),$(JOBS)) --output-sync=target $(1:%=suite-%) || :; \
	selftests/report/results.py summary $(1:%=build/results/%.tsv)

.PHONY: suite-unit-gcc suite-unit-fast suite-unit-clang suite-unit-s390x
suite-unit-gcc: build/setup.env
	@selftests/check/unit build/unit unit-gcc $(JOBS) \
		-DCMAKE_CXX_COMPILER=g++

suite-unit-fast: build/setup.env
	@selftests/check/unit build/unit-fast unit-fast $(JOBS) \
		-DCMAKE_CXX_COMPILER=g++ -DCMAKE_BUILD_TYPE=Debug \
		-DCMAKE_CXX_FLAGS_DEBUG=-O1

suite-unit-clang: build/setup.env
	@selftests/check/unit build/unit-clang unit-clang $(JOBS) \
		-DCMAKE_CXX_COMPILER=clang++-14

# The other byte order, by user-mode emulation.
suite-unit-s390x: build/setup.env
	@selftests/check/unit build/unit-s390x unit-s390x $(JOBS) \
		-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/selftests/unit/s390x.cmake

sanitize-asan := address,undefined
sanitize-tsan := thread
.PHONY: suite-asan suite-tsan
suite-asan suite-tsan: suite-%: build/setup.env
	@selftests/check/unit build/$* $* $(JOBS) \
		-DCMAKE_CXX_COMPILER=clang++-14 -DSANITIZE=$(sanitize-$*)

# These use the sanitizers' build directories, of which they need a part.
.PHONY: $(stress-sanitizers:%=suite-stress-%)
$(stress-sanitizers:%=suite-stress-%): suite-stress-%: build/setup.env
	@selftests/check/stress build/$* stress-$* $(JOBS) \
		$(stress-seconds) '$(SEED)' \
		-DCMAKE_CXX_COMPILER=clang++-14 -DSANITIZE=$(sanitize-$*)

# for-kernel KERNEL DIR: empties DIR if its contents are for another kernel, or
# other modules, of ours, which make and Kbuild do not notice: they only compare times.
for-kernel = kernel=$$(readlink -f $(1)); \
	[ "$$(cat $(2)/kernel 2>/dev/null)" = "$$kernel" ] || rm -rf $(2); \
	mkdir -p $(2); echo "$$kernel" >$(2)/kernel

# build-for KERNEL DIR [VARIABLE=VALUE...]: the module for such a kernel.
build-for = $(for-kernel); \
	selftests/check/build-module "$$kernel/headers" $(2) $(JOBS) $(3)

# The tests of TEST for each machine: all but those for the other one only
# (tests.mk).
include selftests/kvm/tests.mk
wanted := $(notdir $(basename $(wildcard $(TEST:%=selftests/kvm/%.c))))
x86-programs := $(addprefix build/kvm/bin/,$(filter-out $(tests-s390x),$(wanted)))
s390x-programs := $(addprefix $(s390x)/programs/bin/,$(filter-out $(tests-x86),$(wanted)))

# run-vm SUITE PROGRAMS OPTIONS: boots the machine, leaves the results.
run-vm = mkdir -p build/results; rm -rf build/vm/$(1); status=0; \
	$(if $(wanted),,echo "there is no test $(TEST)"; exit 1;) \
	$(if $(2),,printf 'skip\t%s\t%s\t%s\n' $(1) "$(wanted)" \
		"not for this machine" >build/results/$(1).tsv; exit 0;) \
	selftests/vm/run --name $(1) --front $(call front-of,$(1)) $(3) $(2) || status=1; \
	cp build/vm/$(1)/results.tsv build/results/$(1).tsv; exit $$status

# On one host, hostile guests run for a minute each, a quarter of an hour in all.
suite-intel-iommu: soak := --soak 60 --timeout 1200

x86-suites := $(x86-hosts) $(x86-hosts:%=%-file)
.PHONY: $(x86-suites:%=suite-%)
$(x86-suites:%=suite-%): suite-%: inject-module kvm-programs
	@$(call run-vm,$*,$(x86-programs),--host $(call host-of,$*) $(soak) \
		--file $(module_dir)/$(inject)/kiommu_inject.ko)

.PHONY: $(x86-suites:%=suite-next-%)
$(x86-suites:%=suite-next-%): suite-next-%: next-module kvm-programs
	@$(call run-vm,next-$*,$(x86-programs),--host $(call host-of,$*) \
		--kernel $(next)/kernel \
		--module $(next)/module/kvm-iommu/kvm_iommu.ko \
		--file $(next)/module/$(inject)/kiommu_inject.ko)

# On the stock kernel with modules that Debian does not build, and the module for
# them.
cdev_modules := build/iommufd/modules
cdev_module := build/iommufd/module
.PHONY: iommufd-modules cdev-module
iommufd-modules: build/setup.env
	@tools/setup/build-modules iommufd $(cdev_modules) $(JOBS)

cdev-module: iommufd-modules
	@echo "building the module for kernels with iommufd"
	@$(call for-kernel,$(cdev_modules),$(cdev_module))
	@selftests/check/build-module --modules $(cdev_modules) $(KERNEL_HEADERS) \
		$(cdev_module) $(JOBS)
	@selftests/check/build-module --part $(inject) --modules $(cdev_modules) \
		$(KERNEL_HEADERS) $(cdev_module) $(JOBS)

with-cdev := --modules $(cdev_modules) --module $(cdev_module)/kvm-iommu/kvm_iommu.ko \
	--file $(cdev_module)/$(inject)/kiommu_inject.ko
x86-cdev-suites := $(x86-hosts:%=%-cdev)
.PHONY: $(x86-cdev-suites:%=suite-%)
$(x86-cdev-suites:%=suite-%): suite-%: cdev-module kvm-programs
	@$(call run-vm,$*,$(x86-programs),--host $(call host-of,$*) $(with-cdev))

.PHONY: suite-device-files
suite-device-files: cdev-module kvm-programs
	@$(call run-vm,device-files,$(device-files-tests:%=build/kvm/bin/%),\
		--host intel-iommu --front cdev $(with-cdev))

# The same with an iommufd that is patched, for domains that are HWPTs.
hwpt_modules := build/hwpt/modules
hwpt_module := build/hwpt/module
.PHONY: hwpt-modules hwpt-module
hwpt-modules: build/setup.env
	@tools/setup/build-modules hwpt $(hwpt_modules) $(JOBS)

hwpt-module: hwpt-modules
	@echo "building the module for an iommufd with providers of HWPTs"
	@$(call for-kernel,$(hwpt_modules),$(hwpt_module))
	@selftests/check/build-module --modules $(hwpt_modules) $(KERNEL_HEADERS) \
		$(hwpt_module) $(JOBS)
	@selftests/check/build-module --part $(inject) --modules $(hwpt_modules) \
		$(KERNEL_HEADERS) $(hwpt_module) $(JOBS)

with-hwpt := --modules $(hwpt_modules) --module $(hwpt_module)/kvm-iommu/kvm_iommu.ko \
	--file $(hwpt_module)/$(inject)/kiommu_inject.ko \
	--file $(hwpt_module)/$(inject)/kiommu_claims.ko
x86-hwpt-suites := $(x86-hosts:%=%-hwpt)
.PHONY: $(x86-hwpt-suites:%=suite-%)
$(x86-hwpt-suites:%=suite-%): suite-%: hwpt-module kvm-programs
	@$(call run-vm,$*,$(x86-programs),--host $(call host-of,$*) $(with-hwpt))

.PHONY: suite-hwpts suite-hwpts-amd
suite-hwpts: hwpt-module kvm-programs
	@$(call run-vm,hwpts,$(hwpts-tests:%=build/kvm/bin/%),\
		--host intel-iommu --front hwpt $(with-hwpt))

suite-hwpts-amd: hwpt-module kvm-programs
	@$(call run-vm,hwpts-amd,$(hwpts-amd-tests:%=build/kvm/bin/%),\
		--host amd-iommu --front hwpt $(with-hwpt))

# VMMs as Debian ships them, which know nothing of us.
.PHONY: next-qemu suite-vmm
next-qemu: build/setup.env
	@tools/setup/next-qemu $(next)/qemu

suite-vmm: hwpt-module next-qemu
	@selftests/vmm/tree $(next)/qemu opt/qemu build/vmm/tree
	@$(call run-vm,vmm,selftests/vmm/qemu_vtd_s1_client,--host intel-iommu --front hwpt \
		--program-timeout 900 $(with-hwpt) --tree build/vmm/tree \
		--machine selftests/vmm/machine)

# Clients of type1 as Debian ships them: the same with the kernel's driver and with ours.
clients-suites := clients clients-amd
suite-clients: host := intel-iommu
suite-clients-amd: host := amd-iommu
.PHONY: type1-clients clients-tree $(clients-suites:%=suite-%)
type1-clients: build/setup.env
	@tools/setup/type1-clients build/clients/debian

clients-tree: type1-clients
	@selftests/vmm/tree build/clients/debian . build/clients/tree

$(clients-suites:%=suite-%): suite-%: module clients-tree
	@$(call run-vm,$*,selftests/clients/type1_clients,--host $(host) \
		--program-timeout 900 --tree build/clients/tree \
		--machine selftests/clients/machine)

s390x-suites := $(s390x-hosts) $(s390x-hosts:%=%-file) $(s390x-hosts:%=%-cdev)
.PHONY: $(s390x-suites:%=suite-%)
$(s390x-suites:%=suite-%): suite-%: s390x-test-modules s390x-programs
	@$(call run-vm,$*,$(s390x-programs),--host $(call host-of,$*) \
		--test-module $(s390x)/module/selftests/modules/memory/kiommu_memory.ko \
		--file $(s390x)/module/$(inject)/kiommu_inject.ko)

# Walks tables that a Linux of the s390x machine wrote.
.PHONY: suite-image
suite-image: s390x-kernel
	@selftests/image/run $(s390x)/kernel build/image build/results/image.tsv

debug_kernel := build/debug/kernel
debug_module := build/debug/module
debug-suites := $(x86-suites) $(x86-cdev-suites)
.PHONY: debug-kernel debug-module $(debug-suites:%=suite-debug-%) \
	$(s390x-suites:%=suite-debug-%) $(s390x-suites:%=suite-next-%)
debug-kernel: build/setup.env
	@tools/setup/build-kernel debug $(debug_kernel) $(JOBS)

debug-module: debug-kernel
	@echo "building the module for the debug kernel"
	@$(call build-for,$(debug_kernel),$(debug_module)); \
	selftests/check/build-module --part $(inject) "$$kernel/headers" \
		$(debug_module) $(JOBS)

$(debug-suites:%=suite-debug-%): suite-debug-%: debug-module kvm-programs
	@$(call run-vm,debug-$*,$(x86-programs),--host $(call host-of,$*) --debug $(debug_kernel) \
		--module $(debug_module)/kvm-iommu/kvm_iommu.ko \
		--file $(debug_module)/$(inject)/kiommu_inject.ko)

$(s390x-suites:%=suite-debug-%) $(s390x-suites:%=suite-next-%):
	@echo "$@: there is no such kernel for s390x"; exit 1

# Only the stock image has its iommufd built anew.
no-hwpt-suites := $(s390x-hosts:%=%-hwpt) $(x86-hwpt-suites:%=debug-%) \
	$(x86-hwpt-suites:%=next-%)
.PHONY: $(no-hwpt-suites:%=suite-%)
$(no-hwpt-suites:%=suite-%):
	@echo "$@: there is no such iommufd"; exit 1

# kvm-make DIR GOAL [VARIABLE=VALUE...]
kvm-make = mkdir -p $(1); \
	env -u MAKEFLAGS -u MFLAGS make -j $(JOBS) -C selftests/kvm \
		KSRC=$(KSRC) KHDR=$(KHDR) O=$(CURDIR)/$(1) $(3) $(2) >$(1)/build.log 2>&1 || \
		{ cat $(1)/build.log; exit 1; }

.PHONY: kvm-programs
kvm-programs: build/setup.env
	@echo "building the programs of the VM tests"
	@$(call kvm-make,build/kvm,all)

# The headers are those of the kernel with the project's patches.
.PHONY: s390x-programs
s390x-programs: s390x-kernel
	@echo "building the programs of the VM tests for s390x"
	@$(call for-kernel,$(s390x)/kernel,$(s390x)/programs)
	@$(call kvm-make,$(s390x)/programs,all,ARCH=s390x \
		CROSS_COMPILE=s390x-linux-gnu- KHDR=$(CURDIR)/$(s390x)/kernel)

# Besides the other module, one that provides a guest's memory: KVM cannot run
# there.
.PHONY: s390x-test-modules
s390x-test-modules: s390x-module
	@echo "building the test modules for s390x"
	@for part in selftests/modules/memory $(inject); do \
		selftests/check/build-module --part $$part \
			$(s390x)/kernel/headers $(s390x)/module $(JOBS) $(s390x-flags); \
	done

.PHONY: demo-program
demo-program: build/setup.env
	@echo "building the demo"
	@$(call kvm-make,build/kvm,$(CURDIR)/build/kvm/bin/demo)

include selftests/bench/bench.mk
include selftests/iommufd/iommufd.mk

.PHONY: FORCE
FORCE:
