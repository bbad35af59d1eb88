"""Tests of `hw.result_path`."""

import pytest

from hw.result_path import ResultPath
from hw.spec.config import ArchConfig
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
    run_bench(
        ResultPath(ArchConfig(**fields)), "tests.hw.bench_result_path", params={"config": fields}
    )
