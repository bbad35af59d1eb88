"""Tests of `hw.board.sdram_controller` and its parts, with the simulated chip."""

import random
from dataclasses import replace

import pytest

from hw.board import sdram_timing
from hw.board.boards import board
from hw.board.sdram_controller import SdramController
from hw.spec.presets import preset
from sim.harness import sdram
from tests.board.sdram_board import SdramBoard
from tests.support.runner import run_bench

BENCH = "tests.board.bench_sdram_controller"
AS4C, WINBOND = "as4c16m16sa-7", "w9825g6kh-6"
ULX3S = board("ulx3s")


def image(path, seed=1):
    """Write a file of random bytes where the benches go, and zeros elsewhere."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    with path.open("wb") as file:
        for row in (0, 1, 5, 8191):
            file.seek(row * 4096)
            file.write(rng.randbytes(4096))
    return path


@pytest.mark.parametrize(
    ("name", "clock_hz", "data_bytes", "capture_delay", "seed"),
    [
        (AS4C, 100_000_000, 8, 0, 1),
        (AS4C, 133_000_000, 8, 2, 2),
        (WINBOND, 119_000_000, 4, 1, 3),
        ("is42s16160g-7", 125_000_000, 16, 4, 4),
        (ULX3S.sdram, ULX3S.clock_hz, preset(ULX3S.preset).port_bytes, ULX3S.capture_delay, 5),
    ],
)
def test_controller(tmp_path, name, clock_hz, data_bytes, capture_delay, seed):
    chip = sdram_timing.chip(name)
    timing = sdram_timing.timing(chip, clock_hz)
    path = image(tmp_path / "image")
    run_bench(
        SdramBoard(timing=timing, data_bytes=data_bytes, capture_delay=capture_delay),
        BENCH,
        params={"image": str(path), "seeds": [seed]},
        sources=sdram.SOURCES,
        plusargs=sdram.plusargs(chip, clock_hz, path, delay=capture_delay),
    )


# A chip whose tRCD, 4 cycles, is longer than the controller's path from rows to columns.
SLOW = replace(sdram_timing.chip(AS4C), rcd_ns=30)

# What is mutated by how much, where it binds, and the rule that is then broken. tRRD and tMRD are
# shorter than the controller's own path, so that no table can break them.
MUTATIONS = {
    "rcd": (SLOW, 133_000_000, 8, -1, "tRCD"),
    "rp": (AS4C, 133_000_000, 8, -1, "tRP"),
    "ras": (WINBOND, 133_000_000, 4, -1, "tRAS"),
    "rc": (WINBOND, 119_000_000, 4, -1, "tRC"),
    "rfc": (AS4C, 133_000_000, 8, -1, "tRFC"),
    "wr": (AS4C, 133_000_000, 8, -1, "tWR"),
    "power_up": (AS4C, 133_000_000, 8, -10, "initialisation"),
    "refresh_interval": (AS4C, 133_000_000, 8, 400, "tREF"),
    "cas_latency": (AS4C, 133_000_000, 8, -1, "CAS latency"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_table_breaks_its_rule(tmp_path, name):
    chip, clock_hz, data_bytes, change, rule = MUTATIONS[name]
    chip = sdram_timing.chip(chip) if isinstance(chip, str) else chip
    timing = sdram_timing.timing(chip, clock_hz)
    mutated = replace(timing, **{name: getattr(timing, name) + change})
    path, log = image(tmp_path / "image"), tmp_path / "log"
    run_bench(
        SdramBoard(timing=mutated, data_bytes=data_bytes),
        "tests.board.bench_sdram_mutant",
        sources=sdram.SOURCES,
        plusargs=sdram.plusargs(chip, clock_hz, path, log=log),
    )
    said = log.read_text().splitlines()
    assert said
    assert all(line.startswith(f"sdram: {rule} is broken in cycle ") for line in said), said[:3]


TIMING = sdram_timing.timing(sdram_timing.chip(AS4C), 133_000_000)


@pytest.mark.parametrize("value", [2, 6, 32, "8"])
def test_port_must_be_one_burst_of_the_chip(value):
    with pytest.raises(ValueError, match=f"data_bytes must be 4, 8 or 16, not {value!r}"):
        SdramController(timing=TIMING, data_bytes=value)


@pytest.mark.parametrize("value", [-1, 5])
def test_capture_delay_must_be_short(value):
    with pytest.raises(ValueError, match=f"capture_delay must be from 0 to 4, not {value!r}"):
        SdramController(timing=TIMING, data_bytes=8, capture_delay=value)
