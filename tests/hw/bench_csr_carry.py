"""Benches for `test_csr` of counters that start sets close to a carry."""

import cocotb
from cocotb.triggers import ClockCycles

from hw.spec.csr import CONTROL, COUNTERS, counter_offset
from tests.hw.bench_csr import CONFIG, begin
from tests.support.bench import params

CLEARED = params()["cleared"]


@cocotb.test()
async def reading_a_low_word_keeps_the_high_word(dut):
    host = await begin(dut)
    await host.write("control", 1 << CONTROL["start"])
    for name in COUNTERS:
        assert await host.counter(name) == CLEARED
    low = await host.read(counter_offset("saturations"))
    dut.busy.value = 1
    dut.count_saturations.value = CONFIG.lanes
    await ClockCycles(dut.clk, 100)
    # Now the high word is one more, but not the one of that low word.
    assert await host.read(counter_offset("saturations") + 4) << 32 | low == CLEARED
    after = await host.counter("saturations")
    assert CLEARED + 100 * CONFIG.lanes <= after < CLEARED + 300 * CONFIG.lanes
    assert after >> 32 == (CLEARED >> 32) + 1
    # Another counter's high word comes with its own low word.
    assert await host.counter("tokens") == CLEARED
