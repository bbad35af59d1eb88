"""Tests of `hw.result_path`."""

import pytest

from hw.result_path import ResultPath
from hw.spec.config import ArchConfig
from tests.hw.with_norm import WithNorm
from tests.support.runner import run_bench


@pytest.mark.parametrize("lanes", [4, 8])
def test_emitted_verilog_equals_golden(lanes):
    fields = {
        "rows": lanes,
        "cols": lanes,
        "lanes": lanes,
        "port_bytes": lanes,
        "max_rows": 4,
        "max_dim": 64,
        "max_head_dim": 64,
    }
    config = ArchConfig(**fields)
    run_bench(
        WithNorm(ResultPath(config), config),
        "tests.hw.bench_result_path",
        name="resultpath",
        params={"config": fields},
    )
