"""Bench for `hw.block_quantiser`."""

import random

import cocotb

from hw.block_quantiser import BlockQuantiser
from hw.spec.formats import BLOCK_LEN
from sim.golden.block_quantise import block_quantise
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

LANES = params()["lanes"]
WIDTH = params()["width"]
META = 7
DUT = BlockQuantiser(lanes=LANES, width=WIDTH, meta_shape=META)
I_ACT = DUT.i_act.payload.shape()
O_BLOCK = DUT.o_block.payload.shape()


def for_long(seed=1):
    """Idle longer than two blocks take to come in, so that no buffer can hold them."""
    rng = random.Random(seed)
    while True:
        yield rng.choice((0, 1, 3 * DUT.beats))


O_STALLS = {**STALLS, "for_long": for_long}
LOW, HIGH = -(1 << (WIDTH - 1)), (1 << (WIDTH - 1)) - 1


def edge_blocks():
    """Yield blocks at the ends of every range and where rounding decides."""
    for value in (0, 1, -1, 127, 128, -127, -128, -129, HIGH, LOW, HIGH - 1, LOW + 1):
        yield [value] * BLOCK_LEN
        for place in (0, LANES - 1, BLOCK_LEN - 1):
            yield [value if i == place else 0 for i in range(BLOCK_LEN)]
    for exp in range(1, WIDTH - 8):
        half = 1 << (exp - 1)
        # The largest element rounds up to 128, which saturates; others are halves.
        yield [(127 << exp) + half] + [(i << exp) + half for i in range(-15, 16)]
        yield [(-128 << exp) + half - 1] + [(i << exp) + half - 1 for i in range(-15, 16)]


def blocks_of(seed, count):
    rng = random.Random(seed)
    blocks = list(edge_blocks())
    rng.shuffle(blocks)
    while len(blocks) < count:
        width = rng.randrange(1, WIDTH + 1)
        blocks.append([rng.randrange(-1 << (width - 1), 1 << (width - 1)) for _ in range(32)])
    return blocks


def transfers(seed, count):
    rng = random.Random(f"meta {seed}")
    inputs, outputs = [], []
    for block in blocks_of(seed, count):
        for at in range(0, BLOCK_LEN, LANES):
            inputs.append({"data": block[at : at + LANES], "meta": rng.getrandbits(META)})
        q, exp = block_quantise(block)
        outputs.append({"q": q.tolist(), "exp": int(exp[0]), "meta": inputs[-1]["meta"]})
    return inputs, outputs


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(O_STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    inputs, outputs = transfers(f"{i_stall} {o_stall}", 110)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 30_000))
    cocotb.start_soon(obeys_rules(dut, "o_block"))
    sender = cocotb.start_soon(sends(dut, "i_act", I_ACT, inputs, stall=STALLS[i_stall]))
    await expects(dut, "o_block", O_BLOCK, outputs, stall=O_STALLS[o_stall])
    await sender


@cocotb.test()
async def any_element_alone_sets_the_exponent(dut):
    rng = random.Random(1)
    inputs, outputs = [], []
    for place in range(BLOCK_LEN):
        for size in range(7, WIDTH - 1):
            block = [rng.randrange(-64, 64) for _ in range(BLOCK_LEN)]
            block[place] = rng.choice(((1 << size) + rng.randrange(1 << size), -1 << size + 1))
            inputs += [
                {"data": block[at : at + LANES], "meta": 0} for at in range(0, BLOCK_LEN, LANES)
            ]
            q, exp = block_quantise(block)
            assert exp[0] == size - 6
            outputs.append({"q": q.tolist(), "exp": int(exp[0]), "meta": 0})
    await start(dut)
    cocotb.start_soon(watchdog(dut, 4 * len(inputs) + 200))
    sender = cocotb.start_soon(sends(dut, "i_act", I_ACT, inputs))
    await expects(dut, "o_block", O_BLOCK, outputs)
    await sender


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    inputs, outputs = transfers("latency", 20)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    cocotb.start_soon(sends(dut, "i_act", I_ACT, inputs))
    dut.o_block__ready.value = 1
    count = len(outputs)
    latency, cycles = await measures(dut, "i_act", "o_block", count)
    assert latency == DUT.beats - 1 + DUT.latency
    assert cycles == (count - 1) * DUT.beats + 1
