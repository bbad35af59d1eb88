// LZ4 blocks for Verilator's FST writer, so that a waveform needs no library: the two functions that
// it calls, with a greedy search and no more. The format is that of lz4_Block_format.md.

#ifndef SERRANO_LZ4_H
#define SERRANO_LZ4_H

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

namespace serrano_lz4 {

constexpr int MIN_MATCH = 4;
constexpr int LAST_LITERALS = 5;  // a block ends with so many literals,
constexpr int MATCH_LIMIT = 12;   // and no match starts so near its end
constexpr int MAX_DISTANCE = 65535;
constexpr int HASH_BITS = 12;

inline uint32_t word(const uint8_t* at) {
    uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// What does not fit the four bits of a token follows in bytes of at most 255.
inline uint8_t* extra(uint8_t* out, int length) {
    for (length -= 15; length >= 255; length -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(length);
    return out;
}

inline uint8_t* sequence(uint8_t* out, const uint8_t* literals, int count, int distance, int match) {
    uint8_t* token = out++;
    *token = static_cast<uint8_t>((count < 15 ? count : 15) << 4);
    if (count >= 15) out = extra(out, count);
    if (count) std::memcpy(out, literals, count);
    out += count;
    if (!match) return out;  // the block's last
    *out++ = static_cast<uint8_t>(distance);
    *out++ = static_cast<uint8_t>(distance >> 8);
    const int length = match - MIN_MATCH;
    *token |= static_cast<uint8_t>(length < 15 ? length : 15);
    return length >= 15 ? extra(out, length) : out;
}

}  // namespace serrano_lz4

// Returns the size of the block, or 0 where `capacity` is below LZ4_compressBound(size).
inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    using namespace serrano_lz4;
    if (capacity < LZ4_compressBound(size)) return 0;
    const auto* in = reinterpret_cast<const uint8_t*>(source);
    auto* out = reinterpret_cast<uint8_t*>(target);
    std::vector<int> last(1 << HASH_BITS, -1);
    int anchor = 0;
    for (int at = 0; at + MATCH_LIMIT <= size;) {
        const uint32_t four = word(in + at);
        int& seen = last[four * 2654435761u >> (32 - HASH_BITS)];
        const int from = seen;
        seen = at;
        if (from < 0 || at - from > MAX_DISTANCE || word(in + from) != four) {
            ++at;
            continue;
        }
        int match = MIN_MATCH;
        while (at + match < size - LAST_LITERALS && in[from + match] == in[at + match]) ++match;
        out = sequence(out, in + anchor, at - anchor, at - from, match);
        anchor = at += match;
    }
    out = sequence(out, in + anchor, size - anchor, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(target));
}

#endif
