// SPDX-License-Identifier: GPL-2.0-only
//
// Walks the I/O translation tables that a machine's Linux wrote, in an image of
// the machine's memory, by the core's format and walker, and compares them with
// that Linux's report (module/report.c describes its form).
//
//   compare IMAGE REPORT SUITE LABEL
//
// prints results as selftests/report/results.py reads them. Exit status 1 if
// one failed, 2 if nothing could be compared.
#include <fcntl.h>
#include <linux/kvm_iommu.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "kvm/walk/walk.h"

namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kSegment = 1 << 20;
constexpr uint64_t kRegion = uint64_t{1} << 31;
constexpr uint32_t kReadWrite = KVM_IOMMU_READ | KVM_IOMMU_WRITE;

// What a page is mapped to.
struct Target {
  uint64_t address;
  uint32_t rights;
  bool operator==(const Target&) const = default;
};

using Pages = std::map<uint64_t, Target>;  // by IOVA

struct Function {
  std::string name;
  std::string driver;
  uint64_t iota = 0, first = 0, last = 0;
  Pages mapped;
  std::set<uint64_t> unmapped;
  Pages seen;
};

// The image, mapped privately: changes do not reach the file.
struct {
  char* bytes;
  uint64_t size;
  uint64_t last_read;
} image;

int read_image(uint64_t address, void* to, size_t size) {
  if (address > image.size || size > image.size - address) return -1;
  std::memcpy(to, image.bytes + address, size);
  image.last_read = address;
  return 0;
}

bool open_image(const char* path) {
  const int fd = open(path, O_RDONLY);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) return false;
  image.size = static_cast<uint64_t>(status.st_size);
  void* bytes =
      mmap(nullptr, image.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  close(fd);
  image.bytes = static_cast<char*>(bytes);
  return bytes != MAP_FAILED;
}

// Returns false unless the report is complete.
bool read_report(const char* path, std::vector<Function>& functions) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string what, name;
    uint64_t iova, address;
    words >> what >> name >> std::hex;
    if (what == "end") return !functions.empty();
    if (what == "function") {
      Function f;
      f.name = name;
      words >> f.driver >> f.iota >> f.first >> f.last;
      functions.push_back(f);
    } else if (functions.empty() || functions.back().name != name) {
      return false;
    } else if (what == "mapped") {
      std::string rights;
      words >> iova >> address >> rights;
      functions.back().mapped[iova] = {
          address, rights == "rw" ? kReadWrite : uint32_t{KVM_IOMMU_READ}};
    } else if (what == "unmapped") {
      words >> iova;
      functions.back().unmapped.insert(iova);
    } else if (what == "seen") {
      words >> iova >> address;
      functions.back().seen[iova] = {address, 0};
    } else {
      return false;
    }
    if (!words) return false;
  }
  return false;
}

void add_leaf(const walk_leaf* leaf, void* data) {
  auto& pages = *static_cast<Pages*>(data);
  for (uint64_t i = 0; i < leaf->pages; ++i) {
    pages[leaf->iova + i * kPage] = {leaf->address + i * kPage, leaf->rights};
  }
}

// Returns an error text, which is empty on success.
std::string walk(const Function& function, uint64_t first, uint64_t last,
                 Pages& found) {
  const walk_tables tables{.format = KVM_IOMMU_FORMAT_ZPCI,
                           .levels = 0,
                           .iota = function.iota,
                           .read = read_image};
  const int status = walk_range(&tables, first, last, add_leaf, &found);
  return status == 0 ? "" : "the walk ends with " + std::to_string(status);
}

std::string text(uint64_t iova, const Target& target) {
  char line[96];
  std::snprintf(line, sizeof line, "%" PRIx64 " -> %" PRIx64 " rights %x", iova,
                target.address, target.rights);
  return line;
}

std::string difference(const Pages& wanted, const Pages& found) {
  for (const auto& [iova, target] : wanted) {
    const auto is = found.find(iova);
    if (is == found.end()) return "missing " + text(iova, target);
    if (is->second != target) {
      return "wanted " + text(iova, target) + ", found " +
             text(iova, is->second);
    }
  }
  for (const auto& [iova, target] : found) {
    if (!wanted.contains(iova)) return "too much: " + text(iova, target);
  }
  return "";
}

std::string walk_and_compare(const Function& function, const Pages& wanted,
                             uint32_t rights_mask) {
  Pages found;
  const std::string failed = walk(function, 0, ~uint64_t{0}, found);
  if (!failed.empty()) return failed;
  for (auto& [iova, target] : found) target.rights &= rights_mask;
  return difference(wanted, found);
}

// The kernel's walk reports no rights.
std::string as_kernel_sees(const Function& function) {
  if (function.seen.empty()) return "the kernel sees nothing mapped";
  return walk_and_compare(function, function.seen, 0);
}

std::string as_caller_knows(const Function& function) {
  return walk_and_compare(function, function.mapped, kReadWrite);
}

// virtio_blk keeps its queue mapped, of which the device writes a part.
std::string writable(const Function& function) {
  Pages wanted = function.seen;
  for (auto& [iova, target] : wanted) target.rights = kReadWrite;
  return walk_and_compare(function, wanted, kReadWrite);
}

// Walks for single pages, and for the pages on either side, find the same.
std::string page_by_page(const Function& function) {
  for (const auto& [iova, target] : function.seen) {
    for (const uint64_t at : {iova - kPage, iova, iova + kPage}) {
      Pages found;
      const std::string failed = walk(function, at, at + kPage - 1, found);
      if (!failed.empty()) return failed;
      Pages wanted;
      if (const auto is = function.seen.find(at); is != function.seen.end()) {
        wanted.insert(*is);
      }
      for (auto& [where, what] : found) what.rights = 0;
      const std::string other = difference(wanted, found);
      if (!other.empty()) return other;
    }
  }
  return "";
}

std::string unmapped_are_gone(const Function& function) {
  size_t gone = 0;
  for (const uint64_t iova : function.unmapped) {
    if (function.mapped.contains(iova)) continue;  // in use again
    Pages found;
    const std::string failed = walk(function, iova, iova + kPage - 1, found);
    if (!failed.empty()) return failed;
    if (!found.empty()) return "mapped: " + text(iova, found[iova]);
    ++gone;
  }
  return gone > 100 ? "" : "only " + std::to_string(gone) + " were unmapped";
}

// The other results only mean something for tables of some size.
std::string wide(const Function& function) {
  std::set<uint64_t> regions, segments;
  size_t read_only = 0, writable = 0, breaks = 0;
  uint64_t next = 0;
  for (const auto& [iova, target] : function.mapped) {
    regions.insert(iova / kRegion);
    segments.insert(iova / kSegment);
    ++(target.rights == kReadWrite ? writable : read_only);
    breaks += target.address != next;
    next = target.address + kPage;
  }
  if (regions.size() >= 4 && segments.size() >= 16 && read_only >= 500 &&
      writable >= 500 && breaks >= 500) {
    return "";
  }
  std::ostringstream line;
  line << regions.size() << " segment tables, " << segments.size()
       << " page tables, " << read_only << " pages read-only, " << writable
       << " writable, " << breaks << " not after their neighbour";
  return line.str();
}

// The comparison notices each kind of damage to an entry in the image.
std::string damage_is_noticed(const Function& function) {
  const Pages& good = function.mapped;
  for (size_t i = 0; i < good.size(); i += good.size() / 20) {
    const uint64_t iova = std::next(good.begin(), static_cast<long>(i))->first;
    // Bytes of the entry, most significant first: 0x400, 0x200, addresses.
    for (const auto& [byte, bit] : std::initializer_list<std::pair<int, char>>{
             {6, 4}, {6, 2}, {6, 0x10}, {5, 1}, {4, 1}, {0, 1}}) {
      Pages found;
      const std::string failed = walk(function, iova, iova + kPage - 1, found);
      if (!failed.empty()) return failed;
      char& damaged =
          image.bytes[image.last_read + static_cast<uint64_t>(byte)];
      damaged = static_cast<char>(damaged ^ bit);
      const bool noticed = !as_caller_knows(function).empty();
      damaged = static_cast<char>(damaged ^ bit);
      if (!noticed) {
        return "byte " + std::to_string(byte) + " of the entry for " +
               text(iova, good.at(iova));
      }
    }
  }
  return as_caller_knows(function);
}

struct Results {
  std::string suite, label;
  int failed = 0;

  void add(const Function& function, const char* test, const std::string& why) {
    failed += !why.empty();
    std::printf("%s\t%s\t%s: %s of %s: %s\t%s\n", why.empty() ? "pass" : "fail",
                suite.c_str(), label.c_str(), function.name.c_str(),
                function.driver.c_str(), test, why.c_str());
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<Function> functions;
  if (argc != 5) {
    std::fprintf(stderr, "usage: compare IMAGE REPORT SUITE LABEL\n");
    return 2;
  }
  if (!open_image(argv[1]) || !read_report(argv[2], functions)) {
    std::fprintf(stderr, "compare: the image or its report cannot be used\n");
    return 2;
  }
  Results results{argv[3], argv[4]};
  size_t own = 0;
  for (const Function& f : functions) {
    results.add(f, "the tables hold what the kernel sees", as_kernel_sees(f));
    results.add(f, "a walk for one page finds that page", page_by_page(f));
    if (f.driver != "kiommu_image") {
      results.add(f, "all of it is writable", writable(f));
      continue;
    }
    ++own;
    results.add(f, "the tables hold what was mapped", as_caller_knows(f));
    results.add(f, "what was unmapped is gone", unmapped_are_gone(f));
    results.add(f, "the tables are wide", wide(f));
    results.add(f, "damage is noticed", damage_is_noticed(f));
  }
  if (own != 1 || functions.size() < 2) {
    std::fprintf(stderr, "compare: not the functions that should be there\n");
    return 2;
  }
  return results.failed != 0;
}
