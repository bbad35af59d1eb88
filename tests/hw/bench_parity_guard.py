"""Benches for `test_parity_guard`."""

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.parity_guard import ParityGuard
from tests.support.bench import params, start

CODES, ROWS = params()["codes"], params()["rows"]
DUT = ParityGuard(CODES, rows=ROWS)
QUIET = DUT.settle_cycles + 1  # behind the last row of a sweep


async def cycles(dut, count, *names):
    """Pass cycles; return what the ports were in each, as a list of tuples."""
    seen = []
    for _ in range(count):
        await ReadOnly()
        seen.append(tuple(int(getattr(dut, name).value) for name in names))
        await RisingEdge(dut.clk)
    return seen


async def rests(dut):
    """Return when the sweep after the reset is over."""
    await start(dut)
    dut.quiet.value = 1
    await cycles(dut, ROWS + QUIET)


@cocotb.test()
async def every_row_is_swept_once_after_reset_whatever_is_found(dut):
    await start(dut)
    dut.errors.value = (1 << len(CODES)) - 1
    # One cycle has passed since the reset.
    seen = await cycles(dut, ROWS, "sweep", "sweep_bus", "sweep_row")
    assert seen == [(1, 1, row) for row in range(1, ROWS)] + [(0, 0, 0)]
    dut.errors.value = 0
    assert await cycles(dut, 60, "sweep", "failed", "count") == [(0, 0, 0)] * 60


@cocotb.test()
async def a_start_waits_for_the_end_of_a_sweep(dut):
    await start(dut)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    seen = await cycles(dut, ROWS + QUIET + 20, "o_start", "waiting", "sweep")
    starts = [n for n, (begins, _, _) in enumerate(seen) if begins]
    assert len(starts) == 1
    at = starts[0]
    assert all(waits for _, waits, _ in seen[: at + 1])
    assert not any(waits or sweeps for _, waits, sweeps in seen[at + 1 :])
    assert at >= ROWS - 2 + DUT.settle_cycles


@cocotb.test()
async def a_start_at_rest_is_obeyed_in_its_cycle(dut):
    await rests(dut)
    dut.start.value = 1
    assert await cycles(dut, 1, "o_start") == [(1,)]
    dut.start.value = 0
    assert await cycles(dut, 10, "o_start", "waiting") == [(0, 0)] * 10


@cocotb.test()
async def each_memory_stops_the_run_with_its_code_until_it_is_over(dut):
    await rests(dut)
    for number, code in enumerate(CODES):
        dut.busy.value = 1
        dut.errors.value = 1 << number
        await RisingEdge(dut.clk)
        dut.errors.value = 0
        seen = await cycles(dut, DUT.latency + 20, "failed")
        assert [n for n, (failed,) in enumerate(seen) if failed] == list(
            range(DUT.latency - 1, DUT.latency + 20)
        )
        assert await cycles(dut, 1, "code", "count") == [(code, number + 1)]
        dut.quiet.value = number % 2
        dut.busy.value = 0
        await RisingEdge(dut.clk)
        dut.quiet.value = 1
        seen = await cycles(dut, ROWS + QUIET + 4, "failed", "sweep", "sweep_bus")
        assert sum(sweep for _, sweep, _ in seen) == ROWS
        assert sum(bus for _, _, bus in seen) == ROWS * (number % 2)
        assert not any(failed for failed, _, _ in seen)


@cocotb.test()
async def of_several_memories_the_first_is_named(dut):
    await rests(dut)
    dut.busy.value = 1
    dut.errors.value = (1 << len(CODES)) - 2
    await RisingEdge(dut.clk)
    dut.errors.value = 1
    await RisingEdge(dut.clk)
    dut.errors.value = 0
    await cycles(dut, DUT.latency + 2)
    assert await cycles(dut, 1, "code", "count") == [(CODES[min(1, len(CODES) - 1)], 2)]


@cocotb.test()
async def an_error_at_rest_is_swept_away_and_counted(dut):
    await rests(dut)
    dut.errors.value = 1
    await RisingEdge(dut.clk)
    dut.errors.value = 0
    seen = await cycles(dut, DUT.latency + ROWS + QUIET + 10, "failed", "sweep")
    assert sum(failed for failed, _ in seen) == 1
    assert sum(sweep for _, sweep in seen) == ROWS
    assert await cycles(dut, 1, "count", "failed") == [(1, 0)]


@cocotb.test()
async def every_cycle_with_an_error_is_counted_to_the_end_of_the_run(dut):
    await rests(dut)
    many = (1 << 16) + 3
    dut.busy.value = 1
    dut.errors.value = 1
    await ClockCycles(dut.clk, many)
    dut.errors.value = 0
    await cycles(dut, DUT.latency + 1)
    assert await cycles(dut, 1, "count", "code", "failed") == [(many, CODES[0], 1)]
