// SPDX-License-Identifier: GPL-2.0-only
//
// See violation.hpp.
#include "violation.hpp"

#include <cstdio>
#include <cstdlib>

namespace kiommu::port {
namespace {

void die(const std::string& what) {
  std::fprintf(stderr, "port violation: %s\n", what.c_str());
  std::abort();
}

ViolationHandler handler_in_use = die;

}  // namespace

void set_violation_handler(ViolationHandler handler) {
  handler_in_use = handler != nullptr ? handler : die;
}

void report_violation(const std::string& what) { handler_in_use(what); }

}  // namespace kiommu::port
