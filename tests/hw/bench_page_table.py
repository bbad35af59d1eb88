"""Bench for `hw.page_table`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.page_table import PageTable
from hw.spec.config import ArchConfig
from tests.support.bench import pack, params, start, unpack

CONFIG = ArchConfig(**params()["config"])
DUT = PageTable(CONFIG)
PAGES = CONFIG.max_pages
LAST = CONFIG.max_seqs - 1, PAGES - 1


def asks(dut, name, place):
    getattr(dut, f"{name}_slot").value, getattr(dut, f"{name}_index").value = place


def reads(dut, places):
    """Ask for a page for the reader of each tile."""
    dut.read_slot.value = pack(DUT.read_slot.shape(), [slot for slot, _ in places])
    dut.read_index.value = pack(DUT.read_index.shape(), [index for _, index in places])


async def writes(dut, place, addr):
    asks(dut, "write", place)
    dut.write_en.value, dut.write.value = 1, addr
    await RisingEdge(dut.clk)
    dut.write_en.value = 0


@cocotb.test()
async def every_tile_and_the_writer_may_look_up_a_page_in_every_cycle(dut):
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
        read, append = [rng.choice(places) for _ in range(CONFIG.tiles)], rng.choice(places)
        reads(dut, read)
        asks(dut, "append", append)
        await ReadOnly()
        if asked:
            got = unpack(DUT.read.shape(), int(dut.read.value)), int(dut.append.value)
            assert got == ([addresses[place] for place in asked[0]], addresses[asked[1]])
        asked = read, append
        await RisingEdge(dut.clk)


@cocotb.test()
async def nothing_is_stored_without_enable(dut):
    await start(dut)
    await writes(dut, LAST, 0x1234_5678)
    asks(dut, "write", LAST)
    dut.write.value = 7
    await RisingEdge(dut.clk)
    reads(dut, [LAST] * CONFIG.tiles)
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert unpack(DUT.read.shape(), int(dut.read.value)) == [0x1234_5678] * CONFIG.tiles
