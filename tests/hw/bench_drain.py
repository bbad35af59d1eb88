"""Bench for `hw.drain`."""

import random
from dataclasses import dataclass

import cocotb
from cocotb.triggers import Event, ReadOnly, RisingEdge

from hw.drain import Drain
from hw.jobs import Dest, RowScale
from hw.spec.config import ArchConfig
from hw.spec.formats import (
    ACC_WIDTH,
    BLOCK_LEN,
    EXP_WIDTH,
    MULTIPLIER_WIDTH,
    RESIDUAL_WIDTH,
    SCALED_WIDTH,
)
from sim.golden.fixed import round_shift, saturate
from sim.golden.requantise import requantise
from tests.hw.linear_jobs import WIDTHS
from tests.hw.read_port import serves
from tests.hw.vector_stream import numbers, seeded
from tests.support.bench import (
    STALLS,
    cycle,
    expects,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
LANES, BEATS, COLS = CONFIG.lanes, CONFIG.beats, CONFIG.cols
DUT = Drain(CONFIG)
STRIP, SUM = DUT.strip.shape(), DUT.sum.shape()
HEADER, O_ACT = DUT.i_header.payload.shape(), DUT.o_act.payload.shape()
LINEAR = (Dest.RESIDUAL, Dest.QKV, Dest.GLU, Dest.LOGITS)


def sums(rng, shift1, width):
    """Return 32 sums that ``shift1`` leaves in ``width`` bits, of which both ends come."""
    high = (1 << (width - 1)) - 1
    sums_ = numbers(rng, max(2, min(ACC_WIDTH, width - 1 + shift1)), BLOCK_LEN)
    if 0 <= shift1 <= ACC_WIDTH - width:
        sums_[rng.randrange(BLOCK_LEN)] = high << shift1
        sums_[rng.randrange(BLOCK_LEN)] = (-high - 1) << shift1
    return sums_


@dataclass
class Strip:
    """A strip on offer, its sums by address, its header, and the results."""

    info: dict
    sums: dict
    header: list
    results: list


class Tables:
    """Scales and exponents of attention rows."""

    def __init__(self, rng):
        rows = range(CONFIG.max_rows)
        self.scales = {
            row: {
                "shift1": (0, 1, 13, 48)[row % 4],
                "reciprocal": rng.choice((1 << 16, (1 << 15) + 1, rng.randrange(1 << 15, 1 << 16))),
                "shift2": rng.choice((31, 18, 0, 63, rng.randrange(20, 32))),
            }
            for row in rows
        }
        largest = (1 << EXP_WIDTH) - 1
        self.value_max = {
            (block, row): rng.choice((0, largest, rng.randrange(12)))
            for block in range(16)
            for row in rows
        }


def make_strip(rng, tables, dest, *, section=0, last=0, rows=None):
    """Return a strip of one job, with random numbers."""
    linear = dest in LINEAR
    if linear:
        heads, head_rows = 1, rows or rng.randrange(1, CONFIG.max_rows + 1)
    else:
        heads = rng.randrange(1, 4)
        head_rows = rng.randrange(1, CONFIG.max_rows // heads + 1)
    job = {
        "dest": dest,
        "bias": int(linear and rng.random() < 0.5),
        "heads": heads,
        "head_rows": head_rows,
        "head_blocks": rng.randrange(16),
        "row0": rng.randrange(CONFIG.max_rows - head_rows + 1),
        "dst": rng.choice((0, 1023, rng.randrange(1000))),
    }
    for index in range(3):
        job[f"shift1_{index}"] = rng.choice((0, 63, 12, rng.randrange(30)))
        job[f"shift2_{index}"] = rng.choice((0, 63, 47, rng.randrange(16, 40)))
    strip = {
        "job": job,
        "section": section,
        "section_strip": rng.randrange(16) if dest == Dest.VALUES else rng.getrandbits(16),
        "head": rng.getrandbits(8),
        "block": rng.randrange(16),
        "last": last,
        "last_row": head_rows - 1,
        "last_head": heads - 1,
    }
    near = (0, (1 << 16) - 1)
    multiplier = [rng.choice((*near, rng.getrandbits(16))) for _ in range(BLOCK_LEN)]
    bias = numbers(rng, RESIDUAL_WIDTH, BLOCK_LEN) if job["bias"] else [0] * BLOCK_LEN
    header = []
    if linear:
        parts = [multiplier]
        if job["bias"]:
            parts += [[b & 0xFFFF for b in bias], [b >> 16 & 0xFFFF for b in bias]]
        header = [part[at : at + LANES] for part in parts for at in range(0, BLOCK_LEN, LANES)]

    read, results = {}, []
    for index in range(heads * head_rows):
        head, head_row = divmod(index, head_rows)
        shift1, shift2 = job[f"shift1_{section}"], job[f"shift2_{section}"]
        factors = multiplier
        if dest == Dest.VALUES:
            scale = tables.scales[index]
            shift1 = scale["shift1"] - tables.value_max[strip["section_strip"], head_row]
            shift2 = scale["shift2"]
            factors = [scale["reciprocal"]] * BLOCK_LEN
        row_sums = sums(rng, shift1, ACC_WIDTH if dest == Dest.SCORES else SCALED_WIDTH)
        for sub in range(CONFIG.subs):
            read[index * CONFIG.subs + sub] = row_sums[sub * COLS : (sub + 1) * COLS]
        for beat in range(BEATS):
            data, clipped = [], 0
            for lane in range(LANES):
                channel = beat * LANES + lane
                clips = []
                if dest == Dest.SCORES:
                    value = round_shift(row_sums[channel], shift1)
                    value = saturate(value, WIDTHS[dest], clips.append)
                else:
                    value = requantise(
                        row_sums[channel],
                        factors[channel],
                        shift1,
                        shift2,
                        WIDTHS[dest],
                        bias[channel],
                        clips.append,
                    )
                data.append(int(value))
                clipped |= bool(clips) << lane
            end = index == heads * head_rows - 1 and beat == BEATS - 1
            dst = job["dst"] + head * job["head_blocks"] + strip["section_strip"]
            meta = {
                "dest": dest,
                "row": job["row0"] + head_row,
                "index": index,
                "head_row": head_row,
                "section": section,
                "strip": strip["section_strip"],
                "head": strip["head"],
                "block": strip["block"],
                "beat": beat,
                "dst": dst % 1024,
                "strip_end": int(end),
                "last": int(last and end),
            }
            results.append({"data": data, "clipped": clipped, "meta": meta})
    return Strip(strip, read, header, results)


class Matrix:
    """Plays `Matmul`: headers ahead, strips in both banks in turn, sums behind a read port."""

    def __init__(self, dut, tables, strips, *, stall="never"):
        self.dut = dut
        self.strips = strips
        self.stall = STALLS[stall]
        self.sums = {}
        self.loaded = [Event() for _ in strips]
        self.done = [Event() for _ in strips]
        self.first_offer = None
        for served in (
            serves(
                dut, SUM, "sum", self.sums,
                addr=("strip_bank", "sum_addr"), enable="sum_en", holds=True,
            ),
            serves(
                dut, RowScale, "scale", tables.scales,
                addr="scale_row", enable="scale_en", holds=True,
            ),
            serves(
                dut, DUT.value_max.shape(), "value_max", tables.value_max,
                addr=("value_max_block", "value_max_row"), enable="value_max_en", holds=True,
            ),
        ):  # fmt: skip
            cocotb.start_soon(served)
        cocotb.start_soon(self._headers())
        cocotb.start_soon(self._offers())

    async def _headers(self):
        for number, strip in enumerate(self.strips):
            if number >= 2:
                await self.done[number - 2].wait()
            if strip.header:
                self.dut.header_bank.value = number % 2
                self.dut.header_bias.value = strip.info["job"]["bias"]
                await sends(self.dut, "i_header", HEADER, strip.header, stall=self.stall)
            self.loaded[number].set()

    async def _offers(self):
        dut, idle = self.dut, self.stall()
        for number, strip in enumerate(self.strips):
            if strip.header:
                await self.loaded[number].wait()
            for _ in range(next(idle)):
                await RisingEdge(dut.clk)
            bank = number % 2
            for addr in range(CONFIG.max_rows * CONFIG.subs):
                self.sums[bank, addr] = strip.sums.get(addr)
            dut.strip_bank.value = bank
            dut.strip.value = pack(STRIP, strip.info)
            dut.strip_valid.value = 1
            if self.first_offer is None:
                self.first_offer = cycle()
            while True:
                await ReadOnly()
                done = int(dut.strip_done.value)
                await RisingEdge(dut.clk)
                if done:
                    break
            dut.strip_valid.value = 0
            dut.strip.value = random.Random(number).getrandbits(len(dut.strip))
            self.done[number].set()


async def drains(dut, tables, strips, *, i_stall="never", o_stall="never"):
    Matrix(dut, tables, strips, stall=i_stall)
    expected = [result for strip in strips for result in strip.results]
    await expects(dut, "o_act", O_ACT, expected, stall=STALLS[o_stall])
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert not int(dut.busy.value)
    await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def results_equal_golden(dut, i_stall, o_stall):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    tables = Tables(rng)
    strips = []
    for dest in rng.sample([*WIDTHS] * 3, 18):
        for section in range(3 if dest in LINEAR else 1):
            last = rng.randrange(2)
            strips.append(make_strip(rng, tables, dest, section=section, last=last))
    data = [x for strip in strips for result in strip.results for x in result["data"]]
    clipped = sum(r["clipped"].bit_count() for strip in strips for r in strip.results)
    assert len(data) // 50 < clipped < len(data) * 3 // 4
    await drains(dut, tables, strips, i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
@cocotb.parametrize(dest=[Dest.QKV.value, Dest.SCORES.value, Dest.VALUES.value])
async def attention_and_biases_under_every_shift(dut, dest):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    tables = Tables(rng)
    shifts = [scale["shift1"] for scale in tables.scales.values()]
    shifts = [shift - largest for shift in shifts for largest in tables.value_max.values()]
    assert min(shifts) <= -31
    assert max(shifts) == 48
    strips = [make_strip(rng, tables, Dest(dest), section=n % 3) for n in range(20)]
    await drains(dut, tables, strips)


@cocotb.test()
@cocotb.parametrize(rows=[1, CONFIG.max_rows])
async def strips_follow_back_to_back(dut, rows):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    tables = Tables(rng)
    strips = [make_strip(rng, tables, Dest.LOGITS, rows=rows) for _ in range(2)]
    count = 2 * rows * BEATS
    # Both headers are there before the first strip.
    for number, strip in enumerate(strips):
        dut.header_bank.value = number
        dut.header_bias.value = strip.info["job"]["bias"]
        await sends(dut, "i_header", HEADER, strip.header)
        strip.header.clear()
    matrix = Matrix(dut, tables, strips)
    dut.o_act__ready.value = 1
    taken = []
    while len(taken) < count:
        await ReadOnly()
        assert int(dut.i_header__ready.value)
        if int(dut.o_act__valid.value):
            taken.append(cycle())
        assert taken == [] or int(dut.busy.value)
        await RisingEdge(dut.clk)
    assert taken[0] - matrix.first_offer == Drain.LATENCY
    assert taken[-1] - taken[0] == count + 1  # two cycles between the strips


@cocotb.test()
async def multiplier_of_a_row_has_all_its_bits(dut):
    """The reciprocal of the smallest sum is 2**16, one more than a channel's scale can be."""
    assert MULTIPLIER_WIDTH == 17
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    tables = Tables(rng)
    for scale in tables.scales.values():
        scale.update(reciprocal=1 << 16, shift2=16, shift1=0)
    tables.value_max = dict.fromkeys(tables.value_max, 0)
    strip = make_strip(rng, tables, Dest.VALUES)
    await drains(dut, tables, [strip])
