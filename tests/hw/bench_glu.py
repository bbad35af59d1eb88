"""Bench for `hw.glu`."""

import cocotb

from hw.activation import Activation
from hw.glu import Glu
from hw.jobs import Dest
from hw.lib.credit_queue import CreditQueue
from hw.spec.config import ArchConfig
from hw.spec.formats import FFN_WIDTH, HEAD_WIDTH, SIG_LUT_LEN
from hw.spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT
from sim.golden.activation import activate
from tests.hw.vector_stream import Unit, noise, numbers, seeded
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
UNIT = Unit(Glu(CONFIG), "i_act", "o_ffn")
GATE, UP = 0, 1


def strips(rng, rows, count, name, table_shift, shift, *, gated=True):
    """Return strips of gates, with ``gated`` and of ups in turn, and what comes of them."""
    edges = [sign * step << table_shift for sign in (1, -1) for step in (16, SIG_LUT_LEN - 1)]
    payloads, results = [], []
    for strip in range(count):
        gates = {}
        for section in (GATE, UP) if gated else (GATE,):
            for index in range(rows):
                for beat in range(CONFIG.beats):
                    vector = numbers(rng, HEAD_WIDTH, CONFIG.lanes, near=edges)
                    meta = noise(rng, UNIT.i_shape.members["meta"]) | {
                        "dest": Dest.GLU,
                        "row": rng.randrange(CONFIG.max_rows),
                        "index": index,
                        "section": section,
                        "strip": strip,
                        "beat": beat,
                        "dst": rng.randrange(1024),
                        "last": rng.randrange(2),
                    }
                    payloads.append({"data": vector, "meta": meta})
                    if section == GATE and gated:
                        gates[index, beat] = vector
                        continue
                    pair = (gates[index, beat], vector) if gated else (vector, None)
                    result = activate(*pair, name, table_shift, shift)
                    results.append({"data": result.tolist(), "meta": meta})
    return payloads, results


async def begin(dut, name, table_shift, shift, *, gated=True):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    cocotb.start_soon(obeys_rules(dut, "o_ffn"))
    dut.gated.value = gated
    dut.activation.value = ACTIVATIONS[name]
    dut.table_shift.value = table_shift
    dut.shift.value = shift


async def compares(dut, payloads, results, *, i_stall="never", o_stall="never"):
    sender = cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads, stall=STALLS[i_stall]))
    await expects(dut, "o_ffn", UNIT.o_shape, results, stall=STALLS[o_stall])
    await sender


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS), rows=[1, CONFIG.max_rows])
async def products_equal_golden(dut, i_stall, o_stall, rows):
    rng = seeded()
    await begin(dut, "silu", 9, 9)
    payloads, results = strips(rng, rows, 8 // rows + 2, "silu", 9, 9)
    limit = (1 << (FFN_WIDTH - 1)) - 1
    clipped = sum(abs(x) == limit for result in results for x in result["data"])
    assert 0 < clipped < len(results) * CONFIG.lanes // 2
    await compares(dut, payloads, results, i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS), rows=[1, CONFIG.max_rows])
async def gates_without_ups_equal_golden(dut, i_stall, o_stall, rows):
    rng = seeded()
    await begin(dut, "gelu", 8, 1, gated=False)
    payloads, results = strips(rng, rows, 8 // rows + 2, "gelu", 8, 1, gated=False)
    assert len(payloads) == len(results)
    await compares(dut, payloads, results, i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
@cocotb.parametrize(name=list(ACTIVATIONS), gated=[False, True])
async def either_kind_of_network_runs_after_the_other(dut, name, gated):
    """Gates that were kept before do not come back."""
    rng = seeded()
    await begin(dut, name, 7, 5, gated=not gated)
    await compares(dut, *strips(rng, CONFIG.max_rows, 1, name, 7, 5, gated=not gated))
    dut.gated.value = gated
    await compares(dut, *strips(rng, CONFIG.max_rows, 2, name, 7, 5, gated=gated))


@cocotb.test()
@cocotb.parametrize(table_shift=[0, 12, MAX_TABLE_SHIFT], shift=[0, 12, 63], gated=[False, True])
async def shifts_reach_both_ends(dut, table_shift, shift, gated):
    rng = seeded()
    await begin(dut, "silu", table_shift, shift, gated=gated)
    # The golden model keeps to shifts of which 64-bit sums do not overflow.
    await compares(dut, *strips(rng, 2, 3, "silu", table_shift, min(shift, 50), gated=gated))


@cocotb.test()
async def as_many_get_in_as_find_room(dut):
    """Those of the activation, and one that waits before it."""
    depth = CreditQueue(1, latency=Activation.LATENCY - CreditQueue.LATENCY).depth + 1
    await begin(dut, "silu", 9, 9, gated=False)
    rows = CONFIG.max_rows
    count = -(-4 * depth // (rows * CONFIG.beats))
    both = strips(seeded(), rows, count, "silu", 9, 9, gated=False)
    await UNIT.fills(dut, *both, depth=depth, starts=False)


@cocotb.test()
@cocotb.parametrize(gated=[False, True])
async def latency_and_throughput_are_as_documented(dut, gated):
    await begin(dut, "silu", 9, 9, gated=gated)
    rows = CONFIG.max_rows
    strip = rows * CONFIG.beats
    payloads, _ = strips(seeded(), rows, 2, "silu", 9, 9, gated=gated)
    dut.o_ffn__ready.value = 1
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    latency, cycles = await measures(dut, "i_act", "o_ffn", 2 * strip)
    # A strip of gates, of ups, of gates, of ups; or two of gates.
    assert (latency, cycles) == (
        (strip + Glu.LATENCY, 3 * strip) if gated else (Glu.LATENCY, 2 * strip)
    )
