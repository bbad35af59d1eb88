"""Bench for `hw.residual`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.residual import Residual
from hw.spec.formats import RESIDUAL_WIDTH
from sim.golden.fixed import or_magnitude
from sim.golden.residual import add_residual
from tests.hw.vector_stream import numbers, seeded
from tests.support.bench import STALLS, cycle, params, sends, start, unpack, watchdog

LANES, MAX_DIM, MAX_ROWS = (params()[name] for name in ("lanes", "max_dim", "max_rows"))
BEATS = MAX_DIM // LANES
DUT = Residual(lanes=LANES, max_dim=MAX_DIM, max_rows=MAX_ROWS)
SHAPE, WORD = DUT.i_write.payload.shape(), DUT.read_data.shape()


class Golden:
    """What the memory holds, told the beats in order."""

    def __init__(self):
        self.words, self.orms = {}, {}

    def takes(self, beat):
        key, data = (beat["row"], beat["beat"]), beat["data"]
        if beat["add"]:
            data = add_residual(np.array(self.words[key]), np.array(data)).tolist()
        self.words[key] = data
        old = 0 if beat["first"] else self.orms[beat["row"]]
        self.orms[beat["row"]] = old | int(or_magnitude(data))
        return (*key, data)


def beats(count):
    """Fill the memory, then add and store at random, often where something is on its way."""
    rng = seeded()
    order = [(row, beat) for row in range(MAX_ROWS) for beat in range(BEATS)]
    payloads = []
    for row, beat in order:
        data = numbers(rng, RESIDUAL_WIDTH, LANES)
        first = int(beat == 0)
        payloads.append({"data": data, "row": row, "beat": beat, "add": 0, "first": first})
    row = beat = 0
    for _ in range(count):
        if rng.random() < 0.6:
            row, beat = rng.randrange(MAX_ROWS), rng.randrange(BEATS)
        payloads.append({
            "data": numbers(rng, RESIDUAL_WIDTH, LANES),
            "row": row,
            "beat": beat,
            "add": int(rng.random() < 0.8),
            "first": int(rng.random() < 0.2),
        })
    # At the end, ORMs in which every beat shows: a bit of its own, of either sign.
    for row in range(MAX_ROWS if count else 0):
        for beat in range(BEATS):
            bit = 1 << (beat + 7 * row) % (RESIDUAL_WIDTH - 1)
            data = [0] * (LANES - 1) + [rng.choice((bit, ~bit))]
            first = int(beat == 0)
            payloads.append({"data": data, "row": row, "beat": beat, "add": 0, "first": first})
        # A bit that comes back inverted from the memory is right after every other beat.
        for _ in range(row % 2):
            payloads.append({"data": [0] * LANES, "row": row, "beat": 0, "add": 0, "first": 0})
    return payloads


async def watches(dut, golden, expected):
    """Compare every stored beat, and apply it to the golden memory when it is stored."""
    for want in expected:
        while True:
            await ReadOnly()
            valid = int(dut.trace_valid.value)
            got = (int(dut.trace_row.value), int(dut.trace_beat.value))
            data = unpack(WORD, int(dut.trace_data.value)) if valid else None
            await RisingEdge(dut.clk)
            if valid:
                break
        assert (*got, data) == want, f"cycle {cycle()}"
        golden[want[:2]] = want[2]


async def reads(dut, rng, stored):
    """Read at random, for ever; check what was stored before, but for a beat stored just then."""
    while True:
        row, beat = rng.randrange(MAX_ROWS), rng.randrange(BEATS)
        wanted = rng.random() < 0.4
        dut.read_en.value = int(wanted)
        dut.read_row.value, dut.read_beat.value = row, beat
        await ReadOnly()
        expected = stored.get((row, beat))
        if dut.trace_valid.value and (dut.trace_row.value, dut.trace_beat.value) == (row, beat):
            expected = None
        await RisingEdge(dut.clk)
        if wanted and expected is not None:
            await ReadOnly()
            got = unpack(WORD, int(dut.read_data.value))
            assert got == expected, f"read of {row}, {beat} in cycle {cycle() - 1}"
            await RisingEdge(dut.clk)


async def rest(dut):
    await RisingEdge(dut.clk)
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            return


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), reading=[False, True])
async def memory_and_orm_equal_golden(dut, stall, reading):
    payloads, golden, stored = beats(300), Golden(), {}
    expected = [golden.takes(beat) for beat in payloads]
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    watcher = cocotb.start_soon(watches(dut, stored, expected))
    reader = cocotb.start_soon(reads(dut, seeded(), stored)) if reading else None
    await sends(dut, "i_write", SHAPE, payloads, stall=STALLS[stall])
    await rest(dut)
    assert watcher.done()
    await watcher
    if reader:
        assert not reader.done()
        reader.cancel()
    for (row, beat), data in golden.words.items():
        dut.read_en.value = 1
        dut.read_row.value, dut.read_beat.value = row, beat
        dut.orm_row.value = row
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert unpack(WORD, int(dut.read_data.value)) == data
        assert int(dut.orm.value) == golden.orms[row]
        await RisingEdge(dut.clk)


@cocotb.test()
async def orm_of_two_embeddings_is_that_of_their_sum(dut):
    """The second takes away nearly all of the first, and nothing of it may be left."""
    rng, golden, stored = seeded(), Golden(), {}
    payloads = []
    for beat in beats(0):
        payloads.append(beat | {"data": [x >> 1 for x in beat["data"]]})
    for beat in payloads.copy():
        small = [rng.randrange(-9, 9) - x for x in beat["data"]]
        payloads.append(beat | {"data": small, "add": 1})
    expected = [golden.takes(beat) for beat in payloads]
    assert max(golden.orms.values()) < 16
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    watcher = cocotb.start_soon(watches(dut, stored, expected))
    await sends(dut, "i_write", SHAPE, payloads)
    await rest(dut)
    await watcher
    for row, orm in golden.orms.items():
        dut.orm_row.value = row
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert int(dut.orm.value) == orm
        await RisingEdge(dut.clk)


async def transfers(dut, cycles):
    """Note the cycle of every transfer, for ever."""
    while True:
        await ReadOnly()
        if int(dut.i_write__valid.value) and int(dut.i_write__ready.value):
            cycles.append(cycle())
        await RisingEdge(dut.clk)


async def runs(dut, payloads):
    taken, stored = [], []

    async def traces():
        while True:
            await ReadOnly()
            if int(dut.trace_valid.value):
                stored.append(cycle())
            await RisingEdge(dut.clk)

    await start(dut)
    cocotb.start_soon(watchdog(dut, 2000))
    cocotb.start_soon(transfers(dut, taken))
    cocotb.start_soon(traces())
    await sends(dut, "i_write", SHAPE, payloads)
    await ClockCycles(dut.clk, 20)
    return taken, stored


@cocotb.test()
async def beats_are_added_every_cycle_and_stored_as_documented(dut):
    filling = beats(0)
    taken, stored = await runs(dut, filling + [beat | {"add": 1} for beat in filling])
    assert taken == list(range(taken[0], taken[0] + 2 * len(filling)))
    assert stored == [at + Residual.LATENCY for at in taken]


@cocotb.test()
async def an_addition_to_what_is_being_written_waits_four_cycles(dut):
    first = beats(0)[0]
    _, stored = await runs(dut, [first, first | {"add": 1}, first | {"add": 1}, first])
    assert [at - stored[0] for at in stored] == [0, 5, 10, 11]
