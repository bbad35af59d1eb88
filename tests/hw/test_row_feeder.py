"""Tests of `hw.row_feeder`."""

from hw.row_feeder import RowFeeder
from hw.spec.config import ArchConfig
from tests.support.runner import run_bench


def test_emitted_verilog_knows_the_place_of_every_strip():
    fields = {"rows": 8, "cols": 8, "lanes": 8, "port_bytes": 8, "max_rows": 4}
    run_bench(
        RowFeeder(ArchConfig(**fields)), "tests.hw.bench_row_feeder", params={"config": fields}
    )
