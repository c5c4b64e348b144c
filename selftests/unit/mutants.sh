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

# name: invariant, then what is broken. file. perl expression on the whole file.
mutants() {
  cat <<'END'
1-walks-past-range core/walker.hpp s/intersection\(span, range\)/IovaRange{intersection(span, range).first, span.last}/
1-upper-absent-not-unmapped core/walker.hpp s/return sink_\.absent\(part\);/return level > 0 ? Result<void>{} : sink_.absent(part);/
1-last-page-forgotten core/refresh.cc s/while \(done < leaf\.pages\) \{/while (done + (leaf.pages > 1) < leaf.pages) {/
1-rights-not-compared core/shadow_entry.hpp s/return \(word & \(kPageMask \| kReadWrite\.bits\)\) == \(to\.value \| as\.bits\);/(void)as; return (word & kPageMask) == to.value && word != 0;/
1-unmap-one-too-many core/domain.cc s/shadow_\.unmap\(\{range\.first_page\(\), range\.last_page\(\)\}\)/shadow_.unmap({range.first_page(), range.last_page() + 1})/
2-unpin-before-flush core/shadow.cc s/(  hosts_\.flush_if_due\(\);\n)(  pins_\.release_idle\(mem\);\n)/$2$1/
2-no-flush core/hosts.hpp s/    kiommu_port_host_flush\(hosts_\);\n//
2-no-flush-due core/hosts.hpp s/    flush_due_ = true;\n//
2-unpin-while-held core/pins.cc s/\(pin & kValid\) == 0 \|\| \(pin & kHoldersMask\) != 0/(pin & kValid) == 0/
2-dirty-forgotten core/pins.cc s/if \(left\.write\(\)\) pin \|= kDirty;//
3-protection-ignored core/walker.hpp s/rights = rights & entry\.rights;/if (level == 0) rights = entry.rights;/
3-read-only-slot-ignored core/stage2.hpp s/return read_only \? kRead : kReadWrite;/return kReadWrite;/
3-read-only-page-ignored core/pins.cc s/\(pin & kWritable\) != 0 \? kReadWrite : kRead/kReadWrite/
4-reserved-ignored core/refresh.cc s/  if \(reserved\) \{/  if (false) {/
4-reserved-first-page core/refresh.cc s/pages = reserved->first_page\(\) - page;/pages = reserved->first_page() - page + 1;/
4-aperture-ignored core/domain.cc s/!hosts_\.aperture\(\)\.contains\(range\) \|\| //
4-window-ignored core/domain.cc s/ \|\| !stage1_->window\.contains\(range\)//
5-refusal-not-told core/shadow.cc s/if \(!refused_\) refused_ = \{run\.page, mapped\.error\(\)\};\n    return mapped;/return {};/
5-lost-rest-not-told core/refresh.cc s/if \(first < stopped_at_\) /if (false && first < stopped_at_) /
5-refused-run-kept core/shadow.cc s/    forget\(\{run\.page, run\.page \+ run\.count - 1\}\);\n//
5-pins-not-given-back core/shadow.cc s/if \(!made\) \{\n    give_back\(0\);/if (!made) {/
6-node-leaks core/radix.cc s/    pool_\.free\(node_of\(\*link\)\);\n//
6-not-unaccounted core/pins.cc s/if \(released > 0\) kiommu_port_unaccount\(mem, released\);//
6-unregister-keeps-mappings core/domain.cc s/KIOMMU_TRY\(require_anchor\(\)\);\n  clear\(\);/KIOMMU_TRY(require_anchor());/
7-no-budget core/walker.hpp s/if \(\+\+reads_ > WalkScratch::kBudget\)/if (false)/
7-tables-in-read-only-memory core/stage2.cc s/    if \(\(\*found\)->read_only\) return fail\(Status::kReadOnly\);\n    \/\/ Up/    \/\/ Up/
7-pins-not-accounted core/pins.cc s/while \(count > 0 && kiommu_port_account\(mem, count\) != 0\) count \/= 2;//
7-shadow-without-limit core/radix.cc s/if \(limit_bytes_ - bytes_ < KIOMMU_NODE_BYTES\)/if (false)/
8-unmap-splits core/unmap.cc s/drop\(\*run\); !dropped/drop({run->first, run->first}); !dropped/
8-blocks-ignored core/unmap.cc s/(Shadow::Run Shadow::block_of\(uint64_t page\) const \{\n)/$1  if (page != 0) return {page, page};\n/
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
    --gtest_brief=1 >"$work/run.log" 2>&1)
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
    failed=$(grep -o '^\[  FAILED  \] [^ ,]*' "$work/run.log" | sort -u)
    first=$(sed -n '1s/.*\] //p' <<<"$failed")
    result="killed by ${first:-a crash or the time limit}"
    result+=" and $(($(wc -l <<<"$failed") - 1)) more"
  fi
  printf '%-32s %s\n' "$name" "$result"
  cp "$work/original" "$target"
done < <(mutants)
exit "$survivors"
