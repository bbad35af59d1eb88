"""Tests of `hw.admission`, with `hw.page_owners` in it."""

from hw.admission import Admission
from hw.spec.config import ArchConfig
from tests.hw.chips import CHIPS
from tests.support.runner import run_bench

CONFIG = CHIPS["4x4"] | {"max_seqs": 3, "kv_pages": 12}


def test_admission():
    run_bench(
        Admission(ArchConfig(**CONFIG)), "tests.hw.bench_admission", params={"config": CONFIG}
    )
