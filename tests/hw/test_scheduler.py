"""Tests of `hw.scheduler`, with `hw.admission`, `hw.pass_planner` and `hw.pass_rows` in it."""

import pytest

from hw.scheduler import Scheduler
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(("chip", "max_seqs", "seeds"), [("4x4", 3, 6), ("16x16", 8, 1)])
def test_scheduler(chip, max_seqs, seeds):
    config = CHIPS[chip] | {"max_seqs": max_seqs, "kv_pages": 128}
    if chip == "16x16":  # positions of all widths: prompts may not fit into memory
        config |= {"page_len": 1 << 28, "max_context": 7 << 28}
    run_bench(
        Scheduler(ArchConfig(**config)),
        "tests.hw.bench_scheduler",
        name=f"scheduler_{chip}",
        params={"config": config, "seeds": seeds},
    )
