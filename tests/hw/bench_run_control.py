"""Bench for `hw.run_control`: what goes in and comes out, cycle by cycle."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.spec.csr import ERRORS
from tests.support.bench import start

OUTPUTS = (
    "core_start", "core_reset", "halt", "busy", "done",
    "error_event", "error_cause", "error_addr", "done_event",
)  # fmt: skip

WATCHDOG = ERRORS["watchdog"]
CORE = {"core_error": 1, "core_cause": ERRORS["bad_field"], "core_addr": 0x1234_5678}
BUS = {"bus_error": 1, "bus_cause": ERRORS["axi_slverr"], "bus_addr": 0xFFFF_FFFC}
TOP = (1 << 32) - 1


async def plays(dut, cycles, inputs, **held):
    """Apply ``inputs[cycle]`` for one cycle each, ``held`` always; return outputs by name."""
    await start(dut)
    for name, value in held.items():
        getattr(dut, name).value = value
    seen = {name: [] for name in OUTPUTS}
    for cycle in range(cycles):
        now = inputs.get(cycle, {})
        for name, value in now.items():
            getattr(dut, name).value = value
        await ReadOnly()
        for name in OUTPUTS:
            seen[name].append(int(getattr(dut, name).value))
        await RisingEdge(dut.clk)
        for name in now:
            getattr(dut, name).value = held.get(name, 0)
    return seen


def high(cycles, *ranges):
    """Return a line that is 1 in these cycles, (first, last) each, and 0 elsewhere."""
    return [int(any(first <= n <= last for first, last in ranges)) for n in range(cycles)]


def error_of(seen):
    """Return (cycle, cause, address) of the one error strobe."""
    assert sum(seen["error_event"]) == 1
    at = seen["error_event"].index(1)
    return at, seen["error_cause"][at], seen["error_addr"][at]


@cocotb.test()
async def a_request_that_finishes(dut):
    seen = await plays(dut, 20, {2: {"start": 1}, 8: {"finished": 1}, 13: {"idle": 1}})
    assert seen["core_start"] == high(20, (2, 2))
    assert seen["busy"] == high(20, (3, 14))
    assert seen["halt"] == high(20, (9, 13))
    assert seen["core_reset"] == high(20, (9, 14))
    assert seen["done"] == high(20, (9, 19))
    assert seen["done_event"] == high(20, (14, 14))
    assert not any(seen["error_event"])


@cocotb.test()
async def a_stop_is_no_end_of_the_request(dut):
    seen = await plays(dut, 20, {2: {"start": 1}, 3: {"stop": 1}, 6: {"idle": 1}})
    assert seen["busy"] == high(20, (3, 7))
    assert seen["halt"] == high(20, (4, 6))
    assert seen["done_event"] == high(20, (7, 7))
    assert not any(seen["done"])
    assert not any(seen["error_event"])


@cocotb.test()
async def halt_is_seen_before_idle_counts(dut):
    """A controller that is idle all the time is told for two cycles."""
    seen = await plays(dut, 12, {1: {"start": 1}, 4: {"stop": 1}}, idle=1)
    assert seen["halt"] == high(12, (5, 6))
    assert seen["busy"] == high(12, (2, 7))
    assert seen["done_event"] == high(12, (7, 7))


@cocotb.test()
async def core_rests_in_reset_until_the_bus_is_idle(dut):
    seen = await plays(dut, 120, {1: {"start": 1}, 4: CORE, 110: {"idle": 1}})
    assert seen["halt"] == high(120, (5, 110))
    assert seen["core_reset"] == high(120, (5, 111))
    assert seen["done_event"] == high(120, (111, 111))


@cocotb.test()
@cocotb.parametrize(
    case=[
        (CORE, (ERRORS["bad_field"], 0x1234_5678)),
        (BUS, (ERRORS["axi_slverr"], 0xFFFF_FFFC)),
        (CORE | BUS, (ERRORS["axi_slverr"], 0xFFFF_FFFC)),
        (CORE | {"finished": 1, "stop": 1}, (ERRORS["bad_field"], 0x1234_5678)),
        (BUS | {"finished": 1, "stop": 1}, (ERRORS["axi_slverr"], 0xFFFF_FFFC)),
    ]
)
async def cause_and_address_of_an_error(dut, case):
    inputs, (cause, addr) = case
    seen = await plays(dut, 20, {1: {"start": 1}, 5: inputs}, idle=1)
    assert error_of(seen) == (5, cause, addr)
    assert not any(seen["done"])
    assert seen["done_event"] == high(20, (8, 8))


@cocotb.test()
@cocotb.parametrize(seed=range(8))
async def any_address_is_told(dut, seed):
    """Of the one that counts; every second time all bits are turned, those of the limit too."""
    print(f"seed {seed}")
    rng = random.Random(seed // 2)
    turned = TOP if seed % 2 else 0
    inputs = {f"{unit}_addr": rng.getrandbits(32) ^ turned for unit in ("core", "bus")}
    inputs |= {f"{unit}_cause": rng.getrandbits(4) ^ (turned & 15) for unit in ("core", "bus")}
    by = "bus" if seed // 2 % 2 else "core"
    inputs |= {f"{by}_error": 1}
    limit = (rng.getrandbits(32) ^ turned) | 1 << 20
    seen = await plays(dut, 20, {1: {"start": 1}, 5: inputs}, idle=1, watchdog=limit)
    assert error_of(seen) == (5, inputs[f"{by}_cause"], inputs[f"{by}_addr"])


@cocotb.test()
async def finish_counts_before_stop(dut):
    seen = await plays(dut, 12, {1: {"start": 1}, 5: {"finished": 1, "stop": 1}}, idle=1)
    assert seen["done"] == high(12, (6, 11))


@cocotb.test()
async def an_error_that_stays_is_reported_once(dut):
    inputs = dict.fromkeys(range(5, 15), CORE) | {1: {"start": 1}, 15: {"idle": 1}}
    inputs[8] = CORE | BUS
    seen = await plays(dut, 20, inputs)
    assert error_of(seen) == (5, ERRORS["bad_field"], 0x1234_5678)


@cocotb.test()
@cocotb.parametrize(limit=[1, 2, 50])
async def watchdog_counts_from_the_start_of_a_run(dut, limit):
    seen = await plays(dut, limit + 10, {3: {"start": 1}}, watchdog=limit, idle=1)
    assert error_of(seen) == (4 + limit, WATCHDOG, 0)


@cocotb.test()
@cocotb.parametrize(limit=[1, 2, 50])
async def watchdog_counts_anew_with_every_progress(dut, limit):
    inputs = {cycle: {"progress": 1} for cycle in range(4, 40, limit)} | {3: {"start": 1}}
    last = max(inputs)
    seen = await plays(dut, last + limit + 10, inputs, watchdog=limit, idle=1)
    assert error_of(seen) == (last + limit + 1, WATCHDOG, 0)


@cocotb.test()
async def watchdog_of_many_cycles_bites_in_time(dut):
    """Its counter carries into all that a test has time for."""
    limit = (1 << 17) + 5
    await start(dut)
    dut.watchdog.value = limit
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    await ClockCycles(dut.clk, limit - 1)
    await ReadOnly()
    assert not dut.error_event.value
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.error_event.value
    assert int(dut.error_cause.value) == WATCHDOG


@cocotb.test()
@cocotb.parametrize(limit=[0, TOP])
async def watchdog_of_zero_never_bites(dut, limit):
    seen = await plays(dut, 1000, {3: {"start": 1}}, watchdog=limit)
    assert seen["busy"] == high(1000, (4, 999))


@cocotb.test()
@cocotb.parametrize(error=[CORE, BUS])
async def other_errors_are_reported_before_the_watchdog(dut, error):
    seen = await plays(dut, 20, {3: {"start": 1}, 9: error}, watchdog=5, idle=1)
    assert error_of(seen)[:2] == (9, error.get("core_cause") or error["bus_cause"])


@cocotb.test()
async def watchdog_begins_anew_with_a_run(dut):
    inputs = {3: {"start": 1}, 6: {"stop": 1}, 10: {"start": 1}}
    seen = await plays(dut, 25, inputs, watchdog=8, idle=1)
    assert error_of(seen) == (11 + 8, WATCHDOG, 0)


@cocotb.test()
async def nothing_counts_at_rest(dut):
    everything = CORE | BUS | {"stop": 1, "finished": 1, "idle": 1, "watchdog": 1}
    seen = await plays(dut, 10, dict.fromkeys(range(10), everything))
    for name in ("core_start", "core_reset", "halt", "busy", "done", "error_event", "done_event"):
        assert not any(seen[name]), name


@cocotb.test()
async def next_start_may_follow_at_once(dut):
    """``done`` tells of the last run until then."""
    inputs = {1: {"start": 1}, 4: {"finished": 1}, 8: {"start": 1}, 11: {"stop": 1}}
    seen = await plays(dut, 20, inputs, idle=1)
    assert seen["core_start"] == high(20, (1, 1), (8, 8))
    assert seen["busy"] == high(20, (2, 7), (9, 14))
    assert seen["done"] == high(20, (5, 8))
    assert seen["done_event"] == high(20, (7, 7), (14, 14))


@cocotb.test()
@cocotb.parametrize(limit=[5, 50])
async def a_bus_that_hangs_after_the_end_is_an_error(dut, limit):
    seen = await plays(dut, limit + 30, {2: {"start": 1}, 6: {"finished": 1}}, watchdog=limit)
    at, cause, _ = error_of(seen)
    assert (at, cause) == (8 + limit, WATCHDOG)
    assert seen["halt"] == high(limit + 30, (7, at))
    assert seen["done_event"] == high(limit + 30, (at + 1, at + 1))
    assert seen["busy"] == high(limit + 30, (3, at + 1))
    assert not seen["done"][-1]


@cocotb.test()
async def progress_on_the_bus_puts_the_watchdog_off(dut):
    inputs = {cycle: {"progress": 1} for cycle in range(9, 60, 4)}
    inputs |= {2: {"start": 1}, 6: {"stop": 1}, 70: {"idle": 1}}
    seen = await plays(dut, 80, inputs, watchdog=15)
    assert not any(seen["error_event"])
    assert seen["done_event"] == high(80, (71, 71))
