// SPDX-License-Identifier: GPL-2.0-only
//
// How the port reports that the core broke a rule of the kernel: it unpinned a
// page that a device can reach, split a large page, leaked. Tests turn a report
// into a failure; without a handler the process aborts, as a fuzzer needs it
// to.
#pragma once

#include <sstream>
#include <string>

namespace kiommu::port {

using ViolationHandler = void (*)(const std::string& what);

void set_violation_handler(ViolationHandler handler);
void report_violation(const std::string& what);

template <class... Part>
[[gnu::cold]] void violation(const Part&... part) {
  std::ostringstream text;
  text << std::hex << std::showbase;
  (text << ... << part);
  report_violation(text.str());
}

}  // namespace kiommu::port
