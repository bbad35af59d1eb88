"""Tests of `hw.token_choice`; draws of many kinds are those of `hw.sampler`."""

import pytest

from hw.spec.config import ArchConfig
from hw.token_choice import TokenChoice
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(
    ("chip", "sizes"),
    [("4x4", {"max_seqs": 3, "list_len": 8}), ("16x16_port64", {"max_seqs": 8, "list_len": 32})],
)
def test_token_choice(chip, sizes):
    config = CHIPS[chip] | sizes
    run_bench(
        TokenChoice(ArchConfig(**config)),
        "tests.hw.bench_token_choice",
        name=f"token_choice_{chip}",
        params={"config": config},
    )
