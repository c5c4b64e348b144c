// SPDX-License-Identifier: GPL-2.0-only
//
// The list of table formats. A new format is included here and named in
// FormatList; the dispatch, KVM_IOMMU_GET_INFO and the typed test suite go by
// the list.
#pragma once

#include "arch/arm64/lpae_format.hpp"
#include "arch/riscv/sv_format.hpp"
#include "arch/s390/zpci_format.hpp"
#include "arch/x86/amd_v1_format.hpp"
#include "arch/x86/vtd_ss_format.hpp"
#include "arch/x86/x86_fs_format.hpp"
#include "tables/format.hpp"

namespace kiommu {

template <TableFormat... F>
struct Formats {
  static constexpr uint64_t kBitmap = ((uint64_t{1} << F::kId) | ...);

  // Calls f.template operator()<Format>() for the format with this id and
  // returns its result; kUnknownFormat if there is none.
  template <class T, class Function>
  static Result<T> dispatch(uint32_t id, Function&& f) {
    return try_one_of<T, F...>(id, f);
  }

 private:
  template <class T, TableFormat First, TableFormat... Others, class Function>
  static Result<T> try_one_of(uint32_t id, Function& f) {
    if (First::kId == id) return f.template operator()<First>();
    if constexpr (sizeof...(Others) > 0) {
      return try_one_of<T, Others...>(id, f);
    } else {
      return fail(Status::kUnknownFormat);
    }
  }
};

using FormatList =
    Formats<ZpciFormat, VtdSsFormat, AmdV1Format, X86FsFormat, Arm4KFormat,
            Arm16KFormat, Arm64KFormat, RiscvSvFormat>;

// The format without tables, see Refresh::identity().
inline constexpr uint32_t kIdentityFormatId = 0;

}  // namespace kiommu
