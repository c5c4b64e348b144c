// SPDX-License-Identifier: GPL-2.0-only
//
// Pins, see pins.hpp.
#include "pins.hpp"

namespace kiommu {
namespace {

// Layout of a pin: page frame number | holders | flags.
constexpr uint64_t kDirty = 1;     // some holder could write
constexpr uint64_t kWritable = 2;  // pinned for writing
constexpr uint64_t kValid = 4;
constexpr uint64_t kUntried = 8;  // for writing: the slot did not allow it
constexpr unsigned kHoldersShift = 4;
constexpr unsigned kPfnShift = 24;
constexpr uint64_t kHolder = uint64_t{1} << kHoldersShift;
constexpr uint64_t kHoldersMask =
    ((uint64_t{1} << kPfnShift) - 1) & ~(kHolder - 1);

// A run of page frames that are unpinned together.
class UnpinRun {
 public:
  explicit UnpinRun(kiommu_mem* mem) : mem_(mem) {}

  void add(uint64_t pfn, bool dirty) {
    if (count_ > 0 && (pfn != pfn_ + count_ || dirty != dirty_)) flush();
    if (count_ == 0) {
      pfn_ = pfn;
      dirty_ = dirty;
    }
    ++count_;
  }

  void flush() {
    if (count_ > 0) kiommu_port_unpin(mem_, pfn_, count_, dirty_);
    count_ = 0;
  }

 private:
  kiommu_mem* mem_;
  uint64_t pfn_ = 0;
  uint64_t count_ = 0;
  bool dirty_ = false;
};

Status status_of(kiommu_pin_failure failure) {
  switch (failure) {
    case KIOMMU_PIN_UNBACKED:
      return Status::kUnbacked;
    case KIOMMU_PIN_MMIO:
      return Status::kMmio;
    case KIOMMU_PIN_REFUSED:
      return Status::kPinRefused;
    case KIOMMU_PIN_NO_MEMORY:
      return Status::kNoMemory;
    case KIOMMU_PIN_INTERRUPTED:
      return Status::kInterrupted;
  }
  return Status::kUnbacked;
}

}  // namespace

// Charges and pins up to `count` pages that have no pin, in `leaf`.
Pins::Got Pins::pin_missing(kiommu_mem* mem, const Radix::Leaf& leaf, Hva hva,
                            unsigned count, Rights slot_rights,
                            kiommu_u64* pfns) {
  // Near the limit: as many as it still allows.
  while (count > 0 && kiommu_port_account(mem, count) != 0) count /= 2;
  if (count == 0) return {.why = Status::kMemlock};

  kiommu_pin_result pinned{};
  const unsigned n = kiommu_port_pin(mem, hva.value, count, slot_rights.write(),
                                     pfns, &pinned);
  if (n < count) kiommu_port_unaccount(mem, count - n);
  if (n == 0) {
    return {.why = status_of(pinned.failure),
            .extent = pinned.extent > 0 ? pinned.extent : 1};
  }

  const uint64_t flags = kValid | (pinned.writable != 0 ? kWritable : 0) |
                         (slot_rights.write() ? 0 : kUntried);
  for (unsigned i = 0; i < n; ++i) {
    leaf.at(hva.page_number() + i) = (pfns[i] << kPfnShift) | flags;
  }
  leaf.add_used(n);
  pinned_ += n;
  return {.count = n};
}

// A page that was pinned through a read-only slot, whose slot allows to write
// now: tries once. Where writing needs another page (a copy), those who hold
// the old one keep it, and the right to write is not given.
void Pins::make_writable(kiommu_mem* mem, Hva hva, uint64_t& pin) {
  pin &= ~kUntried;
  kiommu_u64 pfn = 0;
  kiommu_pin_result pinned{};
  if (kiommu_port_pin(mem, hva.value, 1, 1, &pfn, &pinned) == 0) return;
  if (pinned.writable != 0 && pfn == pin >> kPfnShift) pin |= kWritable;
  // One pin is enough: that of before.
  kiommu_port_unpin(mem, pfn, 1, 0);
}

Pins::Got Pins::get(kiommu_mem* mem, Hva hva, unsigned count, Rights wanted,
                    Rights slot_rights, kiommu_u64* pfns, Rights* rights) {
  const uint64_t first = hva.page_number();
  auto leaf = tree_.ensure(first);
  if (!leaf) return {.why = leaf.error()};

  Got got;
  while (got.count < count) {
    uint64_t& pin = leaf->at(first + got.count);
    if (pin == 0) {
      unsigned missing = 1;
      while (got.count + missing < count &&
             leaf->at(first + got.count + missing) == 0) {
        ++missing;
      }
      const Got outcome =
          pin_missing(mem, *leaf, Hva::of_page(first + got.count), missing,
                      slot_rights, pfns + got.count);
      if (outcome.count == 0) {
        got.why = outcome.why;
        got.extent = outcome.extent;
        break;
      }
    }
    if (wanted.write() && slot_rights.write() && (pin & kUntried) != 0) {
      make_writable(mem, Hva::of_page(first + got.count), pin);
    }
    const Rights left =
        wanted & slot_rights & ((pin & kWritable) != 0 ? kReadWrite : kRead);
    if (!left.any()) {
      got.why = Status::kReadOnly;
      break;
    }
    if ((pin & kHoldersMask) == kHoldersMask) {
      got.why = Status::kShadowLimit;
      break;
    }
    pin += kHolder;
    if (left.write()) pin |= kDirty;
    pfns[got.count] = pin >> kPfnShift;
    rights[got.count] = left;
    ++got.count;
  }
  // Pages pinned above but then not held are idle, a new leaf may be empty.
  if (got.count < count) tree_.mark(first);
  return got;
}

void Pins::put(Hva hva) {
  const uint64_t page = hva.page_number();
  uint64_t& pin = tree_.find(page).at(page);
  pin -= kHolder;
  if ((pin & kHoldersMask) == 0) tree_.mark(page);
}

uint64_t Pins::pfn(Hva hva) const {
  const uint64_t page = hva.page_number();
  return tree_.find(page).at(page) >> kPfnShift;
}

void Pins::release_idle(kiommu_mem* mem) {
  UnpinRun run(mem);
  uint64_t released = 0;
  while (Radix::Leaf leaf = tree_.take_marked()) {
    unsigned in_leaf = 0;
    for (unsigned i = 0; i < Radix::kNodeWords; ++i) {
      uint64_t& pin = leaf.words[i];
      if ((pin & kValid) == 0 || (pin & kHoldersMask) != 0) continue;
      run.add(pin >> kPfnShift, (pin & kDirty) != 0);
      pin = 0;
      ++in_leaf;
    }
    leaf.sub_used(in_leaf);
    released += in_leaf;
    tree_.prune(leaf.base);
    kiommu_port_yield();
  }
  run.flush();
  if (released > 0) kiommu_port_unaccount(mem, released);
  pinned_ -= released;
}

}  // namespace kiommu
