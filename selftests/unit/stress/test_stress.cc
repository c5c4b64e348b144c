// SPDX-License-Identifier: GPL-2.0-only
//
// Threads that do everything at once to the domains of a guest, for some time,
// in rounds. Each round ends with a look at every page.
//
//   KIOMMU_STRESS_SECONDS  how long, for all kinds of hosts together
//   KIOMMU_STRESS_SEED     seed of the random numbers; else another one each
//                          time. It is printed, and part of each failure; how
//                          the threads interleave is up to the machine.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "workers.hpp"

namespace kiommu::test::stress {
namespace {

using Clock = std::chrono::steady_clock;

const HostSet kHostSets[] = {
    {"vtd", {port::kVtd}, port::kVtd},
    {"vtd4K", {port::kVtd4K}, port::kVtd4K},
    {"amd", {port::kAmd}, port::kAmd},
    {"virtio", {port::kVirtio}, port::kVirtio},
    {"mixed", {port::kVtd, port::kAmd}, port::kVirtio},
};

u64 from_environment(const char* name, u64 otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::strtoull(value, nullptr, 0)
                                            : otherwise;
}

u64 seed() {
  static const u64 value =
      from_environment("KIOMMU_STRESS_SEED", std::random_device()());
  return value;
}

class Stress : public testing::TestWithParam<HostSet> {};

TEST_P(Stress, EndsAsTheTablesSay) {
  using Step = void (Workers::*)(Random&);
  constexpr Step kSteps[] = {
      &Workers::guest_stores,   &Workers::guest_stores,
      &Workers::vmm_calls,      &Workers::vmm_calls,
      &Workers::memory_changes, &Workers::log_and_pins,
      &Workers::domains_change, &Workers::ring_driver,
      &Workers::ring_host,      &Workers::ring_host,
  };
  constexpr std::chrono::milliseconds kRound{500};
  const std::chrono::milliseconds all{
      from_environment("KIOMMU_STRESS_SECONDS", 60) * 1000 /
      std::size(kHostSets)};
  const auto end = Clock::now() + all;
  for (u64 round = 0; round == 0 || Clock::now() < end; ++round) {
    std::printf("stress: %s, seed %llu, round %llu\n", GetParam().name,
                static_cast<unsigned long long>(seed()),
                static_cast<unsigned long long>(round));
    SCOPED_TRACE(testing::Message()
                 << "seed " << seed() << ", round " << round);
    // Every second round is without injected failures, so that nothing has an
    // excuse.
    Workers workers(GetParam(), round % 2 == 0);
    const auto until = std::min(end, Clock::now() + kRound);
    std::vector<std::thread> threads;
    for (u64 i = 0; i < std::size(kSteps); ++i) {
      threads.emplace_back([&, i] {
        faults() = {};
        Random random(seed() + (round << 8) + i);
        do {
          (workers.*kSteps[i])(random);
          std::this_thread::yield();
        } while (Clock::now() < until);
      });
    }
    for (std::thread& thread : threads) thread.join();
    workers.settle();
    if (HasFailure()) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Hosts, Stress, testing::ValuesIn(kHostSets),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace kiommu::test::stress
