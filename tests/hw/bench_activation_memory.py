"""Bench for `hw.activation_memory`."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.activation_memory import ActivationMemory, Block
from hw.spec.formats import ACT_WIDTH, BLOCK_LEN, EXP_WIDTH
from tests.hw.vector_stream import numbers, seeded
from tests.support.bench import pack, params, start, unpack, watchdog

DUT = ActivationMemory(**params())
BLOCKS, MAX_ROWS, READERS = DUT.blocks, DUT.max_rows, DUT.readers
PLACES = [(block, row) for block in range(BLOCKS) for row in range(MAX_ROWS)]


def random_block(rng):
    exp = rng.choice((0, (1 << EXP_WIDTH) - 1, rng.getrandbits(EXP_WIDTH)))
    return {"q": numbers(rng, ACT_WIDTH, BLOCK_LEN), "exp": exp}


async def access(dut, *, write=None, block=None, read=None):
    """Write, ask for a block, or both in one cycle; return what the first reader reads after it."""
    dut.write_en.value = int(write is not None)
    if write is not None:
        dut.write_block.value, dut.write_row.value = write
        dut.write.value = pack(Block, block)
    if read is not None:
        dut.read_block.value, dut.read_row.value = read
    await RisingEdge(dut.clk)
    dut.write_en.value = 0
    await ReadOnly()
    got = unpack(Block, int(dut.read.value))
    await RisingEdge(dut.clk)
    return got


@cocotb.test()
async def every_place_keeps_its_own_block(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20 * len(PLACES)))
    stored = {place: random_block(rng) for place in PLACES}
    for place in rng.sample(PLACES, len(PLACES)):
        await access(dut, write=place, block=stored[place])
    for place in rng.sample(PLACES, len(PLACES)):
        assert await access(dut, read=place) == stored[place], place


@cocotb.test()
async def a_write_leaves_all_other_places_and_their_reads_as_they_are(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    stored = {place: random_block(rng) for place in PLACES}
    for place, block in stored.items():
        await access(dut, write=place, block=block)
    for _ in range(100):
        place, block = rng.choice(PLACES), random_block(rng)
        read = rng.choice(PLACES)
        got = await access(dut, write=place, block=block, read=read)
        assert read == place or got == stored[read]
        stored[place] = block
        assert await access(dut, read=place) == block


@cocotb.test()
async def every_reader_reads_what_it_wants(dut):
    rng = seeded()
    await start(dut)
    stored = {place: random_block(rng) for place in PLACES}
    for place, block in stored.items():
        await access(dut, write=place, block=block)
    wanted = []
    for _ in range(100):
        await ReadOnly()
        if wanted:
            got = unpack(DUT.read.shape(), int(dut.read.value))
            assert got == [stored[place] for place in wanted]
        await RisingEdge(dut.clk)
        wanted = [rng.choice(PLACES) for _ in range(READERS)]
        dut.read_block.value = pack(DUT.read_block.shape(), [block for block, _ in wanted])
        dut.read_row.value = pack(DUT.read_row.shape(), [row for _, row in wanted])
        await RisingEdge(dut.clk)


@cocotb.test()
async def a_block_is_written_and_one_read_each_cycle(dut):
    rng = seeded()
    await start(dut)
    stored = {place: random_block(rng) for place in PLACES}
    written = list(stored)
    for number in range(len(PLACES) + 2):
        dut.write_en.value = int(number < len(PLACES))
        if number < len(PLACES):
            dut.write_block.value, dut.write_row.value = written[number]
            dut.write.value = pack(Block, stored[written[number]])
        if 1 <= number <= len(PLACES):
            dut.read_block.value, dut.read_row.value = written[number - 1]
        await ReadOnly()
        if number >= 2:
            assert unpack(Block, int(dut.read.value)) == stored[written[number - 2]]
        await RisingEdge(dut.clk)
