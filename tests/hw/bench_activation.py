"""Bench for `hw.activation`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.activation import Activation
from hw.lib.credit_queue import CreditQueue
from hw.spec.formats import FFN_WIDTH, HEAD_WIDTH, SIG_LUT_LEN
from hw.spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT
from sim.golden.activation import GATE_FRACTION, activate, gate_factor
from sim.golden.fixed import round_shift
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

LANES = params()["lanes"]
UNIT = Unit(Activation(lanes=LANES, meta_shape=unsigned(9)), "i_pair", "o_ffn")
NAMES = list(ACTIVATIONS)
LAST = SIG_LUT_LEN - 1


def beat(gate, up, name, table_shift, shift, meta=0):
    """Return a beat and its result; without ups, those of the beat are 1."""
    payload = {
        "gate": gate,
        "up": [1] * LANES if up is None else up,
        "activation": ACTIVATIONS[name],
        "table_shift": table_shift,
        "shift": shift,
        "meta": meta,
    }
    ups = None if up is None else np.array(up)
    # The golden model keeps to shifts of which 64-bit sums do not overflow.
    result = activate(np.array(gate), ups, name, table_shift, min(shift, 50))
    return payload, {"data": result.tolist(), "meta": meta}


async def compares(dut, pairs):
    """Check beats and their results, as `beat` gives them."""
    await UNIT.compares(dut, *[list(both) for both in zip(*pairs, strict=True)])


def beats(count):
    """Return beats of all activations in turn, with ups and without, and their results."""
    rng = seeded()
    pairs = []
    for number in range(count):
        table_shift = rng.choice((
            0,
            MAX_TABLE_SHIFT,
            rng.randrange(MAX_TABLE_SHIFT + 1),
            rng.randrange(4, 10),
        ))
        # Where the table begins and ends, and where its steps lie.
        steps = (0, 1, LAST, LAST - 1, rng.randrange(LAST))
        edges = [sign * step << table_shift for step in steps for sign in (1, -1)]
        gate = numbers(rng, HEAD_WIDTH, LANES, near=edges)
        up = rng.choice((None, numbers(rng, HEAD_WIDTH, LANES), numbers(rng, HEAD_WIDTH, LANES)))
        shift = rng.choice((0, 63, rng.randrange(64), rng.randrange(5, 15), rng.randrange(3)))
        pairs.append(beat(gate, up, rng.choice(NAMES), table_shift, shift, number % 512))
    return [list(both) for both in zip(*pairs, strict=True)]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *beats(300), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
@cocotb.parametrize(name=NAMES, table_shift=[0, 1, 3], gated=[False, True])
async def every_gate_of_the_table_and_beyond_equals_golden(dut, name, table_shift, gated):
    """A result keeps every bit of its factor: the ups are as large as can be without clipping."""
    end = (LAST + 16) << table_shift
    up, shift = ([1 << 16] * LANES, 5) if gated else (None, 0)
    pairs = [
        beat(list(range(first, first + LANES)), up, name, table_shift, shift)
        for first in range(-end, end, LANES)
    ]
    await compares(dut, pairs)


@cocotb.test()
@cocotb.parametrize(name=[name for name in NAMES if name != "relu"])
async def every_bit_counts_that_is_rounded_away(dut, name):
    """These are gates of which a bit tells: of the gate, or of its product with the factor.

    Of the product bits below the one that is rounded by never do.
    """
    random = np.random.default_rng(seeded().getrandbits(32))
    end = 1 << (HEAD_WIDTH - 1)
    pairs = []
    for table_shift in (MAX_TABLE_SHIFT, MAX_TABLE_SHIFT - 1, MAX_TABLE_SHIFT - 7):
        gates = random.integers(-end, end, size=1 << 17)
        products = gates * gate_factor(gates, name, table_shift)
        results = round_shift(products, GATE_FRACTION)
        for bit in range(1, HEAD_WIDTH - 1):
            others = [gates * gate_factor(gates ^ (1 << bit), name, table_shift)]
            if bit >= GATE_FRACTION - 1:
                others.append(products ^ 1 << bit)
            for other in others:
                tells = gates[results != round_shift(other, GATE_FRACTION)][: 4 * LANES].tolist()
                pairs += [
                    beat(tells[at : at + LANES], None, name, table_shift, 0)
                    for at in range(0, len(tells) - LANES + 1, LANES)
                ]
    assert len(pairs) > 200
    await compares(dut, pairs)


@cocotb.test()
async def every_bit_keeps_the_lowest_number_from_clipping(dut):
    random = np.random.default_rng(seeded().getrandbits(32))
    lowest, shift, top = -1 << (FFN_WIDTH - 1), 10, 1 << (HEAD_WIDTH - 1)
    ups = -random.integers(top // 2, top, size=1 << 14)
    pairs = []
    for wanted in (lowest, *(lowest + (1 << bit) for bit in range(FFN_WIDTH - 1))):
        gates = np.minimum(np.rint((wanted << shift) / ups).astype(np.int64), top - 1)
        found = activate(gates, ups, "relu", 0, shift) == max(wanted, lowest + 1)
        assert found.any(), wanted
        gate, up = int(gates[found][0]), int(ups[found][0])
        pairs.append(beat([gate] * LANES, [up] * LANES, "relu", 0, shift))
    await compares(dut, pairs)


@cocotb.test()
@cocotb.parametrize(name=NAMES)
async def every_entry_of_the_table_equals_golden(dut, name):
    """Gates of both signs: those where a step begins or ends, and every 61st."""
    shift = 9
    ends = {abs((index << shift) + d) for index in range(LAST) for d in (-2, -1, 0, 1)}
    gates = sorted(ends | set(range(0, 1 << (HEAD_WIDTH - 1), 61)))
    gates += [-g for g in gates] + [-1 << (HEAD_WIDTH - 1)]
    gates += [0] * (-len(gates) % LANES)
    pairs = [
        beat(gates[at : at + LANES], None, name, shift, 0) for at in range(0, len(gates), LANES)
    ]
    await compares(dut, pairs)


@cocotb.test()
async def as_many_get_in_as_find_room(dut):
    depth = CreditQueue(1, latency=Activation.LATENCY - CreditQueue.LATENCY).depth
    await UNIT.fills(dut, *beats(4 * depth), depth=depth)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    assert await UNIT.timing(dut, beats(50)[0]) == (Activation.LATENCY, 50)
