// SPDX-License-Identifier: GPL-2.0-only
//
// Nodes: the only memory that the core may ask for.
#pragma once

#include <cstdint>

namespace kiommu::port {

// Nodes that are allocated now, in all of the process.
std::int64_t live_nodes();

}  // namespace kiommu::port
