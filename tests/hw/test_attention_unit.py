"""Tests of attention as a whole."""

import pytest

from hw.spec.config import ArchConfig
from tests.hw.attention_unit import AttentionUnit
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench

SIZES = CHIPS | {"longest heads": CHIPS["16x16"] | {"max_context": 64, "max_head_dim": 256}}


@pytest.mark.parametrize("chip", SIZES)
def test_attention_equals_golden(chip):
    config = SIZES[chip] | {"max_seqs": 4}
    run_bench(
        AttentionUnit(ArchConfig(**config)),
        "tests.hw.bench_attention_unit",
        name=f"attention_unit_{chip.replace(' ', '_')}",
        params={"config": config},
    )
