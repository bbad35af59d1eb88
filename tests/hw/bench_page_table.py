"""Bench for `hw.page_table`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.config import ArchConfig
from tests.support.bench import params, start

CONFIG = ArchConfig(**params()["config"])
PAGES = CONFIG.max_pages
LAST = CONFIG.max_seqs - 1, PAGES - 1


def asks(dut, name, place):
    getattr(dut, f"{name}_slot").value, getattr(dut, f"{name}_index").value = place


async def writes(dut, place, addr):
    asks(dut, "write", place)
    dut.write_en.value, dut.write.value = 1, addr
    await RisingEdge(dut.clk)
    dut.write_en.value = 0


@cocotb.test()
async def two_pages_may_be_looked_up_in_every_cycle(dut):
    """Each answer comes one cycle after its number, whatever is asked next."""
    rng = random.Random(31)
    await start(dut)
    places = [(slot, index) for slot in range(CONFIG.max_seqs) for index in range(PAGES)]
    addresses = {place: rng.getrandbits(32) for place in places}
    addresses[0, 0], addresses[LAST] = 0, (1 << 32) - 1
    for place, addr in addresses.items():
        await writes(dut, place, addr)
    asked = None
    for _ in range(10 * len(places) + 20):
        read, append = rng.choice(places), rng.choice(places)
        asks(dut, "read", read)
        asks(dut, "append", append)
        await ReadOnly()
        if asked:
            got = int(dut.read.value), int(dut.append.value)
            assert got == (addresses[asked[0]], addresses[asked[1]])
        asked = read, append
        await RisingEdge(dut.clk)


@cocotb.test()
async def nothing_is_stored_without_enable(dut):
    await start(dut)
    await writes(dut, LAST, 0x1234_5678)
    asks(dut, "write", LAST)
    dut.write.value = 7
    await RisingEdge(dut.clk)
    asks(dut, "read", LAST)
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.read.value == 0x1234_5678
