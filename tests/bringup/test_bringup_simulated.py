"""The ladder on the simulated board, with a small chip; faults at its pins are named.

The board's own preset and all faults are `make bringup` and `scripts.rehearsal --faults`.
"""

import pytest

from hw.board.boards import BAUD, board
from hw.spec.presets import preset
from scripts.rehearsal import FAULTS, OPTIONS, rehearse
from sim.board.board_simulator import build_board, fastest_link
from sim.bringup.ladder import RUNGS
from sim.verilate import BALANCED


@pytest.fixture(scope="module")
def simulator():
    found = board("ulx3s")
    speedup = fastest_link(found)
    return build_board(found, config=preset("tiny"), link_speedup=speedup, fast=BALANCED)


def test_every_rung_passes(simulator):
    done = rehearse("ulx3s", "tiny", lambda wrong: simulator)
    assert done.verdict == "every rung passes"
    assert done.status == 0
    assert [(o["number"], o["verdict"]) for o in done.outcomes] == [
        (rung.number, "PASS") for rung in RUNGS
    ]


def test_line_at_its_true_rate():
    """A bit of as many cycles as on the board."""
    found = board("ulx3s")
    slow = build_board(found, config=preset("tiny"), fast=BALANCED)
    assert slow.bit_cycles == found.clock_hz // BAUD
    done = rehearse("ulx3s", "tiny", lambda wrong: slow, options=(*OPTIONS, "--only", "1"))
    assert done.status == 0
    assert done.outcomes[0]["found"][1] == "512 register reads, nothing lost"


@pytest.mark.parametrize(
    ("fault", "rung"),
    [
        ("stuck_bit:5:0", 4),
        ("stuck_bit:14:1", 4),
        ("swapped_address:0:7", 4),
        ("retention:1000", 4),
        ("baud:50", 1),
        ("dropped_bytes:3001", 1),
    ],
)
def test_fault_is_named(simulator, fault, rung):
    # Nobody answers at another rate, however long the host waits.
    patience = ("--timeout", "1") if fault.startswith("baud") else ()
    options = (*OPTIONS, "--only", str(rung), *patience)
    done = rehearse("ulx3s", "tiny", lambda wrong: simulator, fault, options)
    assert done.status == 1
    assert done.verdict.startswith(f"rung {rung}: ")
    assert FAULTS[fault] in done.verdict
