// The file of the units' trace, `+units=`; nothing is written without it.
//
// Records follow each other, little-endian: u64 cycle, u64 bits as hw.probe.units_layout packs
// them, which hold from that cycle on. Before the first record all bits are 0.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "plusargs.h"
#include "svdpi.h"

namespace {

struct Units {
    static constexpr size_t LIMIT = 1 << 17;  // words: 1 MiB
    FILE* file = nullptr;
    std::vector<uint64_t> words;

    ~Units() {
        flush();
        if (file) std::fclose(file);
    }

    void flush() {
        if (!file || words.empty()) return;
        if (std::fwrite(words.data(), 8, words.size(), file) != words.size()) {
            std::perror("units: cannot write the trace");
            std::exit(1);
        }
        words.clear();
    }
} units;

}  // namespace

extern "C" int units_open() {
    if (const char* path = plusarg("units")) {
        units.file = std::fopen(path, "wb");
        if (!units.file) std::fprintf(stderr, "units: cannot write %s\n", path);
        units.words.reserve(Units::LIMIT);
    }
    return units.file != nullptr;
}

extern "C" void units_record(int64_t cycle, int64_t bits) {
    if (units.words.size() >= Units::LIMIT) units.flush();
    units.words.push_back(static_cast<uint64_t>(cycle));
    units.words.push_back(static_cast<uint64_t>(bits));
}
