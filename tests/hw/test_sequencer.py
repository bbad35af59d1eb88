"""Tests of `hw.sequencer`."""

import pytest

from hw.sequencer import Sequencer
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench

FIELDS = {
    "rows": 4,
    "cols": 4,
    "lanes": 4,
    "port_bytes": 4,
    "max_rows": 8,
    "max_seqs": 5,
    "max_dim": 96,
    "act_blocks": 12,
    "max_head_dim": 64,
}


#: Tiles that share each strip, and tiles of which some have a strip less than others.
CHIPS = {
    "one tile": {},
    "two members": {"tiles": 2},
    "two groups of two": {"cols": 16, "port_bytes": 16, "tiles": 4},
    "four groups": {"cols": 32, "port_bytes": 32, "tiles": 4},
}


@pytest.mark.parametrize("chip", CHIPS)
def test_emitted_verilog_runs_programs_and_refuses_words(chip):
    fields = FIELDS | CHIPS[chip]
    run_bench(
        Sequencer(ArchConfig(**fields)),
        "tests.hw.bench_sequencer",
        name=f"sequencer_{chip.replace(' ', '_')}",
        params={"config": fields},
    )
