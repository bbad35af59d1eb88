"""Tests of `hw.norm_operator`."""

import pytest

from hw.norm_operator import NormOperator
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench


# A head may be longer than the residual.
@pytest.mark.parametrize(("lanes", "max_dim", "max_head_dim"), [(4, 96, 64), (16, 64, 96)])
def test_emitted_verilog_equals_golden(lanes, max_dim, max_head_dim):
    fields = {
        "rows": lanes,
        "cols": lanes,
        "lanes": lanes,
        "port_bytes": lanes,
        "max_rows": 4,
        "max_seqs": 3,
        "max_dim": max_dim,
        "max_head_dim": max_head_dim,
    }
    run_bench(
        NormOperator(ArchConfig(**fields)),
        "tests.hw.bench_norm_operator",
        params={"config": fields},
    )
