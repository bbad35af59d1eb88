"""Tests of `hw.scheduler`, with `hw.admission` and `hw.page_owners` in it."""

import pytest

from hw.scheduler import Scheduler
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", ["4x4", "16x16"])
def test_scheduler(chip):
    config = CHIPS[chip] | {"max_seqs": {"4x4": 3, "16x16": 8}[chip], "kv_pages": 128}
    run_bench(
        Scheduler(ArchConfig(**config)),
        "tests.hw.bench_scheduler",
        name=f"scheduler_{chip}",
        params={"config": config},
    )
