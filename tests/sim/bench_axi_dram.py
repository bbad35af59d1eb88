"""Benches for `test_axi_dram`."""

import logging
import random
from pathlib import Path

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from cocotbext.axi import AxiBurstType, AxiBus, AxiMaster, AxiResp

from tests.support.bench import STALLS, cycle, params, start, watchdog

BEAT = 16


def master(dut):
    logging.getLogger("cocotb.axi_dram.s_axi").setLevel(logging.WARNING)
    return AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst, max_burst_len=16)


async def begins(dut):
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
        getattr(dut, f"s_axi_{name}").value = 0
    await start(dut)
    # `ready` is a register: it needs an edge after the reset.
    await RisingEdge(dut.clk)
    cocotb.start_soon(watchdog(dut, 200_000))


async def asks(dut, bursts, *, beats=16, channel="ar", burst=1):
    """Offer the addresses one after the other; return the edge of the first transfer."""
    first = None
    port = {n: getattr(dut, f"s_axi_{channel}{n}") for n in ("addr", "len", "size", "burst", "id")}
    valid = getattr(dut, f"s_axi_{channel}valid")
    ready = getattr(dut, f"s_axi_{channel}ready")
    for addr in bursts:
        port["addr"].value = addr
        port["len"].value = beats - 1
        port["size"].value = BEAT.bit_length() - 1
        port["burst"].value = burst
        port["id"].value = 5
        valid.value = 1
        while True:
            await ReadOnly()
            taken, now = int(ready.value), cycle()
            await RisingEdge(dut.clk)
            if taken:
                break
        first = now if first is None else first
    valid.value = 0
    return first


async def takes(dut, beats):
    """Take read beats; return the cycle and the response of each."""
    dut.s_axi_rready.value = 1
    seen = []
    while len(seen) < beats:
        await ReadOnly()
        if int(dut.s_axi_rvalid.value):
            assert int(dut.s_axi_rid.value) == 5
            seen.append((cycle(), int(dut.s_axi_rresp.value)))
        await RisingEdge(dut.clk)
    return seen


async def reads(dut, bursts, *, beats=16, burst=1):
    """Read bursts back to back; return the cycle of the first address, and those of the beats."""
    asked = cocotb.start_soon(asks(dut, bursts, beats=beats, burst=burst))
    seen = await takes(dut, beats * len(bursts))
    return await asked, [at for at, _ in seen]


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def random_accesses(dut, stall):
    rng = random.Random(stall)
    size, image = params()["size"], Path(params()["image"])
    await begins(dut)
    axi = master(dut)

    def pauses():
        for idle in STALLS[stall]():
            yield 0
            yield from [1] * idle

    axi.write_if.aw_channel.set_pause_generator(pauses())
    axi.write_if.w_channel.set_pause_generator(pauses())
    axi.write_if.b_channel.set_pause_generator(pauses())
    axi.read_if.ar_channel.set_pause_generator(pauses())
    axi.read_if.r_channel.set_pause_generator(pauses())
    expected = bytearray(image.read_bytes())
    for _ in range(25):
        # Regions that do not meet, so that reads and writes may overtake each other
        regions = [i * (size // 8) for i in range(8)]
        rng.shuffle(regions)
        jobs = []
        for base in regions[:5]:
            length = rng.choice((1, 3, 16, 17, 100, 300, 1000))
            addr = base + rng.randrange(size // 8 - length)
            if rng.random() < 0.5:
                data = rng.randbytes(length)
                expected[addr : addr + length] = data
                jobs.append((axi.init_write(addr, data), None))
            else:
                jobs.append((axi.init_read(addr, length), (addr, length)))
        for job, read in jobs:
            await job.wait()
            assert job.data.resp == AxiResp.OKAY
            if read:
                addr, length = read
                assert bytes(job.data.data) == expected[addr : addr + length], hex(addr)
    assert image.read_bytes() == expected


@cocotb.test()
async def latency(dut):
    await begins(dut)
    first, beats = await reads(dut, [0x100])
    assert beats[0] - first == params()["latency"]
    assert beats == list(range(beats[0], beats[0] + 16))


@cocotb.test()
async def streams(dut):
    await begins(dut)
    # 64 KiB cross every row, so that rows are opened behind the data.
    _, beats = await reads(dut, range(0, params()["size"], 16 * BEAT))
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    await RisingEdge(dut.clk)
    assert int(dut.bytes_read.value) == params()["size"]
    # One beat a cycle also for the longest and the shortest bursts
    _, beats = await reads(dut, range(0, params()["size"] // 4, 256 * BEAT), beats=256)
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    _, beats = await reads(dut, range(0, 100 * BEAT, BEAT), beats=1)
    assert beats == list(range(beats[0], beats[0] + len(beats)))


@cocotb.test()
async def refreshes(dut):
    await begins(dut)
    _, beats = await reads(dut, range(0, 3000 * BEAT, 16 * BEAT))
    gaps = [b - a - 1 for a, b in zip(beats, beats[1:], strict=False) if b - a > 1]
    # A refresh closes the row, which takes its 8 cycles to open again.
    assert gaps == [48] * 6, gaps
    # A request that comes during a refresh waits for its end, and for the row.
    await ReadOnly()
    offset = int(dut.cycle.value) - cycle()  # from the test's cycles to those of the module
    begin = (cycle() + offset) // 500 * 500 + 500
    while cycle() + offset < begin + 35:
        await RisingEdge(dut.clk)
    first, beats = await reads(dut, [2999 * BEAT])
    assert begin < first + offset < begin + 40
    assert beats[0] + offset == begin + 48


@cocotb.test()
async def row_misses(dut):
    await begins(dut)
    row, banks = 8192, 8
    size = params()["size"]
    assert size == row * banks
    # Another bank: opened while the first one's data flow
    _, beats = await reads(dut, [0, row, 2 * row])
    assert beats[-1] - beats[0] == 47
    # An idle chip opens a row of any bank first
    first, beats = await reads(dut, [3 * row])
    assert beats[0] - first == 8
    # The same row again
    first, beats = await reads(dut, [3 * row + 256])
    assert beats[0] - first == 1
    # Another row of the same bank (outside the image, which the timing does not mind)
    _, beats = await reads(dut, [0, size, 0])
    assert [beats[16] - beats[15], beats[32] - beats[31]] == [8, 8]


@cocotb.test()
async def turns(dut):
    await begins(dut)
    dut.s_axi_bready.value = 1
    await reads(dut, [0])  # opens the row
    cocotb.start_soon(asks(dut, [0x400], beats=1, channel="aw"))
    dut.s_axi_wstrb.value = 0xFFFF
    dut.s_axi_wlast.value = 1
    dut.s_axi_wvalid.value = 1
    await RisingEdge(dut.clk)
    dut.s_axi_wvalid.value = 0
    while True:
        await ReadOnly()
        if int(dut.s_axi_bvalid.value):
            break
        await RisingEdge(dut.clk)
    assert int(dut.s_axi_bresp.value) == 0
    written = cycle() - 1
    await RisingEdge(dut.clk)
    _, beats = await reads(dut, [0x200])
    assert beats[0] - written == 1 + params()["turn_cycles"]


@cocotb.test()
async def outside(dut):
    size = params()["size"]
    await begins(dut)
    axi = master(dut)
    # A burst that ends outside: the beats inside are as they should be.
    inside = await axi.write(size - 16, bytes(range(1, 17)))
    assert inside.resp == AxiResp.OKAY
    across = await axi.read(size - 16, 32)
    assert across.resp == AxiResp.DECERR
    assert bytes(across.data) == bytes(range(1, 17)) + bytes(16)
    assert (await axi.write(size, b"x")).resp == AxiResp.DECERR
    assert (await axi.read(0xFFFF_FFF0, 16)).resp == AxiResp.DECERR
    assert (await axi.read(size - 16, 16)).resp == AxiResp.OKAY


@cocotb.test()
async def slverr(dut):
    bad = params()["slverr_addr"]
    await begins(dut)
    axi = master(dut)
    start_of_beat = bad // BEAT * BEAT
    written = await axi.write(start_of_beat - BEAT, b"\x55" * (3 * BEAT))
    assert written.resp == AxiResp.SLVERR
    image = Path(params()["image"]).read_bytes()
    assert image[start_of_beat - BEAT : start_of_beat + 2 * BEAT] == (
        b"\x55" * BEAT + bytes(BEAT) + b"\x55" * BEAT
    )
    assert (await axi.read(bad, 1)).resp == AxiResp.SLVERR
    assert (await axi.read(start_of_beat + BEAT, BEAT)).resp == AxiResp.OKAY


@cocotb.test()
async def slverr_once(dut):
    await begins(dut)
    axi = master(dut)
    assert (await axi.read(0x40, 16)).resp == AxiResp.SLVERR
    assert (await axi.read(0x40, 16)).resp == AxiResp.OKAY


@cocotb.test()
async def other_bursts(dut):
    await begins(dut)
    axi = master(dut)
    for kind in (AxiBurstType.FIXED, AxiBurstType.WRAP):
        assert (await axi.read(0, 64, burst=kind)).resp == AxiResp.SLVERR
    assert (await axi.read(0, 64)).resp == AxiResp.OKAY


async def ecc_counts(dut):
    for _ in range(3):
        await RisingEdge(dut.clk)
    await ReadOnly()
    found = int(dut.ecc_corrected.value), int(dut.ecc_uncorrected.value)
    await RisingEdge(dut.clk)
    return found


@cocotb.test()
async def flipped_bit_without_ecc(dut):
    await begins(dut)
    axi = master(dut)
    addr, bits = params()["flip_addr"], params()["flip_bits"]
    read = await axi.read(addr - 1, 3)
    assert (read.resp, bytes(read.data)) == (AxiResp.OKAY, bytes((0, bits, 0)))
    assert await ecc_counts(dut) == (0, 0)


@cocotb.test()
async def one_flipped_bit_with_ecc(dut):
    await begins(dut)
    axi = master(dut)
    addr = params()["flip_addr"]
    assert bytes((await axi.read(addr - 32, 16)).data) == bytes(16)
    assert await ecc_counts(dut) == (0, 0)
    for _ in range(2):  # corrected where it lies: found once
        read = await axi.read(addr, 1)
        assert (read.resp, bytes(read.data)) == (AxiResp.OKAY, b"\0")
        assert await ecc_counts(dut) == (1, 0)
    assert Path(params()["image"]).read_bytes()[addr] == 0


@cocotb.test()
async def two_flipped_bits_with_ecc(dut):
    await begins(dut)
    axi = master(dut)
    word = params()["flip_addr"] // 8 * 8
    assert (await axi.read(word, 8)).resp == AxiResp.SLVERR
    assert await ecc_counts(dut) == (0, 1)
    # A part of the word cannot be written, the whole of it can.
    assert (await axi.write(word + 1, b"\x11")).resp == AxiResp.SLVERR
    assert await ecc_counts(dut) == (0, 2)
    assert (await axi.write(word, b"\x22" * 8)).resp == AxiResp.OKAY
    read = await axi.read(word, 8)
    assert (read.resp, bytes(read.data)) == (AxiResp.OKAY, b"\x22" * 8)
    assert await ecc_counts(dut) == (0, 2)
