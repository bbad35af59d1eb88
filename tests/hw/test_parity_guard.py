"""Tests of `hw.parity_guard` and of the names of memories."""

import pytest

from hw.parity_guard import ParityGuard
from hw.spec.memories import MEMORIES, memory_code, memory_name
from tests.support.runner import run_bench


@pytest.mark.parametrize(("count", "rows"), [(2, 4), (9, 5), (70, 16)])
def test_parity_guard(count, rows):
    codes = [3 * number + 1 for number in range(count)]
    run_bench(
        ParityGuard(codes, rows=rows),
        "tests.hw.bench_parity_guard",
        name=f"parity_guard_{count}",
        params={"codes": codes, "rows": rows},
    )


def test_codes_must_name_a_memory():
    with pytest.raises(ValueError, match="codes must name a memory at least"):
        ParityGuard([], rows=4)


def test_code_of_a_memory_holds_its_place_and_its_numbers():
    code = memory_code("core.tile_3.scores.softmax.exp_2")
    assert MEMORIES[code & 0xFF] == "core.tile.scores.softmax.exp"
    assert code >> 8 == 2 << 8 | 3
    assert memory_name(code) == "core.tile.scores.softmax.exp (3, 2)"
    assert memory_code(MEMORIES[0]) == 0
    assert memory_name(0xFF) == "0xff"


def test_memory_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"MEMORIES, not 'core\.nothing'"):
        memory_code("core.nothing")


def test_names_of_memories_are_different_and_fit():
    assert len(set(MEMORIES)) == len(MEMORIES) < 0xFF
