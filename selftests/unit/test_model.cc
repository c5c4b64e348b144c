// SPDX-License-Identifier: GPL-2.0-only
//
// Random tables, edits, refreshes, unmaps, hosts and faults against an oracle;
// see model.hpp. Seeds are fixed: a failure names the one to repeat.
#include <cstdlib>
#include <thread>

#include "lib/model.hpp"

namespace kiommu::test {
namespace {

template <class F>
class ModelTest : public FormatTest<F> {};
TYPED_TEST_SUITE(ModelTest, AllFormats);

// KIOMMU_SEEDS asks for more than the usual number.
u32 seeds() {
  const char* asked = std::getenv("KIOMMU_SEEDS");
  return asked != nullptr ? static_cast<u32>(std::atoi(asked)) : 60;
}

const std::vector<port::HostKind> kHostSets[] = {
    {port::kVtd},
    {port::kAmd},
    {port::kVirtio},
    {port::kVtd, port::kAmd},
    {port::kVtd4K, port::kVirtio},
};
constexpr unsigned kOrders[] = {port::kContiguous2M, port::kContiguous,
                                port::kShuffled, 4};

template <class Format>
void run_all(bool with_faults) {
  for (u32 seed = 1; seed <= seeds(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Model<Format> model(seed, {.hosts = kHostSets[seed % 5],
                               .faults = with_faults,
                               .order = kOrders[seed / 5 % 4]});
    model.run();
    if (testing::Test::HasFailure()) break;
  }
}

TYPED_TEST(ModelTest, AgreesWithTheSpecification) { run_all<TypeParam>(false); }

TYPED_TEST(ModelTest, AgreesWithTheSpecificationUnderFaults) {
  run_all<TypeParam>(true);
}

// The domains share no state: ThreadSanitizer watches.
TEST(Domains, AreIndependentOnDifferentThreads) {
  std::vector<std::thread> threads;
  for (u32 seed = 1; seed <= 4; ++seed) {
    threads.emplace_back([seed] {
      const ModelOptions options{.hosts = kHostSets[seed % 5], .faults = true};
      if (seed % 2 == 0) {
        Model<ZpciFormat>(seed, options).run();
      } else {
        Model<VtdSsFormat>(seed, options).run();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace kiommu::test
