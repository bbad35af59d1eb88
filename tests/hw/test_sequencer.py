"""Tests of `hw.sequencer`."""

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


def test_emitted_verilog_runs_programs_and_refuses_words():
    run_bench(
        Sequencer(ArchConfig(**FIELDS)), "tests.hw.bench_sequencer", params={"config": FIELDS}
    )
