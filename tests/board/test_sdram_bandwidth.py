"""Share of the SDRAM's pins that streams use, refresh included."""

import re

import pytest

from hw.board import sdram_timing
from hw.board.boards import board
from hw.spec.presets import preset
from sim.harness import sdram
from tests.board.sdram_board import SdramBoard
from tests.support.runner import run_bench

ULX3S = board("ulx3s")
STREAMS = {"read": (["ar"], 0.93), "write": (["aw"], 0.93), "both": (["ar", "aw"], 0.85)}


@pytest.mark.parametrize("streams", STREAMS)
@pytest.mark.parametrize(
    ("name", "clock_hz", "capture_delay"),
    [
        ("as4c16m16sa-7", 100_000_000, 0),
        ("as4c16m16sa-7", 133_000_000, 0),
        (ULX3S.sdram, ULX3S.clock_hz, ULX3S.capture_delay),
    ],
)
def test_streams_fill_the_pins(tmp_path, name, clock_hz, capture_delay, streams):
    chip = sdram_timing.chip(name)
    image = tmp_path / "image"
    image.write_bytes(b"")
    channels, least = STREAMS[streams]
    printed = run_bench(
        SdramBoard(
            timing=sdram_timing.timing(chip, clock_hz),
            data_bytes=preset(ULX3S.preset).port_bytes,
            capture_delay=capture_delay,
        ),
        "tests.board.bench_sdram_bandwidth",
        params={"channels": channels, "least": least},
        sources=sdram.SOURCES,
        plusargs=sdram.plusargs(chip, clock_hz, image, delay=capture_delay),
    )
    print(name, clock_hz, streams, *re.findall(r"share of the pins: \S+", printed))
