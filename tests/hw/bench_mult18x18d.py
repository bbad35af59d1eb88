"""Bench for `hw.ecp5.mult18x18d`: the portable multiplier and the cell's model side by side."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.ecp5.mult18x18d import Mult18x18d
from tests.support.bench import params, start

A_WIDTH, B_WIDTH = params()["a_width"], params()["b_width"]


def operands(rng):
    """Return every pair of operands in random order, or the ends and many others."""
    if A_WIDTH + B_WIDTH <= 16:
        pairs = [(a, b) for a in range(1 << A_WIDTH) for b in range(1 << B_WIDTH)]
        rng.shuffle(pairs)
        return pairs
    ends = [(rng.choice([-1, 0, 1]), rng.choice([-1, 0, 1])) for _ in range(200)]
    mask = [(a << A_WIDTH - 1, b << B_WIDTH - 1) for a, b in ends]
    return [(a % (1 << A_WIDTH), b % (1 << B_WIDTH)) for a, b in mask] + [
        (rng.getrandbits(A_WIDTH), rng.getrandbits(B_WIDTH)) for _ in range(5000)
    ]


def signed(bits, width):
    return bits - (bits >> (width - 1) << width)


@cocotb.test()
async def products_are_exact_and_three_cycles_late(dut):
    pairs = operands(random.Random(f"{A_WIDTH} {B_WIDTH}"))
    await start(dut)
    for cycle in range(len(pairs) + Mult18x18d.LATENCY):
        a, b = pairs[cycle % len(pairs)]
        dut.a.value, dut.b.value = a, b
        await ReadOnly()
        if cycle >= Mult18x18d.LATENCY:
            a, b = pairs[cycle - Mult18x18d.LATENCY]
            expected = signed(a, A_WIDTH) * signed(b, B_WIDTH)
            for port in (dut.portable, dut.cell_p):
                got = signed(int(port.value), A_WIDTH + B_WIDTH)
                assert got == expected, f"{port._name}, cycle {cycle}: {got}, not {expected}"
        await RisingEdge(dut.clk)
