"""Bench for `hw.argmax`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.argmax import ArgMax
from hw.spec.formats import RESIDUAL_WIDTH
from sim.golden.argmax import argmax
from tests.hw.vector_stream import numbers, seeded
from tests.support.bench import STALLS, params, sends, start, unpack, watchdog

LANES, MAX_ROWS, MAX_VOCAB = (params()[name] for name in ("lanes", "max_rows", "max_vocab"))
DUT = ArgMax(lanes=LANES, max_rows=MAX_ROWS, max_vocab=MAX_VOCAB)
SHAPE = DUT.i_logits.payload.shape()
HIGH = (1 << (RESIDUAL_WIDTH - 1)) - 1


def logits(rng, kind, count):
    """Return a row: of all sizes, few values with many ties, rising, falling, or the lowest."""
    if kind == 0:
        return numbers(rng, RESIDUAL_WIDTH, count)
    if kind == 1:
        return [rng.choice((-2, -1, 7)) for _ in range(count)]
    if kind == 2:
        return sorted(numbers(rng, RESIDUAL_WIDTH, count))
    if kind == 3:
        return sorted(numbers(rng, RESIDUAL_WIDTH, count), reverse=True)
    return [-HIGH - 1] * count


def searches(rng, beats, valid_count, kinds):
    """Return the beats of a search in every row, mixed, and each row's index and value."""
    rows = [logits(rng, kind, beats * LANES) for kind in kinds]
    waiting = {row: list(range(beats)) for row in range(MAX_ROWS)}
    payloads = []
    while waiting:
        row = rng.choice(list(waiting))
        for _ in range(rng.randrange(1, 5)):
            if row in waiting:
                beat = waiting[row].pop(0)
                payloads.append({
                    "data": rows[row][beat * LANES : (beat + 1) * LANES],
                    "row": row,
                    "index": beat * LANES,
                    "first": int(beat == 0),
                    "valid_count": valid_count,
                })
                if not waiting[row]:
                    del waiting[row]
    if not valid_count:
        return payloads, [(0, 0)] * MAX_ROWS
    best = argmax(np.array([row[:valid_count] for row in rows])).tolist()
    return payloads, [(index, row[index]) for index, row in zip(best, rows, strict=True)]


async def result(dut, row):
    dut.result_row.value = row
    await RisingEdge(dut.clk)
    await ReadOnly()
    value = unpack(DUT.result_value.shape(), int(dut.result_value.value))
    got = int(dut.result_index.value), value
    await RisingEdge(dut.clk)
    return got


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), valid=["all", "some", "one", "none"])
async def results_equal_golden(dut, stall, valid):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    for beats in (1, 2, MAX_VOCAB // LANES):
        count = {"all": beats * LANES, "one": 1, "none": 0}.get(valid)
        count = rng.randrange(1, beats * LANES) if count is None else count
        kinds = [rng.randrange(5) for _ in range(MAX_ROWS)]
        payloads, expected = searches(rng, beats, count, kinds)
        await sends(dut, "i_logits", SHAPE, payloads, stall=STALLS[stall])
        await ClockCycles(dut.clk, DUT.latency)
        await ReadOnly()
        assert not int(dut.busy.value)
        await RisingEdge(dut.clk)
        assert [await result(dut, row) for row in range(MAX_ROWS)] == expected


@cocotb.test()
async def beats_are_taken_every_cycle_and_show_as_documented(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    payloads, best = [], []
    for beat in range(MAX_VOCAB // LANES):
        # Each beat is better than those before, in one row.
        data = [beat * 10 + rng.randrange(10) for _ in range(LANES)]
        payloads.append({"data": data, "row": 1, "index": beat * LANES, "first": int(beat == 0)})
        payloads[-1]["valid_count"] = MAX_VOCAB
        best.append(max(data))
    cocotb.start_soon(sends(dut, "i_logits", SHAPE, payloads))
    dut.result_row.value = 1
    # The first transfer is in the cycle that begins here.
    for number in range(DUT.latency + 1 + len(payloads)):
        await ReadOnly()
        assert int(dut.i_logits__ready.value)
        shown = number - (DUT.latency + 1)
        if shown >= 0:
            assert int(dut.result_value.value) == best[shown], f"beat {shown}"
        await RisingEdge(dut.clk)
