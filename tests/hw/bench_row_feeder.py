"""Bench for `hw.row_feeder`: the place of each strip; what is fed is `bench_matmul`'s."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import Dest
from hw.row_feeder import RowFeeder
from hw.spec.config import ArchConfig
from tests.hw.vector_stream import seeded
from tests.support.bench import pack, params, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = RowFeeder(CONFIG)
JOB, STRIP = DUT.job.shape(), DUT.strip.shape()

#: Jobs by name: destination, strips of each section, blocks of a head.
JOBS = {
    "residual": (Dest.RESIDUAL, (4, 0, 0), 0),
    "logits": (Dest.LOGITS, (3, 0, 0), 0),
    "qkv": (Dest.QKV, (6, 4, 4), 2),
    "qkv of one block": (Dest.QKV, (3, 1, 1), 1),
    "gate and up": (Dest.GLU, (3, 3, 0), 0),
    "one gate, one up": (Dest.GLU, (1, 1, 0), 0),
    "no up": (Dest.GLU, (5, 0, 0), 0),
    "one gate": (Dest.GLU, (1, 0, 0), 0),
}


def places(dest, strips, head_blocks):
    """Return section and strip in it of each strip in order; for q, k, v also head and block."""
    if dest == Dest.GLU and strips[1]:
        return [(section, strip) for strip in range(strips[0]) for section in (0, 1)]
    return [
        (section, strip, *(divmod(strip, head_blocks) if dest == Dest.QKV else ()))
        for section, count in enumerate(strips)
        for strip in range(count)
    ]


async def run_job(dut, rng, name):
    """Run a job whose tiles and banks come at random; compare its strips."""
    dest, strips, head_blocks = JOBS[name]
    job = {
        "dest": dest,
        "strips": sum(strips),
        "blocks": rng.randrange(1, 3),
        "heads": 1,
        "head_rows": rng.randrange(1, CONFIG.max_rows + 1),
        "head_blocks": head_blocks,
        **{f"strips{index}": count for index, count in enumerate(strips)},
    }
    dut.job.value = pack(JOB, job)
    dut.loading.value = 1
    found, banks = [], []
    for cycle in range(5000):
        dut.tile_ready.value = rng.randrange(2)
        dut.banks_used.value = rng.choice((0, 0, 1, 2, 3))
        await ReadOnly()
        begins, busy = int(dut.begins.value), int(dut.busy.value)
        if begins:
            banks.append(begins - 1)
            found.append(unpack(STRIP, int(dut.strip.value)))
        await RisingEdge(dut.clk)
        dut.loading.value = 0
        if cycle > 1 and not busy:
            break
    wanted = places(dest, strips, head_blocks)
    fields = ("section", "section_strip", "head", "block")[: len(wanted[0])]
    got = [tuple(strip[field] for field in fields) for strip in found]
    assert got == wanted, name
    assert [s["last"] for s in found] == [0] * (len(wanted) - 1) + [1], name
    assert all(a != b for a, b in zip(banks, banks[1:], strict=False)), name


@cocotb.test()
@cocotb.parametrize(name=list(JOBS))
async def strips_are_placed_among_the_outputs(dut, name):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    await run_job(dut, seeded(), name)


@cocotb.test()
async def a_job_leaves_nothing_to_the_next(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    for name in rng.sample(list(JOBS) * 3, 3 * len(JOBS)):
        await run_job(dut, rng, name)
