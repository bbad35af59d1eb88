"""Bench for `hw.lib.collision`."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.hw.colliding_store import CollidingStore
from tests.hw.vector_stream import seeded
from tests.support.bench import pack, params, start, unpack, watchdog

DUT = CollidingStore(**params())
LANES, DEPTH = len(DUT.write_en), DUT.depth
CYCLES = 500


@cocotb.test()
async def only_undefined_reads_of_the_row_that_is_written_are_wrong(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, CYCLES + 50))
    words = [[0] * LANES for _ in range(DEPTH)]
    shown, collisions, kept = None, 0, 0
    for number in range(CYCLES):
        # First every row is written.
        enables = [number < DEPTH or rng.random() < 0.3 for _ in range(LANES)]
        row = number if number < DEPTH else rng.randrange(DEPTH)
        word = [rng.getrandbits(8) for _ in range(LANES)]
        asks = number >= DEPTH and rng.random() < 0.7
        at = rng.choice((row, rng.randrange(DEPTH)))
        dut.write_en.value = sum(enable << lane for lane, enable in enumerate(enables))
        dut.write_addr.value, dut.write.value = row, pack(DUT.shape, word)
        dut.read_en.value, dut.read_addr.value = int(asks), at
        await ReadOnly()
        if shown is not None:
            got = {name: unpack(DUT.shape, int(getattr(dut, name).value)) for name in shown}
            assert got == shown, f"cycle {number}"
        await RisingEdge(dut.clk)
        before = words[at]
        if any(enables):
            words[row] = [
                new if enable else old
                for old, new, enable in zip(words[row], word, enables, strict=True)
            ]
        if asks:
            collides = any(enables) and at == row
            wrong = [x ^ 0xFF for x in before]
            shown = {"old": before, "old_new": words[at], "undefined_new": words[at]}
            shown["undefined"] = wrong if collides else before
            collisions += collides
        elif shown is not None:
            kept += 1
    assert collisions > 50
    assert kept > 50
