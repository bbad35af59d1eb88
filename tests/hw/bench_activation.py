"""Bench for `hw.activation`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.activation import MAX_GATE_FRACTION, MIN_GATE_FRACTION, Activation
from hw.spec.formats import HEAD_WIDTH
from sim.golden.activation import swiglu
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

LANES = params()["lanes"]
UNIT = Unit(Activation(lanes=LANES, meta_shape=unsigned(9)), "i_pair", "o_ffn")


def beats(count):
    rng = seeded()
    payloads, results = [], []
    for number in range(count):
        fraction = rng.choice((
            MIN_GATE_FRACTION,
            MAX_GATE_FRACTION,
            rng.randrange(MIN_GATE_FRACTION, MAX_GATE_FRACTION + 1),
            rng.randrange(9, 14),
        ))
        # Where the table ends, and where its steps lie.
        edges = [16 << fraction, -(16 << fraction), 5 << (fraction - 4), -(7 << (fraction - 4))]
        gate = numbers(rng, HEAD_WIDTH, LANES, near=edges)
        up = numbers(rng, HEAD_WIDTH, LANES)
        shift = rng.choice((0, 63, rng.randrange(64), rng.randrange(5, 15)))
        meta = number % 512
        payloads.append({
            "gate": gate,
            "up": up,
            "gate_fraction": fraction,
            "shift": shift,
            "meta": meta,
        })
        # The golden model keeps to shifts of which 64-bit sums do not overflow.
        gated = swiglu(np.array(gate), np.array(up), fraction, min(shift, 50))
        results.append({"data": gated.tolist(), "meta": meta})
    return payloads, results


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *beats(200), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def every_gate_of_a_small_range_equals_golden(dut):
    gates = range(-(1 << 10), 1 << 10)
    payloads, results = [], []
    for first in range(gates.start, gates.stop, LANES):
        gate = list(range(first, first + LANES))
        payloads.append({
            "gate": gate,
            "up": [1 << 15] * LANES,
            "gate_fraction": 5,
            "shift": 3,
            "meta": 0,
        })
        gated = swiglu(np.array(gate), np.full(LANES, 1 << 15), 5, 3)
        results.append({"data": gated.tolist(), "meta": 0})
    await UNIT.compares(dut, payloads, results)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    assert await UNIT.timing(dut, beats(50)[0]) == (Activation.LATENCY, 50)
