"""Benches for `hw.board.sdram_controller` with the simulated chip."""

from pathlib import Path

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge

from tests.board.axi_traffic import AxiTraffic, Burst, keeps_offers, seeded
from tests.support.bench import STALLS, params, start, watchdog

IMAGE = Path(params()["image"])
ROW_BYTES = 1024


async def begin(dut, *, stall="never", limit=400_000):
    await start(dut)  # also while the chip is up
    await RisingEdge(dut.ready)
    cocotb.start_soon(watchdog(dut, limit))
    cocotb.start_soon(keeps_offers(dut))
    return AxiTraffic(dut, bytearray(IMAGE.read_bytes()), stall=STALLS[stall])


def compare(traffic):
    got, expected = IMAGE.read_bytes(), bytes(traffic.memory)
    if got != expected:
        at = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        raise AssertionError(f"byte {at:#x} of the chip is {got[at]:#x}, not {expected[at]:#x}")


def place(rng, traffic):
    """Return an address and a length: near row ends, in few rows, at the end, beyond it."""
    size, step = len(traffic.memory), traffic.beat_bytes
    beats = rng.choice((1, 1, 1, 2, 3, 4, 7, 8, 9, 16, 32, rng.randrange(1, 65)))
    beats = min(beats, 4096 // step)
    row, bank = rng.choice((0, 1, 5, 8191)), rng.randrange(4)
    addr = (row * 4 + bank) * ROW_BYTES + rng.randrange(ROW_BYTES)
    if rng.random() < 0.2:
        addr = (addr // ROW_BYTES + 1) * ROW_BYTES - step * rng.randrange(1, 4)
    if rng.random() < 0.04:
        addr = size * rng.randrange(1, 100) + addr % 4096
    room = (4096 - addr % 4096 + step - 1) // step  # no burst leaves its page
    return addr, min(beats, room)


def random_bursts(rng, traffic, count, *, write):
    for _ in range(count):
        addr, beats = place(rng, traffic)
        kind = 0 if rng.random() < 0.03 else 1
        burst = Burst(rng.randrange(16), addr, beats, burst=kind)
        yield traffic.random_write(rng, burst) if write else burst


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=params().get("seeds", [1]))
async def random_traffic_equals_a_plain_memory(dut, stall, seed):
    rng = seeded(seed)
    traffic = await begin(dut, stall=stall)
    for _ in range(2):
        tasks = [
            cocotb.start_soon(traffic.write(list(random_bursts(rng, traffic, 80, write=True)))),
            cocotb.start_soon(traffic.read(list(random_bursts(rng, traffic, 80, write=False)))),
        ]
        for task in tasks:
            await task
        await traffic.finish()
        await ClockCycles(dut.clk, rng.randrange(3000))  # refreshes while idle
    compare(traffic)


@cocotb.test()
async def reset_while_reading_loses_nothing(dut):
    rng = seeded(6)
    for _ in range(4):
        traffic = await begin(dut)
        reading = cocotb.start_soon(traffic.read([Burst(0, i * 4096, 8) for i in range(1000)]))
        await ClockCycles(dut.clk, rng.randrange(500, 1500))
        for task in (reading, *traffic.tasks):
            task.cancel()
    up_since = int(dut.cycles.value)
    traffic = await begin(dut)
    assert int(dut.cycles.value) - up_since < 1000, "the chip was brought up as if it had no power"
    bursts = list(random_bursts(rng, traffic, 40, write=False))
    await traffic.read(bursts)
    await traffic.finish()
    compare(traffic)


@cocotb.test()
async def bursts_of_every_length_are_read_back(dut):
    rng = seeded(3)
    traffic = await begin(dut)
    most = min(256, 4096 // traffic.beat_bytes)
    lengths = [*range(1, 35), *(n for n in (63, 64, 65, 127, 128, 129, 255, 256) if n <= most)]
    for beats in lengths:
        addr = rng.randrange(1000) * 4096
        addr += rng.randrange(most - beats + 1) * traffic.beat_bytes
        burst = Burst(beats % 16, addr, beats)
        await traffic.write([traffic.random_write(rng, burst)])
        await traffic.read([burst])
    await traffic.finish()
    compare(traffic)


@cocotb.test()
async def read_sees_a_write_that_was_answered(dut):
    rng = seeded(4)
    traffic = await begin(dut)
    for _ in range(40):
        burst = Burst(1, rng.randrange(4) * ROW_BYTES, 1)
        await traffic.write([traffic.random_write(rng, burst)])
        await traffic.read([burst])
    await traffic.finish()


@cocotb.test()
async def reads_that_nobody_takes_do_not_stop_writes(dut):
    rng = seeded(5)
    traffic = await begin(dut)
    traffic.tasks[1].cancel()  # nobody takes reads
    dut.axi__rready.value = 0
    reading = cocotb.start_soon(traffic.read([Burst(0, i * 64, 4) for i in range(100)]))
    await ClockCycles(dut.clk, 2000)
    base = 1 << 20
    writes = [Burst(0, base + i * 64, 4) for i in range(50)]
    await traffic.write([traffic.random_write(rng, burst) for burst in writes])
    while traffic.writes:
        await RisingEdge(dut.clk)
    reading.cancel()
    dut.axi__arvalid.value = 0
    dut.axi__rready.value = 1
    await ClockCycles(dut.clk, 3000)
