"""Benches for the simulated SDRAM alone: each rule at its limit, and a cycle short of it."""

from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.board.sdram_pins import ALL_BANKS, COMMANDS
from tests.support.bench import params

LOG = Path(params()["log"])
IMAGE = Path(params()["image"])
TIMES = params()["times"]  # cycles
MODE = params()["mode"]
CAS, LENGTH = MODE >> 4, 1 << (MODE & 7)


class Driver:
    """Drive the pins, a command a cycle; and tell what the chip said."""

    def __init__(self, dut):
        self.dut = dut
        self.said = len(LOG.read_text().splitlines()) if LOG.exists() else 0

    def pin(self, name, value):
        getattr(self.dut, f"pins__{name}").value = value

    async def command(self, name, *, bank=0, a=0, wait=1, data=None, dqm=0, selected=True):
        """Give a command, then wait until the cycle that comes ``wait`` cycles after it."""
        code = COMMANDS[name]
        self.pin("cs_n", 0 if selected else 1)
        for bit, pin in enumerate(("we_n", "cas_n", "ras_n")):
            self.pin(pin, code >> bit & 1)
        self.pin("ba", bank)
        self.pin("a", a)
        for i in range(wait):
            drives = data is not None and i < LENGTH
            self.pin("dq_oe", int(drives))
            self.pin("dq_out", data[i % len(data)] if drives else 0)
            self.pin("dqm", dqm)
            await RisingEdge(self.dut.clk)
            for pin in ("we_n", "cas_n", "ras_n"):
                self.pin(pin, 1)
        self.pin("dq_oe", 0)
        self.pin("dqm", 0)

    async def idle(self, cycles=30):
        await self.command("nop", wait=cycles)

    async def close(self):
        await self.idle()
        await self.command("precharge", a=ALL_BANKS, wait=30)

    async def up(self, *, power_up=None, refreshes=None, mode=MODE):
        """Bring the chip up, for the first time."""
        Clock(self.dut.clk, 10, unit="ns", impl="gpi").start()
        self.pin("cke", 1)
        await self.idle(TIMES["power_up"] if power_up is None else power_up)
        await self.command("precharge", a=ALL_BANKS, wait=TIMES["rp"])
        for _ in range(TIMES["init_refreshes"] if refreshes is None else refreshes):
            await self.command("refresh", wait=TIMES["rfc"])
        await self.command("mode", a=mode, wait=TIMES["mrd"])

    def heard(self):
        """Return the rules that the chip named since the last call."""
        lines = LOG.read_text().splitlines()
        new, self.said = lines[self.said :], len(lines)
        assert all(line.startswith("sdram: ") for line in new)
        return [line.removeprefix("sdram: ").split(" is broken in cycle ")[0] for line in new]


DATA = [0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666, 0x7777, 0x8888]


# Each takes the driver and how many cycles to come too early.


async def trcd(d, early):
    await d.command("active", wait=TIMES["rcd"] - early)
    await d.command("read", wait=20)


async def trp(d, early):
    await d.command("active", wait=20)
    await d.command("precharge", wait=TIMES["rp"] - early)
    await d.command("active", wait=20)


async def tras(d, early):
    await d.command("active", wait=TIMES["ras"] - early)
    await d.command("precharge", wait=20)


async def trc(d, early):
    ras = TIMES["ras"]
    await d.command("active", wait=ras)
    await d.command("precharge", wait=TIMES["rc"] - ras - early)
    await d.command("active", wait=20)


async def trrd(d, early):
    await d.command("active", bank=1, wait=TIMES["rrd"] - early)
    await d.command("active", bank=2, wait=20)


async def twr(d, early):
    await d.command("active", wait=20)
    await d.command("write", data=DATA, wait=LENGTH - 1 + TIMES["wr"] - early)
    await d.command("precharge", wait=20)


async def tmrd(d, early):
    await d.command("mode", a=MODE, wait=TIMES["mrd"] - early)
    await d.command("active", wait=20)


async def trfc(d, early):
    await d.command("refresh", wait=TIMES["rfc"] - early)
    await d.command("active", wait=20)


async def read_cut_by_precharge(d, early):
    await d.command("active", wait=20)
    await d.command("read", wait=LENGTH - early)
    await d.command("precharge", wait=20)


async def read_cut_by_read(d, early):
    await d.command("active", wait=20)
    await d.command("read", wait=LENGTH - early)
    await d.command("read", wait=20)


async def contention(d, early):
    await d.command("active", wait=20)
    await d.command("read", wait=CAS + LENGTH + 1 - early)
    await d.command("write", data=DATA, wait=20)


async def masked(d, early):
    await d.command("active", wait=20)
    await d.command("read", wait=CAS + LENGTH - 2 - early)
    await d.command("nop", dqm=1, wait=1)
    await d.idle()


async def undriven(d, early):
    await d.command("active", wait=20)
    await d.command("write", data=None if early else DATA, wait=20)


async def open_twice(d, early):
    await d.command("active", wait=20)
    if not early:
        await d.command("precharge", wait=20)
    await d.command("active", wait=20)


async def read_closed(d, early):
    if not early:
        await d.command("active", bank=3, wait=20)
    await d.command("read", bank=3, wait=20)


async def refresh_open(d, early):
    await d.command("active", wait=20)
    if not early:
        await d.command("precharge", wait=20)
    await d.command("refresh", wait=20)


async def mode_open(d, early):
    await d.command("active", wait=20)
    if not early:
        await d.command("precharge", wait=20)
    await d.command("mode", a=MODE, wait=20)


async def auto_precharge(d, early):
    await d.command("active", wait=20)
    await d.command("read", a=ALL_BANKS if early else 0, wait=20)


async def clock_enable(d, early):
    d.pin("cke", 0 if early else 1)
    await d.command("active", wait=20)
    d.pin("cke", 1)


async def wrong_mode(d, early):
    await d.command("mode", a=MODE | (8 if early else 0), wait=20)
    await d.command("mode", a=MODE, wait=20)


async def latency(d, early):
    await d.command("mode", a=MODE - (16 if early else 0), wait=20)
    await d.command("mode", a=MODE, wait=20)


async def starved(d, early):
    await d.idle(9 * TIMES["refresh_interval"] - 60 + (120 if early else 0))
    await d.command("active", wait=20)


async def open_long(d, early):
    await d.command("active", wait=TIMES["ras_max"] + (1 if early else 0))
    await d.command("precharge", wait=20)


RULES = {
    "trcd": "tRCD", "trp": "tRP", "tras": "tRAS", "trc": "tRC", "trrd": "tRRD", "twr": "tWR",
    "tmrd": "tMRD", "trfc": "tRFC", "starved": "tREF", "open_long": "tRAS",
    "read_cut_by_precharge": "burst", "read_cut_by_read": "burst", "auto_precharge": "burst",
    "contention": "bus contention", "masked": "DQM", "undriven": "write data",
    "open_twice": "open row", "read_closed": "open row", "refresh_open": "open row",
    "mode_open": "open row", "clock_enable": "CKE", "wrong_mode": "mode register",
    "latency": "CAS latency",
}  # fmt: skip


@cocotb.test()
async def every_rule_is_kept_at_its_limit_and_broken_a_cycle_before(dut):
    d = Driver(dut)
    await d.up()
    assert d.heard() == []
    for case, rule in RULES.items():
        for early in (0, 1):
            await d.command("mode", a=MODE, wait=20)  # no refresh is due
            await globals()[case](d, early)
            await d.close()
            heard = set(d.heard())
            print(case, early, heard)
            if early:  # a row that is opened twice breaks more than one
                assert rule in heard, (case, heard)
            else:
                assert heard == set(), (case, heard)


@cocotb.test()
async def rules_of_power_up_are_kept(dut):
    d = Driver(dut)
    how = params()["up"]
    if how == "no precharge":
        Clock(dut.clk, 10, unit="ns", impl="gpi").start()
        d.pin("cke", 1)
        await d.idle(TIMES["power_up"])
        await d.command("mode", a=MODE, wait=20)
        assert set(d.heard()) == {"initialisation"}
        return
    settings = {"early": {"power_up": TIMES["power_up"] - 1}, "few": {"refreshes": 7}, "good": {}}
    await d.up(**settings[how])
    await d.command("active", wait=20)
    assert set(d.heard()) == (set() if how == "good" else {"initialisation"})


@cocotb.test()
async def words_come_after_the_latency_and_masks_hold(dut):
    d = Driver(dut)
    await d.up()
    await d.command("active", bank=2, a=5, wait=20)
    await d.command("write", bank=2, a=8, data=DATA, wait=20)
    await d.command("write", bank=2, a=8, data=[0xAABB], dqm=2, wait=20)
    await d.command("read", bank=2, a=8, wait=CAS)
    got = []
    for _ in range(LENGTH):
        await ReadOnly()
        got.append(int(dut.pins__dq_in.value))
        await RisingEdge(dut.clk)
    assert got == [word & 0xFF00 | 0xBB for word in DATA[:LENGTH]]
    at = 2 * ((5 * 4 + 2) * 512 + 8)
    with IMAGE.open("rb") as file:
        file.seek(at)
        stored = file.read(2 * LENGTH)
    assert stored == b"".join(word.to_bytes(2, "little") for word in got)
    assert d.heard() == []


async def reads_word(d, row, column):
    await d.command("active", a=row, wait=20)
    await d.command("read", a=column, wait=CAS)
    await ReadOnly()
    word = int(d.dut.pins__dq_in.value)
    await RisingEdge(d.dut.clk)
    await d.close()
    return word


@cocotb.test()
async def faults_can_be_injected(dut):
    d = Driver(dut)
    await d.up()
    with IMAGE.open("rb") as file:
        data = file.read(8192)
    words = [int.from_bytes(data[i : i + 2], "little") for i in range(0, len(data), 2)]
    fault = params()["fault"]
    await ClockCycles(dut.clk, 2000)
    got = [await reads_word(d, row, 0) for row in (0, 1)] + [await reads_word(d, 0, 16)]
    expected = [words[0], words[2048], words[16]]
    if fault == "weak row":
        expected[1] = 0x5555
    if fault == "stuck bit":
        expected = [word | 1 << 5 for word in expected]
    if fault == "swapped lines":
        expected[2] = words[32]
    assert got == expected
