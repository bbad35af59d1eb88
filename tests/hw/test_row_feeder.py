"""Tests of `hw.row_feeder`."""

import pytest

from hw.row_feeder import RowFeeder
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench

SHAPE = {"rows": 8, "cols": 8, "lanes": 8, "port_bytes": 8, "max_rows": 4}


@pytest.mark.parametrize(
    ("fields", "group"), [(SHAPE, 0), (SHAPE | {"tiles": 4, "cols": 16, "port_bytes": 16}, 1)]
)
def test_emitted_verilog_feeds_every_row_and_knows_the_place_of_every_strip(fields, group):
    run_bench(
        RowFeeder(ArchConfig(**fields), group=group),
        "tests.hw.bench_row_feeder",
        params={"config": fields, "group": group},
    )
