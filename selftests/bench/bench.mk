# SPDX-License-Identifier: GPL-2.0-only
#
# The parts of `make bench` and `make plot`; included by the top-level Makefile.

##@ Parts of the figures

# The first words of a case select it: make bench-vm BENCH_CASE="1 GiB"
BENCH_CASE ?=
BENCH_HOSTS := intel-iommu intel-iommu-cm amd-iommu
# The first letters of a way select it: make bench-sync SYNC_WAY=ring
SYNC_WAY ?=
SYNC_HOSTS := intel-iommu amd-iommu

.PHONY: bench-floor
bench-floor: build/setup.env
	@mkdir -p build/floor
	@rsync -rlp --checksum selftests/modules/floor/ build/floor/
	@env -u MAKEFLAGS -u MFLAGS make -C $(KERNEL_HEADERS) \
		M=$(CURDIR)/build/floor modules >build/floor/build.log 2>&1 || \
		{ cat build/floor/build.log; exit 1; }

.PHONY: bench-program
bench-program: build/setup.env
	@echo "building the benchmarks"
	@$(call kvm-make,build/kvm,$(addprefix $(CURDIR)/build/kvm/bin/,bench bench-sync))

.PHONY: bench-vm
bench-vm: module bench-floor bench-program
	@echo "counting instructions in virtual machines"
	@$(MAKE) -j $(JOBS) --output-sync=target $(BENCH_HOSTS:%=bench-on-%)

.PHONY: $(BENCH_HOSTS:%=bench-on-%)
$(BENCH_HOSTS:%=bench-on-%): bench-on-%:
	@selftests/vm/run --plain --icount --host $* --name bench-$* --mem 3G \
		--program-timeout 2000 --file build/floor/kiommu_floor.ko \
		"build/kvm/bin/bench /tmp/out/bench.tsv $(BENCH_CASE)"

# A program of its own measures how the host follows the guest.
.PHONY: bench-sync-vm
bench-sync-vm: module bench-program
	@echo "counting what following a guest costs, in virtual machines"
	@$(MAKE) -j $(JOBS) --output-sync=target $(SYNC_HOSTS:%=bench-sync-on-%)

.PHONY: $(SYNC_HOSTS:%=bench-sync-on-%)
$(SYNC_HOSTS:%=bench-sync-on-%): bench-sync-on-%:
	@selftests/vm/run --plain --icount --host $* --name bench-sync-$* \
		--program-timeout 2000 \
		"build/kvm/bin/bench-sync /tmp/out/sync.tsv $(SYNC_WAY)"

.PHONY: bench-sync
bench-sync: bench-sync-vm ## what it costs to follow a guest, by mode: a table (a minute)
	@selftests/report/sync.py build/bench.json

# What fronts cost: a refresh by each, and the move of a device.
.PHONY: bench-fronts
bench-fronts: module build/setup.env ## what a refresh costs by each front, and what a move costs: two lists (half a minute)
	@$(call kvm-make,build/kvm,$(CURDIR)/build/kvm/bin/bench-fronts)
	@for host in $(SYNC_HOSTS); do \
		selftests/vm/run --plain --icount --host $$host --name bench-fronts-$$host \
			--program-timeout 600 \
			"build/kvm/bin/bench-fronts /tmp/out/fronts.tsv" && \
		echo "instructions of a call, $$host:" && \
		cat build/vm/bench-fronts-$$host/files/fronts.tsv || exit 1; \
	done

# Tells whose functions the instructions of a page are.
.PHONY: profile-sync
profile-sync: module bench-program ## docs/sync-profile.md: whose functions the instructions of bench-sync are
	@echo "looking what following a guest spends, in virtual machines"
	@selftests/bench/profile/run docs/sync-profile.md type1 refresh ring tracked

.PHONY: bench-user
bench-user: build/setup.env
	@selftests/bench/user/run build/bench-user $(JOBS)
