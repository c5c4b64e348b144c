// SPDX-License-Identifier: GPL-2.0-only
//
// Workspaces of a domain: a caller that is killed while it waits for a range
// keeps none.
#include "workspace/pool.hpp"

#include "lib/world.hpp"

namespace kiommu::test {
namespace {

TEST(WorkspacePool, KilledExchangeGivesItsWorkspaceBack) {
  World<VtdSsFormat> world;
  world.shared([&](kiommu_domain*) {
    kiommu_mutex* mutex = kiommu_port_mutex_create();
    {
      WorkspacePool pool(world.iommus.handle(), mutex,
                         Workspace::create(world.iommus.handle()));
      Workspace* other = pool.take({0, 511});
      Workspace* killed = pool.take({512, 1023});
      faults().interrupt.arm_always();
      EXPECT_FALSE(pool.exchange(*killed, {0, 1023}));
      faults() = {};
      Workspace* next = pool.take({512, 1023});
      EXPECT_EQ(next, killed);
      pool.give(*next);
      pool.give(*other);
    }
    kiommu_port_mutex_destroy(mutex);
    return 0;
  });
}

}  // namespace
}  // namespace kiommu::test
