// SPDX-License-Identifier: GPL-2.0-only
//
// Walk-and-compare: a refresh of 1 GiB of 4K entries of which none has changed,
// against memcmp() over as many bytes. Each pass reads 2 MiB of tables.
#include <benchmark/benchmark.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "core.h"
#include "plain_port.hpp"

extern "C" {
#include "tables.h"
}

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 262144;
constexpr std::uint64_t kIova = std::uint64_t{8} << 30;
constexpr std::uint64_t kLength = kPages * kPage;
constexpr std::uint64_t kTablesGpa = 0;
constexpr std::uint64_t kTablesBytes = std::uint64_t{8} << 20;
constexpr std::uint64_t kDataGpa = std::uint64_t{4} << 30;
constexpr std::uint64_t kDataHva = std::uint64_t{1} << 44;

enum Layout { kContiguous, kScattered };

void check(bool good, const char* what) {
  if (!good) throw std::runtime_error(what);
}

// A guest's tables with 1 GiB mapped, and a domain that shadows them.
class World {
 public:
  World(std::uint32_t format, Layout layout) {
    area_.mem =
        static_cast<char*>(std::aligned_alloc(kTablesBytes, kTablesBytes));
    area_.gpa = kTablesGpa;
    area_.size = kTablesBytes;
    std::memset(area_.mem, 0, kTablesBytes);
    mem_.tables = {kTablesGpa / kPage, kTablesBytes / kPage,
                   reinterpret_cast<kiommu_u64>(area_.mem), 0};
    mem_.data = {kDataGpa / kPage, kPages, kDataHva, 0};

    ioat_init(&tables_, format, 3, &area_);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      const std::uint64_t page = layout == kScattered ? i * 1237 % kPages : i;
      ioat_map(&tables_, kIova + i * kPage, kDataGpa + page * kPage, 0,
               IOAT_RW);
    }

    check(kiommu_core_faults_create(nullptr, &faults_) == 0, "faults");
    check(kiommu_core_create(nullptr, faults_, std::uint64_t{1} << 30,
                             &domain_) == 0,
          "create");
    kiommu_host_caps caps{};
    caps.aperture = {0, ~std::uint64_t{0}};
    caps.page_sizes = 0x40201000;
    caps.split = KIOMMU_SPLIT_PAGE;
    check(kiommu_core_set_host_caps(domain_, &caps) == 0, "caps");
    check(kiommu_core_pins_create(&mem_, 0, &pins_) == 0, "pins");
    check(kiommu_core_start(domain_, pins_) == 0, "start");
    const kvm_iommu_register_ioat ioat = ioat_anchor(&tables_);
    const kiommu_anchor anchor{ioat.format,
                               ioat.levels,
                               ioat.iota,
                               0,
                               0,
                               0,
                               KVM_IOMMU_READ | KVM_IOMMU_WRITE};
    kiommu_u32 status;
    check(kiommu_core_register_ioat(domain_, &anchor, &status) == 0,
          "register");
    check(refresh(kIova, kLength) == kPages, "map");
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    kiommu_core_destroy(domain_);
    kiommu_core_faults_destroy(faults_);
    kiommu_core_pins_destroy(pins_);
    std::free(area_.mem);
  }

  // Returns the pages mapped or unmapped.
  std::uint64_t refresh(std::uint64_t iova, std::uint64_t length) {
    const std::uint64_t end = iova + length;
    std::uint64_t changed = 0;
    kiommu_refresh_result result{};
    int error;
    do {
      error = kiommu_core_refresh(domain_, iova, end - iova, &result);
      changed += result.mapped + result.unmapped;
      iova = result.stopped_iova;
    } while (error == -EAGAIN);
    check(error == 0, "refresh");
    return changed;
  }

 private:
  kiommu_area area_{};
  ioat tables_{};
  kiommu_guest mem_{};
  kiommu_pins* pins_ = nullptr;
  kiommu_faults* faults_ = nullptr;
  kiommu_domain* domain_ = nullptr;
};

// The threads share the domain; each has a part of the range.
void BM_Refresh(benchmark::State& state, std::uint32_t format, Layout layout) {
  static World* world;
  if (state.thread_index() == 0) world = new World(format, layout);
  const std::uint64_t length = kLength / state.threads();
  std::uint64_t changed = 0;
  for (auto _ : state) {
    changed += world->refresh(kIova + state.thread_index() * length, length);
  }
  if (changed != 0) state.SkipWithError("something has changed");
  state.SetBytesProcessed(state.iterations() * (length / kPage) * 8);
  if (state.thread_index() == 0) delete world;
}

void BM_Memcmp(benchmark::State& state) {
  const std::vector<char> a(kPages * 8, 1);
  std::vector<char> b(kPages * 8, 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::memcmp(a.data(), b.data(), a.size()));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * a.size());
}

void add(const char* name, std::uint32_t format, Layout layout) {
  auto* refresh =
      benchmark::RegisterBenchmark(name, BM_Refresh, format, layout);
  refresh->UseRealTime()->Threads(1)->Threads(2);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::RegisterBenchmark("memcmp", BM_Memcmp)->UseRealTime();
  add("1 GiB as 4K", KVM_IOMMU_FORMAT_VTD_SS, kContiguous);
  add("1 GiB scattered", KVM_IOMMU_FORMAT_VTD_SS, kScattered);
  add("1 GiB as 4K, zPCI", KVM_IOMMU_FORMAT_ZPCI, kContiguous);
  add("1 GiB scattered, zPCI", KVM_IOMMU_FORMAT_ZPCI, kScattered);
  benchmark::RunSpecifiedBenchmarks();
}
