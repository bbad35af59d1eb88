// zlib's stream without compression for Verilator's FST writer, so that a waveform needs no library.
// The writer keeps its own bytes where those that it gets here are not fewer, as they never are.

#ifndef SERRANO_ZLIB_H
#define SERRANO_ZLIB_H

#include <cstdint>
#include <cstring>
#include <initializer_list>

typedef unsigned char Bytef;
typedef unsigned long uLong;
typedef unsigned long uLongf;

#define Z_OK 0
#define Z_BUF_ERROR (-5)

// Header, checksum, and five bytes for each stored block and an empty one.
inline uLong compressBound(uLong size) { return size + 5 * (size / 65535 + 1) + 6; }

inline int compress2(Bytef* target, uLongf* length, const Bytef* source, uLong size, int) {
    if (*length < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = target;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0;
    uLong at = 0;
    do {
        const uLong count = size - at < 65535 ? size - at : 65535;
        *out++ = at + count == size;
        for (uLong field : {count, ~count}) {
            *out++ = static_cast<Bytef>(field);
            *out++ = static_cast<Bytef>(field >> 8);
        }
        if (count) std::memcpy(out, source + at, count);
        out += count;
        for (const uLong end = at + count; at < end; ++at) {
            a = (a + source[at]) % 65521;
            b = (b + a) % 65521;
        }
    } while (at < size);
    for (int shift : {24, 16, 8, 0}) *out++ = static_cast<Bytef>((b << 16 | a) >> shift);
    *length = static_cast<uLongf>(out - target);
    return Z_OK;
}

#endif
