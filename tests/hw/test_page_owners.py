"""Tests of `hw.page_owners`."""

import pytest

from hw.page_owners import PageOwners
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench


@pytest.mark.parametrize(("max_seqs", "kv_pages"), [(3, 21), (1, 2)])
def test_page_owners(max_seqs, kv_pages):
    config = CHIPS["4x4"] | {"max_seqs": max_seqs, "kv_pages": kv_pages}
    run_bench(
        PageOwners(ArchConfig(**config)),
        "tests.hw.bench_page_owners",
        name=f"page_owners_{kv_pages}",
        params={"config": config},
    )
