// The contents and the timing of one memory channel (see axi_dram.sv).
//
// CONTENTS. The file of `+image<channel>=` is mapped shared: what is in the file at the start is
// what the chip reads, what it writes is in the file, and another process that maps it sees it at
// once. With `+channel_bytes=` a channel is so many bytes of its file: channel 0 the first, channel 1
// those behind them, and so on. A beat outside the channel is answered with DECERR and, when read,
// zeros.
//
// TIMING. Cycles of the port's clock. Every option may carry a channel number, which wins:
// `+latency1=`.
//
//   +latency=30            from the edge that takes a read's address to that of its first beat, at
//                          the earliest. At least 1.
//   +outstanding=16        reads, and writes, that wait at a time before `ready` falls; bursts of b
//                          beats stream without a gap if it is at least latency / b
//   +row_bytes=8192        a row of a bank; consecutive rows are in consecutive banks
//   +banks=8
//   +row_miss_cycles=8     to close a bank's row and open another
//   +turn_cycles=4         between a read beat and a write beat, and the other way
//   +refresh_interval=3900 every so many cycles the channel refreshes (0: never) and
//   +refresh_cycles=40     moves no data for so long; it closes all rows
//   +write_wait=64         a write that waited so long goes before reads
//   +slverr_addr=          beats that touch this byte get SLVERR and do nothing else;
//   +slverr_count=         only so many of them, by default all
//
//   +ecc=1                 the channel's controller has SECDED over words of 8 bytes (default: 0)
//   +flip_addr=, +flip_bits=  bits of this byte of the channel that are flipped from the start
//
// ECC. With it a flipped bit is corrected when its word is read or written in part, and counted; two
// of a word are found: SLVERR, counted, and nothing is written. Without it the flipped byte is read.
//
// FAULTS. `axi_dram_fault` makes one while the simulation runs: see `Fault`. A reset ends all but
// flipped bits.
//
// There is one data bus. A beat, read or written, takes one cycle of it, so the port moves one beat
// a cycle at most, and does so across bursts when the next is queued ahead. A read that its manager
// does not take (rready low) stalls the bus. Reads go first, in order; a write goes when all of its
// beats have arrived and no read can start, or when it waited `write_wait`. Its response comes the
// cycle after its last beat. A read does not see a write whose response has not come.
//
// Opening a row starts when the request is taken or when the bank's last burst ended, whichever is
// later, so it hides behind the data of other banks (and behind the latency): a sequential stream
// that is queued ahead never waits for rows, jumping about within a bank does. Rows that a burst
// crosses into are opened in time.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plusargs.h"
#include "svdpi.h"

namespace {

constexpr int OKAY = 0, SLVERR = 2, DECERR = 3;
constexpr int INCR = 1;
constexpr size_t WRITE_BUFFER_BEATS = 512;
constexpr uint64_t NO_ROW = ~uint64_t{0};
constexpr uint64_t ECC_BYTES = 8;

// What `axi_dram_fault` does with its arguments a and b.
enum Fault {
    FAULT_FLIP = 0,    // flip the bits b of the byte at a
    FAULT_ANSWER = 1,  // answer the next beat with a: SLVERR or DECERR
    FAULT_STALL = 2,   // never again: a bit for each of STALL_*
    FAULT_ECC = 3,     // ECC from now on if a is not 0; bits that were flipped are forgotten
};
constexpr unsigned STALL_READ = 1, STALL_WRITE = 2, STALL_ADDRESS = 4;

struct Burst {
    uint64_t addr;
    unsigned beats, size, id;
    bool incr;
    uint64_t taken;  // number of the edge
    int resp = OKAY;
};

struct Dram {
    // Options
    uint64_t latency, outstanding, row_bytes, banks, row_miss, turn;
    uint64_t refresh_interval, refresh_cycles, write_wait;
    uint64_t slverr_addr, slverr_count;
    bool ecc = false;
    // Faults
    std::map<uint64_t, uint64_t> flips;  // with ECC: word to its bits that are not as written
    int next_answer = OKAY;
    unsigned stalled = 0;
    uint64_t corrected = 0, uncorrected = 0;  // since the last tick
    // Contents
    uint64_t data_bytes, size = 0;
    uint8_t* image = nullptr;

    // What the ports show
    bool awready = false, wready = false, arready = false;
    bool bvalid = false, rvalid = false, rlast = false;
    int bresp = 0, rresp = 0;
    unsigned bid = 0, rid = 0;
    std::vector<uint32_t> rdata;

    // Requests
    std::deque<Burst> reads, writes, responses;
    std::vector<uint8_t> write_data;  // ring of WRITE_BUFFER_BEATS
    std::vector<std::vector<uint8_t>> write_strobe;
    std::vector<bool> write_last;
    uint64_t write_in = 0, write_out = 0;

    // The bus
    enum { NONE, READ, WRITE } active = NONE, last = NONE;
    unsigned beat = 0;
    uint64_t beat_addr = 0;
    uint64_t last_beat = 0;  // edge
    uint64_t resume = 0;     // edge at which a burst goes on after a refresh
    uint64_t refreshes = 0;
    std::vector<uint64_t> open_row, bank_used;

    bool open(int channel, int port_bytes) {
        data_bytes = port_bytes;
        latency = std::max<uint64_t>(1, plusarg("latency", channel, 30));
        outstanding = std::max<uint64_t>(1, plusarg("outstanding", channel, 16));
        row_bytes = std::max<uint64_t>(1, plusarg("row_bytes", channel, 8192));
        banks = std::max<uint64_t>(1, plusarg("banks", channel, 8));
        row_miss = plusarg("row_miss_cycles", channel, 8);
        turn = plusarg("turn_cycles", channel, 4);
        refresh_interval = plusarg("refresh_interval", channel, 3900);
        refresh_cycles = plusarg("refresh_cycles", channel, 40);
        write_wait = plusarg("write_wait", channel, 64);
        slverr_addr = plusarg("slverr_addr", channel, ~uint64_t{0});
        slverr_count = plusarg("slverr_count", channel, ~uint64_t{0});
        rdata.assign((data_bytes + 3) / 4, 0);
        write_data.assign(WRITE_BUFFER_BEATS * data_bytes, 0);
        write_strobe.assign(WRITE_BUFFER_BEATS, std::vector<uint8_t>(data_bytes, 0));
        write_last.assign(WRITE_BUFFER_BEATS, false);
        reset();

        const std::string name = "image" + std::to_string(channel);
        const char* path = plusarg(name);
        if (!path) {
            std::fprintf(stderr, "axi_dram: +%s=<file> is missing\n", name.c_str());
            return false;
        }
        const int file = ::open(path, O_RDWR);
        struct stat status {};
        if (file < 0 || fstat(file, &status) != 0 || status.st_size == 0) {
            std::fprintf(stderr, "axi_dram: cannot open %s, or it is empty\n", path);
            return false;
        }
        uint64_t bytes = status.st_size, begin = 0;
        if (const char* text = plusarg("channel_bytes")) {
            bytes = std::strtoull(text, nullptr, 0);
            begin = channel * bytes;
            if (bytes == 0 || begin + bytes > static_cast<uint64_t>(status.st_size)) {
                std::fprintf(stderr, "axi_dram: %s has no %llu bytes of channel %d\n", path,
                             static_cast<unsigned long long>(bytes), channel);
                return false;
            }
        }
        size = bytes / data_bytes * data_bytes;
        void* at = mmap(nullptr, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (at == MAP_FAILED) {
            std::fprintf(stderr, "axi_dram: cannot map %s\n", path);
            return false;
        }
        image = static_cast<uint8_t*>(at) + begin;
        ecc = plusarg("ecc", channel, 0) != 0;
        flip(plusarg("flip_addr", channel, 0), plusarg("flip_bits", channel, 0));
        return true;
    }

    void reset() {
        awready = wready = arready = bvalid = rvalid = rlast = false;
        reads.clear();
        writes.clear();
        responses.clear();
        write_in = write_out = 0;
        active = last = NONE;
        open_row.assign(banks, NO_ROW);
        bank_used.assign(banks, 0);
        next_answer = OKAY;
        stalled = 0;
    }

    void flip(uint64_t addr, uint8_t bits) {
        if (addr >= size) return;
        if (ecc) {
            flips[addr / ECC_BYTES] ^= uint64_t{bits} << 8 * (addr % ECC_BYTES);
        } else {
            image[addr] ^= bits;
        }
    }

    void fault(int kind, uint64_t a, uint64_t b) {
        if (kind == FAULT_FLIP) flip(a, b);
        if (kind == FAULT_ANSWER) next_answer = a;
        if (kind == FAULT_STALL) stalled = a;
        if (kind == FAULT_ECC) {
            ecc = a != 0;
            flips.clear();
        }
    }

    // Correct the words that a beat touches, but for one that it writes as a whole. False: cannot.
    bool correct(uint64_t at, const std::vector<uint8_t>* strobe) {
        bool good = true;
        for (uint64_t word = at / ECC_BYTES; word <= (at + data_bytes - 1) / ECC_BYTES; ++word) {
            const auto found = flips.find(word);
            if (found == flips.end() || found->second == 0) continue;
            uint64_t written = 0;
            for (uint64_t i = 0; strobe && i < data_bytes; ++i) {
                written += (*strobe)[i] && (at + i) / ECC_BYTES == word;
            }
            if (written < ECC_BYTES) {
                if (__builtin_popcountll(found->second) > 1) {
                    ++uncorrected;
                    good = false;
                    continue;
                }
                ++corrected;
            }
            flips.erase(found);
        }
        return good;
    }

    bool busy() const {
        return !reads.empty() || !writes.empty() || !responses.empty() || write_in != write_out ||
               bvalid || rvalid;
    }

    // The first edge at which the row of a burst is open.
    uint64_t row_ready(const Burst& burst) const {
        const uint64_t row = burst.addr / row_bytes, bank = row % banks;
        if (open_row[bank] == row) return 0;
        return std::max(burst.taken, bank_used[bank]) + row_miss;
    }

    uint64_t bus_ready(int direction) const {
        return last != NONE && last != direction ? last_beat + 1 + turn : 0;
    }

    void start(int direction, const Burst& burst) {
        active = last = direction == READ ? READ : WRITE;
        beat = 0;
        beat_addr = burst.addr;
    }

    // Where a beat lies in the image, and how it is answered.
    int look_up(const Burst& burst, uint64_t& at, const std::vector<uint8_t>* strobe = nullptr) {
        at = beat_addr / data_bytes * data_bytes;
        if (!burst.incr) return SLVERR;
        if (next_answer != OKAY) return std::exchange(next_answer, OKAY);
        if (at + data_bytes > size) return DECERR;
        if (slverr_addr - at < data_bytes && slverr_count) {
            --slverr_count;
            return SLVERR;
        }
        if (!flips.empty() && !correct(at, strobe)) return SLVERR;
        return OKAY;
    }

    // Note the row as open, and go to the next beat. True after the last one.
    bool advance(const Burst& burst, uint64_t edge) {
        const uint64_t row = beat_addr / row_bytes;
        open_row[row % banks] = row;
        bank_used[row % banks] = edge;
        last_beat = edge;
        beat_addr = ((beat_addr >> burst.size) + 1) << burst.size;
        if (++beat < burst.beats) return false;
        active = NONE;
        return true;
    }

    // `edge` is the one at which a beat that is given now can be taken.
    void move_data(uint64_t edge) {
        if (refresh_interval && edge / refresh_interval != refreshes) {
            refreshes = edge / refresh_interval;
            const uint64_t refresh_end = refreshes * refresh_interval + refresh_cycles;
            resume = refresh_end + row_miss;
            std::fill(open_row.begin(), open_row.end(), NO_ROW);
            std::fill(bank_used.begin(), bank_used.end(), refresh_end);
        }
        if (active == NONE) {
            const bool whole = !writes.empty() && write_in - write_out >= writes.front().beats;
            const bool overdue = whole && edge >= writes.front().taken + write_wait;
            if (!reads.empty() && !overdue && !(stalled & STALL_READ) &&
                edge >= std::max({reads.front().taken + latency, row_ready(reads.front()),
                                  bus_ready(READ)})) {
                start(READ, reads.front());
            } else if (whole && !(stalled & STALL_WRITE) &&
                       edge >= std::max(row_ready(writes.front()), bus_ready(WRITE))) {
                start(WRITE, writes.front());
            }
        } else if (edge < resume) {
            return;
        }
        if (active != NONE && stalled & (active == READ ? STALL_READ : STALL_WRITE)) return;
        uint64_t at;
        if (active == READ && !rvalid) {
            const Burst& burst = reads.front();
            rresp = look_up(burst, at);
            if (rresp == OKAY) {
                std::memcpy(rdata.data(), image + at, data_bytes);
            } else {
                std::fill(rdata.begin(), rdata.end(), 0);
            }
            rvalid = true;
            rid = burst.id;
            rlast = advance(burst, edge);
            if (rlast) reads.pop_front();
        } else if (active == WRITE) {
            Burst& burst = writes.front();
            const uint64_t slot = write_out++ % WRITE_BUFFER_BEATS;
            int resp = look_up(burst, at, &write_strobe[slot]);
            if (resp == OKAY) {
                const uint8_t* from = &write_data[slot * data_bytes];
                const std::vector<uint8_t>& strobe = write_strobe[slot];
                for (uint64_t i = 0; i < data_bytes; ++i) {
                    if (strobe[i]) image[at + i] = from[i];
                }
            }
            if (write_last[slot] != (beat + 1 == burst.beats)) resp = SLVERR;
            burst.resp = std::max(burst.resp, resp);
            if (advance(burst, edge)) {
                responses.push_back(burst);
                writes.pop_front();
            }
        }
    }
};

std::vector<std::unique_ptr<Dram>> channels;

Burst burst_of(uint64_t addr, uint32_t packed, uint64_t edge) {
    return {addr, (packed & 0xff) + 1, packed >> 8 & 7, packed >> 13, (packed >> 11 & 3) == INCR,
            edge};
}

}  // namespace

extern "C" int axi_dram_open(int channel, int data_bytes) {
    if (channels.size() <= static_cast<size_t>(channel)) channels.resize(channel + 1);
    channels[channel] = std::make_unique<Dram>();
    return channels[channel]->open(channel, data_bytes);
}

extern "C" int64_t axi_dram_tick(int channel, int64_t edge, svBit rst, svBit awvalid,
                                 int64_t awaddr, int aw, svBit wvalid, svBit wlast,
                                 const svBitVecVal* wdata, const svBitVecVal* wstrb, svBit bready,
                                 svBit arvalid, int64_t araddr, int ar, svBit rready,
                                 svBitVecVal* rdata) {
    Dram& d = *channels[channel];
    if (rst) {
        d.reset();
        return 0;
    }
    // What was transferred at this edge
    if (d.arready && arvalid) d.reads.push_back(burst_of(araddr, ar, edge));
    if (d.awready && awvalid) d.writes.push_back(burst_of(awaddr, aw, edge));
    if (d.wready && wvalid) {
        const uint64_t slot = d.write_in++ % WRITE_BUFFER_BEATS;
        std::memcpy(&d.write_data[slot * d.data_bytes], wdata, d.data_bytes);
        for (uint64_t i = 0; i < d.data_bytes; ++i) {
            d.write_strobe[slot][i] = wstrb[i / 32] >> (i % 32) & 1;
        }
        d.write_last[slot] = wlast;
    }
    if (rready) d.rvalid = false;
    if (bready) d.bvalid = false;

    // What is shown until the next
    if (!d.responses.empty() && !d.bvalid && !(d.stalled & STALL_WRITE)) {
        d.bvalid = true;
        d.bid = d.responses.front().id;
        d.bresp = d.responses.front().resp;
        d.responses.pop_front();
    }
    d.move_data(edge + 1);
    const bool takes = !(d.stalled & STALL_ADDRESS);
    d.arready = takes && d.reads.size() < d.outstanding;
    d.awready = takes && d.writes.size() < d.outstanding;
    d.wready = d.write_in - d.write_out < WRITE_BUFFER_BEATS;
    std::memcpy(rdata, d.rdata.data(), d.rdata.size() * 4);
    const uint64_t corrected = std::min<uint64_t>(std::exchange(d.corrected, 0), 15);
    const uint64_t uncorrected = std::min<uint64_t>(std::exchange(d.uncorrected, 0), 15);
    return static_cast<int64_t>(
        uint64_t{d.busy()} | uint64_t{d.awready} << 1 | uint64_t{d.wready} << 2 |
        uint64_t{d.arready} << 3 | uint64_t{d.bvalid} << 4 | uint64_t{d.rvalid} << 5 |
        uint64_t{d.rlast} << 6 | uint64_t(d.bresp) << 8 | uint64_t(d.rresp) << 10 |
        uint64_t{d.bid} << 16 | uint64_t{d.rid} << 32 | corrected << 48 | uncorrected << 52);
}

extern "C" void axi_dram_fault(int channel, int kind, int64_t a, int64_t b) {
    channels[channel]->fault(kind, a, b);
}
