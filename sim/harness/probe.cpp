// The trace file: all probes write to the file of `+trace=`, or nowhere without it.
//
// Records follow each other, little-endian:
//
//   u16 kind, u16 op, u16 row, u16 index, u64 cycle, then the payload in whole 8-byte words, lowest
//   first, the bits above WIDTH zero. A reader knows each kind's size from the list of probes.
//
// The file ends with a whole record after every probe_flush and at the end of the simulation.

#include <cstdint>
#include <cstdio>
#include <vector>

#include "plusargs.h"
#include "svdpi.h"

namespace {

struct Trace {
    static constexpr size_t LIMIT = 1 << 17;  // words: 1 MiB
    bool looked = false;
    FILE* file = nullptr;
    std::vector<uint64_t> words;

    ~Trace() {
        flush();
        if (file) std::fclose(file);
    }

    bool open() {
        if (looked) return file != nullptr;
        looked = true;
        if (const char* path = plusarg("trace")) {
            file = std::fopen(path, "wb");
            if (!file) std::fprintf(stderr, "probe: cannot write %s\n", path);
            words.reserve(LIMIT + 1024);
        }
        return file != nullptr;
    }

    void flush() {
        if (!file || words.empty()) return;
        if (std::fwrite(words.data(), 8, words.size(), file) != words.size() ||
            std::fflush(file) != 0) {
            std::perror("probe: cannot write the trace");
            std::exit(1);
        }
        words.clear();
    }
} trace;

}  // namespace

extern "C" int probe_open() { return trace.open(); }

extern "C" void probe_record(int kind, int op, int row, int index, int64_t cycle) {
    if (trace.words.size() >= Trace::LIMIT) trace.flush();
    trace.words.push_back(uint64_t(kind & 0xffff) | uint64_t(op & 0xffff) << 16 |
                          uint64_t(row & 0xffff) << 32 | uint64_t(index & 0xffff) << 48);
    trace.words.push_back(static_cast<uint64_t>(cycle));
}

extern "C" void probe_word(int64_t word) { trace.words.push_back(static_cast<uint64_t>(word)); }

extern "C" void probe_flush() { trace.flush(); }
