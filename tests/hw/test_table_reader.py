"""Tests of `hw.table_reader`."""

import pytest

from hw.spec.config import ArchConfig
from hw.table_reader import TableReader
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_table_reader(chip):
    config = CHIPS[chip]
    run_bench(
        TableReader(ArchConfig(**config)),
        "tests.hw.bench_table_reader",
        name=f"table_reader_{chip}",
        params={"config": config},
    )
