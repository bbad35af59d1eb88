"""Tests of `sim/harness/fst`: what stands in for LZ4 and zlib writes their formats."""

import random
import subprocess
import zlib

import pytest

from sim import verilate
from sim.verilator import FST

PROGRAM = r"""
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>
#include "lz4.h"
#include "zlib.h"

int main(int count, char** arguments) {
    const bool lz4 = std::string(arguments[1]) == "lz4";
    std::vector<char> in;
    for (int c; (c = getchar()) != EOF;) in.push_back(static_cast<char>(c));
    std::vector<char> out(lz4 ? LZ4_compressBound(in.size()) : compressBound(in.size()));
    uLongf size = out.size();
    if (lz4)
        size = LZ4_compress_default(in.data(), out.data(), in.size(), out.size());
    else if (compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                       reinterpret_cast<const Bytef*>(in.data()), in.size(), 4) != Z_OK)
        return 1;
    fwrite(out.data(), 1, size, stdout);
}
"""


def unpacked(block):
    """Return what an LZ4 block holds: slow, obvious code after the format's description."""
    out, at = bytearray(), 0

    def length(nibble):
        nonlocal at
        total = nibble
        while nibble == 15:
            total += block[at]
            at += 1
            if block[at - 1] != 255:
                break
        return total

    while True:
        token = block[at]
        at += 1
        count = length(token >> 4)
        out += block[at : at + count]
        at += count
        if at == len(block):
            return bytes(out)
        distance = int.from_bytes(block[at : at + 2], "little")
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])


def contents():
    rng = random.Random(1)
    words = [rng.randbytes(rng.randrange(3, 40)) for _ in range(20)]
    return {
        "empty": b"",
        "short": b"abcabcabcabc",
        "zeros": bytes(70_000),
        "random": rng.randbytes(70_000),
        "words": b"".join(rng.choice(words) for _ in range(9000)),
        "far": (start := rng.randbytes(70_000)) + start,
    }


@pytest.fixture(scope="module")
def packer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fst")
    (folder / "packer.cpp").write_text(PROGRAM)
    make_flags = verilate.find_verilator().make_flags
    compiler = next((f[4:] for f in make_flags if f.startswith("CXX=")), "c++")
    command = [compiler, "-std=c++17", "-O1", "-Wall", f"-I{FST}", "packer.cpp", "-o", "packer"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "packer"


@pytest.mark.parametrize("name", contents())
def test_lz4_blocks_hold_what_was_packed(name, packer):
    data = contents()[name]
    block = subprocess.run([packer, "lz4"], input=data, capture_output=True, check=True).stdout
    assert unpacked(block) == data
    if name in ("zeros", "words"):
        assert len(block) < len(data) / 2


@pytest.mark.parametrize("name", contents())
def test_zlib_streams_hold_what_was_packed(name, packer):
    data = contents()[name]
    stream = subprocess.run([packer, "zlib"], input=data, capture_output=True, check=True).stdout
    assert zlib.decompress(stream) == data
