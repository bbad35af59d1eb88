"""Tests of `hw.parity_guard` and of the names of memories."""

from dataclasses import replace

import pytest
from amaranth.hdl import Signal

from hw.core import Core
from hw.lib.parity_inserter import insert_parity
from hw.memory_controller import MemoryController
from hw.parity_guard import ParityGuard
from hw.spec.memories import MEMORIES, memory_code, memory_name
from hw.spec.presets import preset
from tests.support.runner import run_bench


@pytest.mark.parametrize(("count", "rows"), [(2, 4), (9, 5), (70, 16)])
def test_parity_guard(count, rows):
    # Numbers in which all bits are both 0 and 1, whatever a memory is called.
    codes = [0x9E37_79B9 * number % (1 << 32) for number in range(1, count + 1)]
    codes[1] = ~codes[0] % (1 << 32)
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


@pytest.mark.parametrize("name", ["ulx3s", "kv260"])
def test_every_memory_of_a_chip_has_a_name_of_its_own(name):
    config = replace(preset(name), parity=True)
    controller = MemoryController(port_bytes=config.port_bytes, stream_depth=config.stream_depth)
    codes = []
    for unit, inside in (("core", Core(config)), ("memory_3", controller)):
        _, found = insert_parity(inside, None, sweep=Signal(), sweep_row=Signal(24))
        codes += [memory_code(f"{unit}.{one.path}") for one in found]
    assert len(set(codes)) == len(codes) > 50
