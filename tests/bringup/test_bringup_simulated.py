"""The ladder on the simulated board, with a small chip: faults at the pins are named.

All rungs and all faults are `make bringup` and `scripts.rehearsal --faults`.
"""

import pytest

from hw.board.boards import board
from hw.spec.presets import preset
from scripts.rehearsal import FAULTS, LINK_SPEEDUP, OPTIONS, rehearse
from sim.board.board_simulator import build_board


@pytest.fixture(scope="module")
def simulator():
    config = preset("tiny")
    return build_board(board("ulx3s"), config=config, link_speedup=LINK_SPEEDUP, fast=False)


@pytest.mark.parametrize(
    ("fault", "rung"),
    [("stuck_bit:5:0", 4), ("stuck_bit:14:1", 4), ("dropped_bytes:3001", 1)],
)
def test_fault_is_named(simulator, fault, rung):
    options = (*OPTIONS, "--only", str(rung))
    done = rehearse("ulx3s", "tiny", lambda wrong: simulator, fault, options)
    assert done.status == 1
    assert done.verdict.startswith(f"rung {rung}: ")
    assert FAULTS[fault] in done.verdict


def test_board_without_a_fault_passes(simulator):
    options = (*OPTIONS, "--only", "1")
    done = rehearse("ulx3s", "tiny", lambda wrong: simulator, None, options)
    assert (done.status, done.verdict) == (0, "every rung passes")
