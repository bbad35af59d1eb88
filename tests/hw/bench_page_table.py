"""Bench for `hw.page_table`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.config import ArchConfig
from tests.support.bench import params, start

PAGES = ArchConfig(**params()["config"]).max_pages


async def writes(dut, index, addr):
    dut.write_en.value, dut.write_index.value, dut.write.value = 1, index, addr
    await RisingEdge(dut.clk)
    dut.write_en.value = 0


@cocotb.test()
async def two_pages_may_be_looked_up_in_every_cycle(dut):
    """Each answer comes one cycle after its number, whatever is asked next."""
    rng = random.Random(31)
    await start(dut)
    addresses = [rng.getrandbits(32) for _ in range(PAGES)]
    addresses[0], addresses[-1] = 0, (1 << 32) - 1
    for index, addr in enumerate(addresses):
        await writes(dut, index, addr)
    asked = None
    for _ in range(10 * PAGES + 20):
        read, append = rng.randrange(PAGES), rng.randrange(PAGES)
        dut.read_index.value, dut.append_index.value = read, append
        await ReadOnly()
        if asked:
            got = int(dut.read.value), int(dut.append.value)
            assert got == (addresses[asked[0]], addresses[asked[1]])
        asked = read, append
        await RisingEdge(dut.clk)


@cocotb.test()
async def nothing_is_stored_without_enable(dut):
    await start(dut)
    await writes(dut, PAGES - 1, 0x1234_5678)
    dut.write_index.value, dut.write.value = PAGES - 1, 7
    await RisingEdge(dut.clk)
    dut.read_index.value = PAGES - 1
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.read.value == 0x1234_5678
