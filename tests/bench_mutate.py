"""Bench of the little component of `test_mutate`."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import start


@cocotb.test()
async def sum_follows_a_cycle_later(dut):
    await start(dut)
    expected = 0
    for number in range(64):
        a, b = number % 8, number // 8
        dut.a.value, dut.b.value = a, b
        await ReadOnly()
        assert int(dut.total.value) == expected
        expected = a + b
        await RisingEdge(dut.clk)


@cocotb.test()
async def reset_makes_it_zero(dut):
    await start(dut)
    await ReadOnly()
    assert int(dut.total.value) == 0
