"""Tests of `hw.qkv_projection`."""

import pytest

from hw.qkv_projection import QkvProjection
from hw.spec.config import ArchConfig
from tests.hw.with_norm import WithNorm
from tests.support.runner import run_bench

SIZES = {
    "4 lanes": {"rows": 4, "cols": 4, "lanes": 4, "port_bytes": 4, "max_head_dim": 64},
    "8 lanes": {"rows": 8, "cols": 8, "lanes": 8, "port_bytes": 8, "max_head_dim": 96},
}


@pytest.mark.parametrize("fields", SIZES.values(), ids=SIZES)
def test_emitted_verilog_equals_golden(fields):
    fields = fields | {"max_rows": 4, "max_dim": 64}
    config = ArchConfig(**fields)
    run_bench(
        WithNorm(QkvProjection(config), config),
        "tests.hw.bench_qkv_projection",
        name="qkvprojection",
        params={"config": fields},
    )
