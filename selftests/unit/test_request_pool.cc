// SPDX-License-Identifier: GPL-2.0-only
//
// Requests of a domain: who is killed while he waits for a range leaves
// nothing taken.
#include "../../kvm-iommu/core/request_pool.hpp"

#include "world.hpp"

namespace kiommu::test {
namespace {

TEST(RequestPool, KilledExchangeGivesItsRequestBack) {
  World<VtdSsFormat> world;
  world.shared([&](kiommu_domain*) {
    kiommu_monitor* monitor = kiommu_port_monitor_create();
    {
      RequestPool pool(world.iommus.handle(), monitor,
                       Request::create(world.iommus.handle()));
      Request* other = pool.take({0, 511});
      Request* killed = pool.take({512, 1023});
      faults().interrupt.arm_always();
      EXPECT_FALSE(pool.exchange(*killed, {0, 1023}));
      faults() = {};
      Request* next = pool.take({512, 1023});
      EXPECT_EQ(next, killed);
      pool.give(*next);
      pool.give(*other);
    }
    kiommu_port_monitor_destroy(monitor);
    return 0;
  });
}

}  // namespace
}  // namespace kiommu::test
