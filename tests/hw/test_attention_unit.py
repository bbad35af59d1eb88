"""Tests of attention as a whole."""

import pytest

from hw.spec.config import ArchConfig
from tests.hw.attention_unit import AttentionUnit
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize("chip", CHIPS)
def test_attention_equals_golden(chip):
    config = CHIPS[chip]
    run_bench(
        AttentionUnit(ArchConfig(**config)),
        "tests.hw.bench_attention_unit",
        name=f"attention_unit_{chip}",
        params={"config": config},
    )
