"""Tests of `hw.norm_operator`."""

import pytest

from hw.norm_operator import NormOperator
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench


@pytest.mark.parametrize(("lanes", "max_dim"), [(4, 96), (16, 64)])
def test_emitted_verilog_equals_golden(lanes, max_dim):
    fields = {
        "rows": lanes,
        "cols": lanes,
        "lanes": lanes,
        "port_bytes": lanes,
        "max_rows": 4,
        "max_dim": max_dim,
    }
    run_bench(
        NormOperator(ArchConfig(**fields)),
        "tests.hw.bench_norm_operator",
        params={"config": fields},
    )
