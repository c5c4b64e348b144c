// SPDX-License-Identifier: GPL-2.0-only
//
// Turns what the port finds into failures, and ends at the first one: what
// other threads do after it means nothing.
#include <gtest/gtest.h>

#include <cstdlib>

#include "fake_port/violation.hpp"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  kiommu::port::set_violation_handler([](const std::string& what) {
    ADD_FAILURE() << what;
    std::abort();
  });
  return RUN_ALL_TESTS();
}
