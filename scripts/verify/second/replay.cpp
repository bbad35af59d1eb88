// Drives a CXXRTL model with a recording of its ports (ports.py tells its format), and compares all
// outputs from the cycle after the first with a reset. Prints `equal <cycles>`, or
// `differs <cycle> <outputs expected> <outputs got>`.

#include <cxxrtl/cxxrtl.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using Bits = std::vector<bool>;

template <size_t N>
void put(cxxrtl::value<N>& to, const Bits& bits, int offset, int width) {
    for (int i = 0; i < width; ++i) to.set_bit(i, bits[offset + i]);
}

template <size_t N>
void take(const cxxrtl::value<N>& from, Bits& bits, int offset, int width) {
    for (int i = 0; i < width; ++i) bits[offset + i] = from.bit(i);
}

template <size_t N>
void take(const cxxrtl::wire<N>& from, Bits& bits, int offset, int width) {
    take(from.curr, bits, offset, width);
}

#include "dut.cc"
#include "dut_ports.h"

namespace {

int digit(char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; }

bool read_bits(const std::string& text, Bits& bits) {
    if (text.size() != (bits.size() + 3) / 4) return false;
    for (size_t i = 0; i < bits.size(); ++i) {
        bits[i] = digit(text[text.size() - 1 - i / 4]) >> (i % 4) & 1;
    }
    return true;
}

std::string text_of(const Bits& bits) {
    std::string text((bits.size() + 3) / 4, '0');
    for (size_t i = 0; i < bits.size(); ++i) {
        char& c = text[text.size() - 1 - i / 4];
        const int value = digit(c) | int{bits[i]} << (i % 4);
        c = "0123456789abcdef"[value];
    }
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    std::ifstream file(argc > 1 ? argv[1] : "");
    if (!file) {
        std::cerr << "replay: cannot read the recording\n";
        return 2;
    }
    Top top;
    Bits inputs(INPUTS), expected(OUTPUTS), outputs(OUTPUTS);
    std::string given, wanted;
    bool was_reset = false;
    uint64_t cycle = 0;
    for (; file >> given >> wanted; ++cycle) {
        if (!read_bits(given, inputs) || !read_bits(wanted, expected)) {
            std::cerr << "replay: cycle " << cycle << " of the recording has other ports\n";
            return 2;
        }
        set_inputs(top, inputs);
        top.step();
        if (was_reset) {
            get_outputs(top, outputs);
            if (outputs != expected) {
                std::cout << "differs " << cycle << ' ' << wanted << ' ' << text_of(outputs) << '\n';
                return 0;
            }
        }
        was_reset |= inputs[RESET];
        set_clock(top, true);
        top.step();
        set_clock(top, false);  // seen with the next inputs
    }
    std::cout << "equal " << cycle << '\n';
    return 0;
}
