// The contents and the rules of an SDR-SDRAM chip (see sdram.sv): 4 banks x 8192 rows x 512 words.
//
// CONTENTS. The file of `+sdram=`, mapped shared, and made as long as the chip if it is shorter.
// Word (row, bank, column) is word (row * 4 + bank) * 512 + column of the file.
//
// RULES. Broken ones are told in a sentence on standard output with rule, cycle and bank, and end
// the simulation; with `+sdram_log=<file>` they are written there, and it goes on. The times of the
// chip, in picoseconds, are turned into cycles here, independently of the controller's table:
//
//   +sdram_clock_hz=       the clock
//   +sdram_trcd= ...       trp, tras, tras_max, trc, trfc, trrd, twr, tmrd, tref, tcl2, tcl3,
//                          power_up, in picoseconds
//   +sdram_trrd_clocks= ...  twr_clocks, tmrd_clocks: at least so many cycles
//   +sdram_init_refreshes=
//   +sdram_delay=0         cycles by which `dq_read` is late: registers of the pins and the way
//
// `sim/harness/sdram.py` writes them for the chips of `hw/board/sdram_timing.py`. The chip is used
// with bursts of fixed length that nothing cuts short, and without auto precharge, burst stop and
// power down; those are broken rules too.
//
// FAULTS to inject:
//
//   +sdram_retention=      picoseconds that a row keeps its data, by default tref
//   +sdram_weak_row=       that row of all banks keeps them only for
//   +sdram_weak_retention=
//   +sdram_stuck_bit=      a data line that always is
//   +sdram_stuck_value=0
//   +sdram_swap_a=         two address lines are exchanged for rows and columns (not for the
//   +sdram_swap_b=         mode register, which would be a chip that does not start)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "plusargs.h"
#include "svdpi.h"

namespace {

constexpr uint64_t ROWS = 8192, BANKS = 4, COLUMNS = 512;
constexpr uint64_t SIZE = 2 * ROWS * BANKS * COLUMNS;
constexpr int64_t NEVER = -(int64_t{1} << 62);
constexpr int ALL = -1;  // in place of a bank
constexpr int MAX_POSTPONED = 8;
constexpr uint64_t NONE = ~uint64_t{0};

// Pins cs_n, ras_n, cas_n, we_n.
enum Command { MODE, REFRESH, PRECHARGE, ACTIVE, WRITE, READ, STOP, NOP };
const char* const NAMES[] = {"MODE", "REFRESH", "PRECHARGE", "ACTIVE", "WRITE", "READ", "STOP"};

struct Bank {
    bool open = false;
    int64_t row = 0, active = NEVER, precharge = NEVER;
    int64_t read = NEVER;        // edge of the last READ
    int64_t write_word = NEVER;  // edge of the last word written
};

struct Sdram {
    // Options, times in cycles
    uint64_t clock_hz;
    int64_t rcd, rp, ras, ras_max, rc, rfc, rrd, wr, mrd, power_up, retention, weak_retention;
    uint64_t cl2_ps, cl3_ps, init_refreshes, weak_row, stuck_bit, stuck_value, swap_a, swap_b;
    int64_t delay;
    double interval;
    FILE* log = nullptr;
    uint16_t* image = nullptr;

    // The chip
    std::array<Bank, BANKS> banks;
    int64_t now = 0, refresh = NEVER, mode = NEVER, column = NEVER;
    uint64_t refreshes = 0, refresh_row = 0;
    bool precharged = false;
    int cas = 0, length = 0;
    double next_due = 0;
    int due = 0;
    std::vector<int64_t> restored;  // edge at which a row's charge was last whole
    struct Word {
        int64_t edge = NEVER;
        uint16_t data = 0;
    };
    std::array<Word, 64> sent;  // by edge: what is on the bus when it is sampled
    int64_t write_column = 0;
    int write_left = 0, write_bank = 0;
    bool broken = false;

    const Word& at(int64_t edge) const { return sent[edge & 63]; }
    bool sends(int64_t edge) const { return edge >= 0 && at(edge).edge == edge; }

    // Times that are limits from below are rounded up, the others down.
    int64_t cycles(const char* name, uint64_t least = 0, bool up = true) const {
        const std::string option = std::string("sdram_") + name;
        const char* text = plusarg(option);
        const uint64_t ps = text ? std::strtoull(text, nullptr, 0) : 0;
        const auto product = static_cast<unsigned __int128>(ps) * clock_hz;
        const auto second = static_cast<unsigned __int128>(1000000000000);
        return std::max<int64_t>((product + (up ? second - 1 : 0)) / second, least);
    }

    static uint64_t number(const char* name, uint64_t otherwise) {
        const char* text = plusarg(std::string("sdram_") + name);
        return text ? std::strtoull(text, nullptr, 0) : otherwise;
    }

    bool open() {
        clock_hz = number("clock_hz", 0);
        if (clock_hz == 0) {
            std::fprintf(stderr, "sdram: +sdram_clock_hz= is missing\n");
            return false;
        }
        rcd = cycles("trcd");
        rp = cycles("trp");
        ras = cycles("tras");
        ras_max = cycles("tras_max", 0, false);
        rc = cycles("trc");
        rfc = cycles("trfc");
        rrd = cycles("trrd", number("trrd_clocks", 1));
        wr = cycles("twr", number("twr_clocks", 1));
        mrd = cycles("tmrd", number("tmrd_clocks", 1));
        power_up = cycles("power_up");
        cl2_ps = number("tcl2", 0);
        cl3_ps = number("tcl3", 0);
        init_refreshes = number("init_refreshes", 8);
        interval = static_cast<double>(number("tref", 0)) * clock_hz / 1e12 / ROWS;
        retention = cycles(plusarg("sdram_retention") ? "retention" : "tref", 0, false);
        weak_row = number("weak_row", NONE);
        weak_retention = cycles("weak_retention", 0, false);
        stuck_bit = number("stuck_bit", NONE);
        stuck_value = number("stuck_value", 0);
        swap_a = number("swap_a", 0);
        swap_b = number("swap_b", 0);
        delay = static_cast<int64_t>(number("delay", 0));
        restored.assign(ROWS * BANKS, 0);
        if (const char* path = plusarg("sdram_log")) {
            log = std::fopen(path, "w");
            if (!log) {
                std::fprintf(stderr, "sdram: cannot write %s\n", path);
                return false;
            }
        }

        const char* path = plusarg("sdram");
        if (!path) {
            std::fprintf(stderr, "sdram: +sdram=<file> is missing\n");
            return false;
        }
        const int file = ::open(path, O_RDWR);
        struct stat status {};
        if (file < 0 || fstat(file, &status) != 0) {
            std::fprintf(stderr, "sdram: cannot open %s\n", path);
            return false;
        }
        if (static_cast<uint64_t>(status.st_size) > SIZE) {
            std::fprintf(stderr, "sdram: %s has %lld bytes, the chip only %llu\n", path,
                         static_cast<long long>(status.st_size),
                         static_cast<unsigned long long>(SIZE));
            return false;
        }
        if (static_cast<uint64_t>(status.st_size) < SIZE && ftruncate(file, SIZE) != 0) {
            std::fprintf(stderr, "sdram: cannot lengthen %s\n", path);
            return false;
        }
        void* at = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        if (at == MAP_FAILED) {
            std::fprintf(stderr, "sdram: cannot map %s\n", path);
            return false;
        }
        image = static_cast<uint16_t*>(at);
        return true;
    }

    void breaks(const std::string& rule, int bank, const std::string& what) {
        broken = true;
        const std::string where = bank == ALL ? "" : ", bank " + std::to_string(bank);
        FILE* to = log ? log : stdout;
        std::fprintf(to, "sdram: %s is broken in cycle %lld%s: %s\n", rule.c_str(),
                     static_cast<long long>(now), where.c_str(), what.c_str());
        std::fflush(to);
    }

    // `least` cycles must have passed since the edge `since`.
    void needs(const char* rule, int bank, const char* command, const char* after, int64_t since,
               int64_t least) {
        if (now - since >= least) return;
        breaks(rule, bank, std::string(command) + " comes " + std::to_string(now - since) +
                               " cycles after " + after + ", not " + std::to_string(least));
    }

    uint16_t* word(int bank, int64_t row, int64_t column) {
        return image + (row * BANKS + bank) * COLUMNS + column;
    }

    // A row's cells are read and written back: what has leaked by now is lost.
    void restore(int bank, int64_t row) {
        int64_t& last = restored[row * BANKS + bank];
        const bool weak = static_cast<uint64_t>(row) == weak_row;
        if (now - last > (weak ? weak_retention : retention)) {
            for (uint64_t c = 0; c < COLUMNS; ++c) *word(bank, row, c) = c & 1 ? 0xaaaa : 0x5555;
        }
        last = now;
    }

    uint16_t line(uint16_t data) const {
        if (stuck_bit == NONE) return data;
        return stuck_value ? data | 1 << stuck_bit : data & ~(1 << stuck_bit);
    }

    int swapped(int address) const {
        const int differ = (address >> swap_a ^ address >> swap_b) & 1;
        return address ^ (differ << swap_a) ^ (swap_a == swap_b ? 0 : differ << swap_b);
    }

    void do_mode(int address) {
        for (int b = 0; b < static_cast<int>(BANKS); ++b) {
            if (banks[b].open) breaks("open row", b, "MODE while a row is open");
            needs("tRP", b, "MODE", "PRECHARGE", banks[b].precharge, rp);
        }
        length = 1 << (address & 7);
        cas = address >> 4 & 7;
        const bool odd = (address & 7) > 3 || address & 8 || address >> 7;
        if (odd) breaks("mode register", ALL, "word " + std::to_string(address));
        const uint64_t least_ps = cas == 2 ? cl2_ps : cl3_ps;
        if (cas != 2 && cas != 3) {
            breaks("CAS latency", ALL, "it is " + std::to_string(cas) + ", not 2 or 3");
        } else if (static_cast<double>(least_ps) * clock_hz > 1e12) {
            breaks("CAS latency", ALL,
                   "a latency of " + std::to_string(cas) + " needs a clock period of " +
                       std::to_string(least_ps) + " ps at least");
        }
        mode = now;
        due = 0;
        next_due = now + interval;
    }

    void do_refresh() {
        for (int b = 0; b < static_cast<int>(BANKS); ++b) {
            if (banks[b].open) breaks("open row", b, "REFRESH while a row is open");
            needs("tRP", b, "REFRESH", "PRECHARGE", banks[b].precharge, rp);
            needs("tRC", b, "REFRESH", "ACTIVE", banks[b].active, rc);
            restore(b, refresh_row);
        }
        ++refreshes;
        refresh_row = (refresh_row + 1) % ROWS;
        refresh = now;
        due = std::max(due - 1, -MAX_POSTPONED);
    }

    void do_precharge(int first, int last) {
        for (int b = first; b <= last; ++b) {
            Bank& bank = banks[b];
            if (!bank.open) continue;
            needs("tRAS", b, "PRECHARGE", "ACTIVE", bank.active, ras);
            if (now - bank.active > ras_max) breaks("tRAS", b, "the row was open for too long");
            needs("tWR", b, "PRECHARGE", "the last word written", bank.write_word, wr);
            needs("burst", b, "PRECHARGE", "READ", bank.read, length);
            bank.open = false;
            bank.precharge = now;
        }
        if (last - first + 1 == static_cast<int>(BANKS)) precharged = true;
    }

    // A controller that was reset brings the chip up again: nothing is due after MODE.
    void is_refreshed(int b, const char* command) {
        if (due <= MAX_POSTPONED) return;
        breaks("tREF", b, std::string(command) + " while " + std::to_string(due) +
                              " refreshes are due, not " + std::to_string(MAX_POSTPONED));
        due = 0;
    }

    void do_active(int b, int address) {
        Bank& bank = banks[b];
        is_refreshed(b, "ACTIVE");
        if (refreshes < init_refreshes || mode == NEVER) {
            breaks("initialisation", b, "ACTIVE after " + std::to_string(refreshes) +
                                            " REFRESH and " + (mode == NEVER ? "no" : "one") +
                                            " MODE");
        }
        if (bank.open) breaks("open row", b, "ACTIVE while a row is open");
        needs("tRP", b, "ACTIVE", "PRECHARGE", bank.precharge, rp);
        needs("tRC", b, "ACTIVE", "ACTIVE", bank.active, rc);
        for (const Bank& other : banks) {
            if (&other != &bank) needs("tRRD", b, "ACTIVE", "ACTIVE", other.active, rrd);
        }
        bank.open = true;
        bank.active = now;
        bank.row = swapped(address) % ROWS;
        restore(b, bank.row);
    }

    void do_column(Command command, int b, int address) {
        Bank& bank = banks[b];
        is_refreshed(b, NAMES[command]);
        if (!bank.open) breaks("open row", b, std::string(NAMES[command]) + " with no row open");
        needs("tRCD", b, NAMES[command], "ACTIVE", bank.active, rcd);
        needs("burst", b, NAMES[command], "READ or WRITE", column, length);
        if (now - bank.active > ras_max) breaks("tRAS", b, "the row is open for too long");
        if (address >> 10 & 1) breaks("burst", b, "auto precharge");
        column = now;
        const int64_t start = swapped(address) % COLUMNS;
        if (command == WRITE) {
            write_left = length;
            write_bank = b;
            write_column = start;
        } else {
            bank.read = now;
            for (int i = 0; i < length; ++i) {
                const int64_t c = (start & ~int64_t{length - 1}) | ((start + i) & (length - 1));
                sent[(now + cas + i) & 63] = {now + cas + i, *word(b, bank.row, c)};
            }
        }
    }

    void do_data(bool drives, uint16_t data, int masks) {
        if (drives && (sends(now) || sends(now - 1))) {
            breaks("bus contention", ALL, "the controller drives DQ while the chip does");
        }
        // A mask takes two cycles to reach the words that the chip sends.
        if (masks && sends(now + 2)) breaks("DQM", ALL, "a word that is read is masked");
        if (write_left == 0) return;
        Bank& bank = banks[write_bank];
        if (!drives) breaks("write data", write_bank, "nobody drives DQ");
        uint16_t* at = word(write_bank, bank.row, write_column);
        data = line(data);
        if (!(masks & 1)) *at = (*at & 0xff00) | (data & 0x00ff);
        if (!(masks & 2)) *at = (*at & 0x00ff) | (data & 0xff00);
        bank.write_word = now;
        write_column = (write_column & ~int64_t{length - 1}) | ((write_column + 1) & (length - 1));
        --write_left;
    }

    int tick(int64_t cycle, int pins, int address, int dq, int masks) {
        now = cycle;
        broken = false;
        const bool selected = !(pins >> 3 & 1);
        const Command command = selected ? static_cast<Command>(pins & 7) : NOP;
        const int b = address >> 13 & 3, a = address & 0x1fff;
        if (command != NOP) {
            if (!(pins >> 4 & 1)) breaks("CKE", ALL, "a command while it is low");
            if (now < power_up) {
                breaks("initialisation", ALL, std::string(NAMES[command]) + " before cycle " +
                                                  std::to_string(power_up));
            }
            const bool all = command == PRECHARGE && a >> 10 & 1;
            if (!precharged && !all) {
                breaks("initialisation", ALL,
                       std::string(NAMES[command]) + " before a PRECHARGE of all banks");
            }
            const bool of_bank = command == ACTIVE || command == WRITE || command == READ ||
                                 (command == PRECHARGE && !all);
            const int whose = of_bank ? b : ALL;
            needs("tRFC", whose, NAMES[command], "REFRESH", refresh, rfc);
            needs("tMRD", whose, NAMES[command], "MODE", mode, mrd);
            switch (command) {
                case MODE: do_mode(a); break;
                case REFRESH: do_refresh(); break;
                case PRECHARGE: do_precharge(all ? 0 : b, all ? BANKS - 1 : b); break;
                case ACTIVE: do_active(b, a); break;
                case STOP: breaks("burst", ALL, "STOP"); break;
                default: do_column(command, b, a);
            }
        }
        const bool wrote = write_left != 0;
        do_data(dq >> 16 & 1, dq & 0xffff, masks);
        if (mode != NEVER && now >= next_due) {
            next_due += interval;
            ++due;
        }
        // What the next edge samples; between bursts the bus floats, to anything.
        const int64_t shown = now + 1 - delay;
        const uint16_t data = sends(shown) ? line(at(shown).data) : now * 40503;
        return data | (broken && !log) << 16 | sends(now) << 17 | wrote << 18;
    }
};

Sdram chip;

}  // namespace

extern "C" int sdram_open() { return chip.open(); }

extern "C" int sdram_tick(int64_t cycle, int pins, int address, int dq, int masks) {
    return chip.tick(cycle, pins, address, dq, masks);
}
