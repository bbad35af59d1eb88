// Options of the simulation: `+name=value` on the simulator's command line.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>

#include "vpi_user.h"

// The text after `+name=`, or null.
inline const char* plusarg(const std::string& name) {
    s_vpi_vlog_info info;
    vpi_get_vlog_info(&info);
    const std::string start = "+" + name + "=";
    for (int i = 1; i < info.argc; ++i) {
        const std::string arg = info.argv[i];
        if (arg.compare(0, start.size(), start) == 0) return info.argv[i] + start.size();
    }
    return nullptr;
}

// The number (decimal, or hexadecimal after 0x) of `+name<channel>=`, else that of `+name=`.
inline uint64_t plusarg(const std::string& name, int channel, uint64_t otherwise) {
    const char* text = plusarg(name + std::to_string(channel));
    if (!text) text = plusarg(name);
    return text ? std::strtoull(text, nullptr, 0) : otherwise;
}
