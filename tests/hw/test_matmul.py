"""The matrix unit."""

import pytest

from hw.spec.config import ArchConfig
from tests.hw.matrix_unit import MatrixUnit
from tests.support.runner import run_bench

SIZES = {"4x4": (4, 4, 4), "8x8": (8, 8, 8), "8x16": (8, 16, 8), "16x16": (16, 16, 16)}
#: With more registers in the array.
REGISTERED = {"8x8_registers": (8, 8, 4), "4x8_registers": (4, 8, 4)}


@pytest.mark.parametrize("size", [*SIZES, *REGISTERED])
def test_jobs_equal_golden(size):
    rows, cols, lanes = (SIZES | REGISTERED)[size]
    fields = {
        "rows": rows,
        "cols": cols,
        "lanes": lanes,
        "port_bytes": cols,
        "max_rows": 8,
        "act_blocks": 520,
        "pe_registers": size in REGISTERED,
    }
    run_bench(
        MatrixUnit(ArchConfig(**fields)),
        "tests.hw.bench_matmul",
        name=f"matmul_{size}",
        params={"config": fields},
    )
