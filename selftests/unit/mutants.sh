#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Proof that the unit tests watch the invariants of the design: breaks the core
# in one place at a time, in a copy, and expects a test to fail. Prints a line
# for each mutant and exits with the number of those that survived.
#
#   selftests/unit/mutants.sh [name...]
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
survivors=0

# name: invariant (f: a format), then what is broken. file. perl expression on
# the whole file.
mutants() {
  cat <<'END'
1-walks-past-range core/walker.hpp s/intersection\(span, range\)/IovaRange{intersection(span, range).first, span.last}/
1-upper-absent-not-unmapped core/walker.hpp s/return sink_\.absent\(part\);/return level > 0 ? Result<void>{} : sink_.absent(part);/
1-last-page-forgotten core/refresh.cc s/while \(done < leaf\.pages\) \{/while (done + (leaf.pages > 1) < leaf.pages) {/
1-rights-not-compared core/shadow_entry.hpp s/PageWord::kAddressMask \| PageWord::kRightsMask;/PageWord::kAddressMask;/
1-unmap-one-too-many core/domain.cc s/shadow_\.unmap\(request, pages\)/shadow_.unmap(request, {pages.first, pages.last + (pages.last != kLastPage)})/
1-absent-words-kept core/shadow.cc s/if \(want\[first\] == PageWord::kAbsent\) \{/if (want[first] == PageWord::kAbsent) { return {n, n};/
1-run-taken-for-another core/shadow.cc s/if \(are_neighbours\(want, n, run \+ \(\(page - leaf\.base\) << kPageShift\)\)\)/if (want[0] == run + ((page - leaf.base) << kPageShift))/
2-no-flush core/host_batch.hpp s/    kiommu_port_host_flush\(batch_\);\n//
2-no-flush-due core/host_batch.hpp s/    flush_due_ = true;\n//
2-unpin-while-held core/pins.cc s/\(pin & pin::kValid\) != 0 && \(pin & pin::kHoldersMask\) == 0/(pin & pin::kValid) != 0/
2-huge-unpinned-while-held core/pins.cc s/\(chunk\.holders > 0 \? pin::kHolder : 0\)/0/
2-put-twice core/unmap.cc s/user\.put_chunk\(/user.put_chunk(request.stage2->mapped_region(gfn), gfn); user.put_chunk(/
2-dirty-forgotten core/pin_user.cc s/      __atomic_fetch_or\(page, pin::kDirty, __ATOMIC_RELAXED\);\n//
2-huge-dirty-forgotten core/pin_user.cc s/      __atomic_fetch_or\(&chunk\.word, Chunk::kDirty, __ATOMIC_RELAXED\);\n//
2-dirty-lost-at-break core/pins.cc s/\(chunk\.word & Chunk::kDirty\) != 0 \? pin::kDirty : 0/0/
3-protection-ignored core/walker.hpp s/rights = rights & entry\.rights;/if (level == 0) rights = entry.rights;/
3-protection-of-pages-ignored core/walker.hpp s/rights = rights & e\.rights;/rights = e.rights;/
3-read-only-slot-ignored core/region.hpp s/return read_only \? kRead : kReadWrite;/return kReadWrite;/
3-read-only-page-ignored core/pin_user.cc s/region\.read_only \|\| \(pin & pin::kWritable\) == 0/region.read_only/
3-read-only-huge-page-ignored core/pin_user.cc s/region\.read_only \|\| \(state & Chunk::kWritable\) == 0/region.read_only/
4-reserved-ignored core/refresh.cc s/  if \(reserved\) \{/  if (false) {/
4-reserved-of-small-pages-ignored core/refresh.cc s/  if \(reserved_\) \{/  if (false) {/
4-reserved-first-page core/refresh.cc s/pages = reserved->first_page\(\) - page;/pages = reserved->first_page() - page + 1;/
4-aperture-ignored core/domain.cc s/!hosts_\.aperture\(\)\.contains\(range\) \|\| //
4-window-ignored core/domain.cc s/ \|\| !stage1_->window\.contains\(range\)//
5-refusal-told-elsewhere core/refresh.cc s/    stopped_at_ = Iova::of_page\(refused->first\);\n//
5-lost-rest-not-told core/refresh.cc s/if \(first < stopped_at_\) /if (false && first < stopped_at_) /
5-lost-run-not-told core/unmap.cc s/if \(why != Status::kNoKvm\) result = fail\(why\);//
5-refused-run-kept core/shadow_hosts.cc s/  forget\(request, \{\{first, first \+ pages - 1\}\}\);\n//
5-pins-not-given-back core/shadow.cc s/if \(!made\) \{\n    give_back\(request, want, 0, n\);/if (!made) {/
5-preregistration-not-undone core/pins.cc s/    if \(pinned\) \{\n(      count_idle)/    if (true) {\n$1/
6-node-leaks core/radix.cc s/      pool_\.free\(node_of\(value\)\);\n//
6-not-unaccounted core/pins.cc s/if \(released > 0\) kiommu_port_unaccount\(mem_, released\);//
6-charge-kept core/pin_user.cc s/  if \(charged_ > 0\) kiommu_port_unaccount\(pins_\.mem\(\), charged_\);\n//
6-unregister-keeps-mappings core/domain.cc s/KIOMMU_TRY\(require_anchor\(\)\);\n  clear\(\);/KIOMMU_TRY(require_anchor());/
6-idle-pins-outlive-the-anchor core/domain.cc s/  pins_->trim\(0\);\n//
7-no-budget core/walker.hpp s/if \(\+\+reads_ > WalkScratch::kBudget\)/if (false)/
7-tables-in-read-only-memory core/stage2.cc s/    if \(\(\*found\)->read_only\) return fail\(Status::kReadOnly\);\n    \/\/ Up/    \/\/ Up/
7-pins-not-accounted core/pin_user.cc s/  count = charge\(count\);\n/  charged_ += count;\n/
7-shadow-without-limit core/radix.cc s/if \(limit_bytes_ - bytes_[^<]* < KIOMMU_NODE_BYTES\)/if (false)/g
7-idle-pins-without-limit core/pins.hpp s/return idle\(\) > idle_limit\(\);/return false;/
8-unmap-splits core/unmap.cc s/request\.host\.unmap\(blocks\.first, blocks\.last\)/request.host.unmap(run.first, run.last)/
8-blocks-ignored core/unmap.cc s/(PageRange Shadow::block_of\([^{]*\{\n)/$1  if (page != 0 \&\& !leaf.is_run()) return {page, page};\n/
8-rest-not-restored core/unmap.cc s/if \(run\.last < blocks\.last\) \{/if (false) {/
8-teardown-allocates core/request_pool.cc s/if \(free_ != nullptr\) return pop\(\);/if (free_ != nullptr \&\& made_ > 8) return pop();/
9-trim-takes-too-many core/pins.cc s/if \(!is_idle\(pin\) \|\| over == 0\) return false;/if (!is_idle(pin)) return false;/
9-preregistered-trimmed core/pins.cc s/if \(region\.chunks == nullptr \|\| region\.preregistered\) return 0;/if (region.chunks == nullptr) return 0;/
9-preregistered-counted-idle core/pin_user.cc s/if \(region\.preregistered\) return;\n//
9-slot-kept core/memory_change.cc s/return request\.stage2->mapped_region\(entry\.gfn\(\)\)\.gone;/return request.stage2->mapped_region(entry.gfn()).gone \&\& false;/
9-slot-flags-ignored core/regions.cc s/         region\.read_only == \(\(slot\.flags & KIOMMU_SLOT_READ_ONLY\) != 0\) &&\n//
9-slot-moved-ignored core/regions.cc s/         region\.hva\.value == slot\.hva &&\n//
9-contradiction-ignored core/regions.cc s/    return fail\(Status::kBudget\);/    return table_[index];/
9-exchanged-page-kept core/memory_change.cc s/      pin \|= pin::kStale;\n      any_ = true;/      any_ = true;/
9-exchanged-idle-page-kept core/memory_change.cc s/if \(\(pin & pin::kValid\) == 0\) continue;/if ((pin \& pin::kHoldersMask) == 0) continue;/
9-exchanged-page-of-huge-kept core/memory_change.cc s/while \(same < count && pfns\[same\] == pfn \+ same\) \+\+same;/same = count; (void)pfn;/
9-break-miscounts core/memory_change.cc s/node\[\(entry\.gfn\(\) \+ i\) % kChunkPages\] \+= pin::kHolder;/node[(entry.gfn() + i) % kChunkPages] = node[(entry.gfn() + i) % kChunkPages] | pin::kHolder;/
9-revoked-device-kept core/memory_change.cc s/page << kPageShift\) == 0;/page << kPageShift) == 2;/
9-device-put-as-memory core/unmap.cc s/!run\.mmio && done < count/done < count/
10-ranges-not-locked core/range_lock.cc s/if \(r->range\.overlaps\(request\.range\)\) return true;//
10-blocks-not-locked core/domain.cc s/if \(want\.contains\(reach\)\) break;/break;/
10-pin-of-the-loser-kept core/pin_user.cc s/    \} else \{\n      kiommu_port_unpin\(pins_\.mem\(\), pfns_\[i\], 1, 0\);\n    \}/    }/
10-pins-of-the-loser-kept core/pin_user.cc s/    for \(unsigned i = 0; i < n; \+\+i\) \{\n      kiommu_port_unpin\(pins_\.mem\(\), pfns_\[i\], 1, 0\);\n    \}\n    if \(!node\)/    if (!node)/
11-fault-reader-not-woken core/faults.cc s/if \(is_new\) kiommu_port_faults_ready\(reader_\);/(void)is_new;/
11-fault-repeats-not-counted core/faults.cc s/    if \(alike\(queued, fault\)\) \{/    if (alike(queued, fault) \&\& false) {/
11-fault-pages-not-compared core/faults.cc s/\(\(a\.iova \^ b\.iova\) & kPageMask\) == 0 && //
11-fault-counted-while-read core/faults.cc s/i > peeked_; --i/i > 0; --i/
11-fault-overwrites-oldest core/faults.cc s/    \+\+lost_;\n    return false;/    ++lost_; first_ = (first_ + 1) % kRecords; --count_;/
11-fault-loss-told-twice core/faults.cc s/  lost_ -= lost_told_;\n//
11-fault-loss-forgotten core/faults.cc s/  if \(count == 0\) return;\n//
11-fault-reader-takes-all core/faults.cc s/  if \(max > kRecords \/ 2\) max = kRecords \/ 2;\n//
11-fault-second-reader core/faults.cc s/    if \(ring_ == nullptr\) \{/    if (true) {/
11-fault-of-no-anchor core/domain.cc s/  if \(stage1\) anchor = \{/  anchor = {/
11-fault-window-ignored core/faults.cc s/inside \? Status::kNotMapped : Status::kOutOfRange/inside || true ? Status::kNotMapped : Status::kOutOfRange/
11-fault-wakes-locked core/faults.cc s/    is_new = is_open && enter\(fault\);\n  \}/    is_new = is_open \&\& enter(fault); if (is_new) kiommu_port_faults_ready(reader_);\n  }/g
f-arm-access-flag ../arch/arm64/lpae_format.hpp s/if \(\(entry & kAccessed\) == 0\)/if (false)/
f-arm-privileged-page ../arch/arm64/lpae_format.hpp s/\(entry & kUnprivileged\) == 0 \? kNoRights/false ? kNoRights/
f-arm-privileged-table ../arch/arm64/lpae_format.hpp s/\(entry & kPrivilegedBelow\) != 0 \? kNoRights/false ? kNoRights/
f-arm-block-anywhere ../arch/arm64/lpae_format.hpp s/level <= kTopBlockLevel/true/
f-arm-short-top-table ../arch/arm64/lpae_format.hpp s/uint64_t\{geometry\.index\(\{anchor\.last\}\)\} \+ 1/uint64_t{1} << geometry.index_bits/
f-riscv-user ../arch/riscv/sv_format.hpp s/\(entry & kUser\) == 0 \|\| //
f-riscv-dirty ../arch/riscv/sv_format.hpp s/ && \(entry & kDirty\) != 0//
f-riscv-napot ../arch/riscv/sv_format.hpp s/      shift = kNapotShift;\n//
f-riscv-superpage ../arch/riscv/sv_format.hpp s/if \(\(address & \(\(uint64_t\{1\} << shift\) - 1\)\) != 0\)/if (false)/
f-amd-size-too-small ../arch/x86/amd_v1_format.hpp s/shift > own && //
f-amd-size-too-large ../arch/x86/amd_v1_format.hpp s/ && shift < own \+ 9//
11-no-room-made core/domain.cc s/if \(done \|\| !may_find_room/if (true || done || !may_find_room/
11-stale-not-dropped-on-refusal ../arch/s390/rpcit.cc s/\(void\)domain\.drop_stale\(rest, &result\);/(void)rest;/
11-wanted-dropped-too core/unmap.cc s/return have != 0 && \(\(have \^ want\[i\]\) & ShadowEntry::kSame\) != 0;/return have != 0 \&\& want != nullptr;/
11-rights-not-compared core/unmap.cc s/\(\(have \^ want\[i\]\) & ShadowEntry::kSame\) != 0/((have ^ want[i]) \& PageWord::kAddressMask) != 0/
11-stale-large-pages-kept core/drop_stale.hpp s/return pages\(leaf\.iova, words, n\);/return {};/
11-stale-absent-kept core/drop_stale.hpp s/(Result<void> absent\(IovaRange range\) \{\n)/$1    return {};\n/
11-room-ends-at-bad-entries core/domain.cc s/      if \(\*bad_last >= part\.last\) break;/      return done;/
11-room-in-one-leaf core/domain.cc s/if \(!done \|\| leaf->last == left\.last\) break;/break;/
11-lost-in-silence core/domain.cc s/ \|\|\n      request\.lost\) \{\n    return done;/) {\n    return done;/
11-counted-twice core/domain.cc s/  request\.mapped = request\.unmapped = 0;\n//
12-problem-state-ignored ../arch/s390/rpcit.cc s/if \(rpcit_\.problem_state != 0 \|\| /if (/
12-odd-pair-ignored ../arch/s390/rpcit.cc s/ \|\| rpcit_\.r2 % 2 != 0//
12-shm-ignored ../arch/s390/rpcit.cc s/\(rpcit_\.fh & kShm\) != 0/false/
12-not-enabled-ignored ../arch/s390/rpcit.cc s/\(rpcit_\.fh & kEnabled\) == 0/false/
12-old-handle-works ../arch/s390/rpcit.cc s/rpcit_\.fh != function\.fh \|\| //
12-disabled-works ../arch/s390/rpcit.cc s/ \|\| state == KIOMMU_ZPCI_DISABLED//
12-error-works ../arch/s390/rpcit.cc s/if \(state == KIOMMU_ZPCI_ERROR\)/if (false)/
12-zero-length-is-all ../arch/s390/rpcit.cc s/  if \(rpcit_\.gprs\[2\] == 0\) return done\(kOk\);\n//
12-wrap-accepted ../arch/s390/rpcit.cc s/  if \(last < first\) return std::nullopt;\n//
12-outside-is-nothing ../arch/s390/rpcit.cc s/if \(!range\) return refuse\([^;]*;/if (!range) return done(kOk);/
12-last-page-left-out ../arch/s390/rpcit.cc s/first\.plus\(rpcit_\.gprs\[2\] - 1\)/first.plus((rpcit_.gprs[2] - 1) \& kPageMask)/
12-always-from-the-start ../arch/s390/rpcit.cc s/  if \(rest\.first\.value < rpcit_\.next\) rest\.first = \{rpcit_\.next\};\n//
12-never-busy ../arch/s390/rpcit.cc s/    if \(rpcit_\.changed > kBusyPages\) return done\(kBusy\);\n//
12-always-busy ../arch/s390/rpcit.cc s/if \(rpcit_\.changed > kBusyPages\)/if (true)/
12-idle-pins-kept ../arch/s390/rpcit.cc s/if \(trimming_helps\(why\) && /if (false \&\& trimming_helps(why) \&\& /
12-room-without-end ../arch/s390/rpcit.cc s/rpcit_\.made_room == 0 &&\n *//
12-host-is-the-guests-fault ../arch/s390/rpcit.cc s/    case Status::kUnbacked:\n//
12-status-clobbers-r1 ../arch/s390/rpcit.cc s/\(rpcit_\.gprs\[0\] & ~\(uint64_t\{0xff\} << kShift\)\)/(rpcit_.gprs[0] \& ~uint64_t{0xffffffff})/
12-event-told-twice ../arch/s390/rpcit.cc s/if \(!zpci_enter_error\(function\)\) return done\(Code::kRecover\);/zpci_enter_error(function);/
12-no-error-state ../arch/s390/zpci_function.cc s/&state, KIOMMU_ZPCI_ERROR,/&state, state,/
12-range-error-told-elsewhere ../arch/s390/rpcit.cc s/  result\.stopped_iova = range\.first\.value;\n//
13-registers-when-disabled ../arch/s390/zpci_function.cc s/    return fail\(Status::kDisabled\);\n//
13-registers-twice ../arch/s390/zpci_function.cc s/    return fail\(Status::kSequence\);\n  \}\n  const IovaRange/  }\n  const IovaRange/
13-sdma-ignored ../arch/s390/zpci_function.cc s/space\.first\.value < function\.sdma \|\|/false ||/
13-host-aperture-ignored ../arch/s390/zpci_function.cc s/ \|\|\n *!domain\.aperture\(\)\.contains\(space\)//
13-pal-not-clipped ../arch/s390/zpci_function.cc s/if \(space\.last\.value > root->reach_last\)/if (false)/
13-pba-not-rounded ../arch/s390/zpci_function.hpp s/Iova\{ioat\.pba\}\.page\(\)/Iova{ioat.pba}/
13-pal-not-rounded ../arch/s390/zpci_function.hpp s/ioat\.pal \| ~kPageMask/ioat.pal/
13-direct-without-offset ../arch/s390/zpci_function.cc s/anchor\.offset = function\.sdma;/anchor.offset = 0 * function.sdma;/
13-bad-entry-fails-registration ../arch/s390/zpci_function.cc s/is_bad_entry && has_tables\(function\.ioat\)/is_bad_entry \&\& false/
13-direct-error-ignored ../arch/s390/zpci_function.cc s/is_bad_entry && has_tables\(function\.ioat\)/is_bad_entry/
13-disabled-keeps-tables ../arch/s390/zpci_function.cc s/if \(state == KIOMMU_ZPCI_DISABLED\) \(void\)zpci/if (false) (void)zpci/
13-blocked-from-anywhere ../arch/s390/zpci_function.cc s/return from == KIOMMU_ZPCI_ERROR;/return true;/
13-unknown-state ../arch/s390/zpci_function.cc s/  if \(state > KIOMMU_ZPCI_ERROR\) return fail\(Status::kConflict\);\n//
13-joins-another-anchor core/domain.cc s/  if \(!stage1_->same_as\(\*stage1\)\) return fail\(Status::kAnchorBusy\);\n//
13-window-not-compared core/domain.hpp s/ &&\s*window == other\.window//
13-anchor-goes-with-the-first core/domain.cc s/  if \(--anchor_users_ > 0\) return \{\};\n//
13-anchor-outlives-the-last core/domain.cc s/  \+\+anchor_users_;/  anchor_users_ += 2;/
13-ticket-outlives-its-anchor core/domain.cc s/  \+\+anchor_number_;/  anchor_number_ = 1;/
END
}

copy() {
  mkdir -p "$work/src/selftests" &&
    cp -r "$root/kvm-iommu" "$root/arch" "$root/uapi" "$work/src/" &&
    cp -r "$root/selftests/port" "$root/selftests/unit" "$work/src/selftests/"
}

build() {
  make -s -j"$(nproc)" -C "$work/build" >"$work/build.log" 2>&1
}

run() {
  (ulimit -v 8000000; KIOMMU_SEEDS=5 timeout 120 "$work/build/kiommu_unit" \
    --gtest_brief=1 --gtest_fail_fast >"$work/run.log" 2>&1)
}

copy || exit 1
cmake -S "$work/src/selftests/unit" -B "$work/build" \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -Wno-error" \
  >/dev/null || exit 1
if ! build || ! run; then
  echo "the tests fail as they are"
  exit 1
fi

while read -r name file change; do
  if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
  target=$work/src/kvm-iommu/$file
  cp "$target" "$work/original"
  perl -0pi -e "$change" "$target"
  if cmp -s "$target" "$work/original"; then
    result="DOES NOT APPLY"
    survivors=$((survivors + 1))
  elif ! build; then
    result="DOES NOT BUILD"
    survivors=$((survivors + 1))
  elif run; then
    result="SURVIVES"
    survivors=$((survivors + 1))
  else
    failed=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\).*/\1/p' "$work/run.log")
    result="killed by ${failed%%$'\n'*}"
    [ -n "$failed" ] || result="killed by a crash or the time limit"
  fi
  printf '%-32s %s\n' "$name" "$result"
  cp "$work/original" "$target"
done < <(mutants)
exit "$survivors"
