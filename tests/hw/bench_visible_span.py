"""Bench for `hw.visible_span`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.config import ArchConfig
from tests.hw.segments import visited_span
from tests.support.bench import params, start

CONFIG = ArchConfig(**params()["config"])
TOP = (1 << 32) - 1


def cases(rng):
    """Yield (first_pos, rows, window, group): both ends, around a block's ends, and random ones."""
    last, most = CONFIG.max_context - 1, CONFIG.max_rows
    for first_pos in (0, 1, 31, 32, 33, 63, 64, last):
        for rows in (1, min(most, CONFIG.max_context - first_pos)):
            for window in (0, 1, 2, 32, 33, first_pos, first_pos + 1, last + 1, last + 2, TOP):
                yield first_pos, rows, window, rng.choice((1, most // rows, most // rows + 1, 255))
    for _ in range(1000):
        first_pos = rng.randrange(CONFIG.max_context)
        rows = rng.randrange(1, min(most, CONFIG.max_context - first_pos) + 1)
        window = rng.choice((rng.randrange(CONFIG.max_context + 2), rng.getrandbits(32)))
        yield first_pos, rows, window, rng.randrange(1, 256)


@cocotb.test()
@cocotb.parametrize(seed=[1])
async def outputs_equal_the_slow_way_in_the_documented_cycles(dut, seed):
    print(f"seed {seed}")
    await start(dut)
    for first_pos, rows, window, group in cases(random.Random(seed)):
        case = {"first_pos": first_pos, "rows": rows, "window": window, "group": group}
        for names in (("window", "group"), ("first_pos", "rows")):
            for name in names:
                getattr(dut, name).value = case[name]
            await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        await ReadOnly()
        segment = {"first_pos": first_pos, "rows": rows}
        expected = visited_span(CONFIG, segment, window=window, group=group)
        got = {name: int(getattr(dut, name).value) for name in expected}
        assert got == expected, case
        await RisingEdge(dut.clk)
