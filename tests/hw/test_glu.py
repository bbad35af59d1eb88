"""Tests of `hw.glu`."""

import pytest

from hw.glu import Glu
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench


@pytest.mark.parametrize("lanes", [4, 8])
def test_emitted_verilog_equals_golden(lanes):
    fields = {"rows": lanes, "cols": lanes, "lanes": lanes, "port_bytes": lanes, "max_rows": 4}
    run_bench(Glu(ArchConfig(**fields)), "tests.hw.bench_glu", params={"config": fields})
