"""Tests of `hw.kv_reader`."""

import pytest

from hw.kv_reader import KvReader
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_kv_reader(chip):
    config = CHIPS[chip] | {"max_seqs": 3}
    run_bench(
        KvReader(ArchConfig(**config)),
        "tests.hw.bench_kv_reader",
        name=f"kv_reader_{chip}",
        params={"config": config},
    )
