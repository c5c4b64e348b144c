// SPDX-License-Identifier: GPL-2.0-only
//
// Turns what the port finds into failures of the test that is running.
#include <gtest/gtest.h>

#include "fake_port/violation.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  kiommu::port::set_violation_handler(
      [](const std::string& what) { ADD_FAILURE() << what; });
  return RUN_ALL_TESTS();
}
