// SPDX-License-Identifier: GPL-2.0-only
//
// Nodes: the only memory that the core may ask for.
#pragma once

#include <cstdint>

namespace kiommu::port {

// Nodes that this thread has allocated and not freed.
std::int64_t live_nodes();

}  // namespace kiommu::port
