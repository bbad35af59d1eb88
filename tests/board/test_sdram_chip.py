"""Tests of the simulated SDRAM, `sim/harness/sdram.sv`."""

import random

import pytest

from hw.board import sdram_timing
from hw.board.sdram_commands import mode_word
from sim.harness import sdram
from tests.board.sdram_board import SdramChip
from tests.support.runner import run_bench

CHIP = sdram_timing.chip("w9825g6kh-6")
CLOCK_HZ = 119_000_000  # where tRC is longer than tRAS and tRP together
MODE = mode_word(cas_latency=3, beat_words=4)

SHORT = {"power_up": 10_000_000}  # picoseconds


def run(tmp_path, tests, params=None, chip=CHIP, mode=MODE, **options):
    image, log = tmp_path / "image", tmp_path / "log"
    image.write_bytes(random.Random(7).randbytes(1 << 14))
    timing = sdram_timing.timing(chip, CLOCK_HZ)
    names = ("rcd", "rp", "ras", "rc", "rfc", "rrd", "wr", "mrd", "refresh_interval")
    times = {name: getattr(timing, name) for name in names}
    times["power_up"] = -(-10_000 * CLOCK_HZ // 10**9)
    times["ras_max"] = int(chip.ras_max_ns * CLOCK_HZ // 10**9)
    times["init_refreshes"] = chip.init_refreshes
    run_bench(
        SdramChip(),
        "tests.board.bench_sdram_rules",
        params={
            "log": str(log),
            "image": str(image),
            "times": times,
            "mode": mode,
            **(params or {}),
        },
        sources=sdram.SOURCES,
        plusargs=sdram.plusargs(chip, CLOCK_HZ, image, **{"log": log, **SHORT, **options}),
        tests=tests,
    )


def test_every_rule_is_kept_at_its_limit_and_broken_a_cycle_before(tmp_path):
    # A latency of 2 is too short for this chip at this clock.
    slow = sdram_timing.chip("as4c16m16sa-6")
    run(tmp_path, "every_rule", chip=CHIP, tcl2=int(slow.cl2_ns * 1000))


@pytest.mark.parametrize("how", ["good", "early", "few", "no precharge"])
def test_rules_of_power_up(tmp_path, how):
    run(tmp_path, "rules_of_power_up", {"up": how})


@pytest.mark.parametrize(("cas", "words"), [(2, 8), (3, 4), (2, 2)])
def test_words_come_after_the_latency_and_masks_hold(tmp_path, cas, words):
    run(tmp_path, "words_come", mode=mode_word(cas_latency=cas, beat_words=words))


FAULTS = {
    "none": {},
    "weak row": {"weak_row": 1, "weak_retention": 10_000_000},
    "stuck bit": {"stuck_bit": 5, "stuck_value": 1},
    "swapped lines": {"swap_a": 4, "swap_b": 5},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_can_be_injected(tmp_path, fault):
    run(tmp_path, "faults_can", {"fault": fault}, **FAULTS[fault])
