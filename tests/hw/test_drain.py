"""Tests of `hw.drain`."""

import pytest

from hw.drain import Drain
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench

SIZES = {"4x4": (4, 4), "16 columns, 8 lanes": (16, 8)}


@pytest.mark.parametrize(("cols", "lanes"), SIZES.values(), ids=SIZES)
def test_emitted_verilog_equals_golden(cols, lanes):
    fields = {"rows": 4, "cols": cols, "lanes": lanes, "port_bytes": cols, "max_rows": 4}
    run_bench(Drain(ArchConfig(**fields)), "tests.hw.bench_drain", params={"config": fields})
