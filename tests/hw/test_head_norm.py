"""Tests of `hw.head_norm`."""

import pytest

from hw.head_norm import HeadNorm
from hw.spec.config import ArchConfig
from tests.hw.with_norm import WithNorm
from tests.support.runner import run_bench

SIZES = {
    "4 lanes": {"rows": 4, "cols": 4, "lanes": 4, "port_bytes": 4, "max_head_dim": 96},
    "16 lanes": {"rows": 16, "cols": 16, "lanes": 16, "port_bytes": 16, "max_head_dim": 256},
}


@pytest.mark.parametrize("fields", SIZES.values(), ids=SIZES)
def test_emitted_verilog_equals_golden(fields):
    fields = fields | {"max_rows": 8, "max_dim": 64}
    config = ArchConfig(**fields)
    run_bench(
        WithNorm(HeadNorm(config), config, watched=True),
        "tests.hw.bench_head_norm",
        name="headnorm",
        params={"config": fields},
    )
