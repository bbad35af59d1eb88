"""Tests of `hw.scores`."""

import pytest

from hw.scores import Scores
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench


@pytest.mark.parametrize("lanes", [4, 16])
def test_emitted_verilog_equals_golden(lanes):
    fields = {
        "rows": lanes,
        "cols": lanes,
        "lanes": lanes,
        "port_bytes": lanes,
        "max_rows": 8,
        "max_context": 96,
        "page_len": 32,
    }
    run_bench(Scores(ArchConfig(**fields)), "tests.hw.bench_scores", params={"config": fields})
