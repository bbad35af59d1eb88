"""Bench for `hw.glu`."""

import cocotb

from hw.activation import MAX_GATE_FRACTION, MIN_GATE_FRACTION
from hw.glu import Glu
from hw.jobs import Dest
from hw.spec.config import ArchConfig
from hw.spec.formats import FFN_WIDTH, HEAD_WIDTH
from sim.golden.activation import swiglu
from tests.hw.vector_stream import Unit, numbers, seeded
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


def strips(rng, rows, count, fraction, shift):
    """Return strips of gates and ups in turn, and the products that come of them."""
    edges = [sign << fraction for sign in (1, -1, 16, -16) if 16 << fraction < 1 << HEAD_WIDTH]
    payloads, results = [], []
    for strip in range(count):
        gates = {}
        for section in (GATE, UP):
            for index in range(rows):
                for beat in range(CONFIG.beats):
                    vector = numbers(rng, HEAD_WIDTH, CONFIG.lanes, near=edges)
                    meta = {
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
                    if section == GATE:
                        gates[index, beat] = vector
                    else:
                        product = swiglu(gates[index, beat], vector, fraction, shift)
                        results.append({"data": product.tolist(), "meta": meta})
    return payloads, results


async def begin(dut, fraction, shift):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    cocotb.start_soon(obeys_rules(dut, "o_ffn"))
    dut.gate_fraction.value = fraction
    dut.shift.value = shift


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS), rows=[1, CONFIG.max_rows])
async def products_equal_golden(dut, i_stall, o_stall, rows):
    rng = seeded()
    await begin(dut, 13, 9)
    payloads, results = strips(rng, rows, 8 // rows + 2, 13, 9)
    limit = (1 << (FFN_WIDTH - 1)) - 1
    clipped = sum(abs(x) == limit for result in results for x in result["data"])
    assert 0 < clipped < len(results) * CONFIG.lanes // 2
    sender = cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads, stall=STALLS[i_stall]))
    await expects(dut, "o_ffn", UNIT.o_shape, results, stall=STALLS[o_stall])
    await sender


@cocotb.test()
@cocotb.parametrize(fraction=[MIN_GATE_FRACTION, 16, MAX_GATE_FRACTION], shift=[0, 12, 63])
async def fractions_and_shifts_reach_both_ends(dut, fraction, shift):
    rng = seeded()
    await begin(dut, fraction, shift)
    payloads, results = strips(rng, 2, 3, fraction, shift)
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    await expects(dut, "o_ffn", UNIT.o_shape, results)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    await begin(dut, 13, 9)
    rows = CONFIG.max_rows
    strip = rows * CONFIG.beats
    payloads, _ = strips(seeded(), rows, 2, 13, 9)
    dut.o_ffn__ready.value = 1
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    # A strip of gates, of ups, of gates, of ups.
    latency, cycles = await measures(dut, "i_act", "o_ffn", 2 * strip)
    assert (latency, cycles) == (strip + Glu.LATENCY, 3 * strip)
