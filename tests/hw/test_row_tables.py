"""Tests of `hw.row_tables`."""

import pytest

from hw.row_tables import RowTables
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_row_tables(chip):
    config = CHIPS[chip]
    run_bench(
        RowTables(ArchConfig(**config)),
        "tests.hw.bench_row_tables",
        name=f"row_tables_{chip}",
        params={"config": config},
    )
