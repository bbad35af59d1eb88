import dataclasses
import time

import pytest

from hw.spec.config import ArchConfig
from hw.spec.presets import preset
from sim.golden.model import ModelShape
from sim.golden.random_model import small_shape
from sim.perf.cycle_model import CycleModel
from sim.perf.operations import count_passes, operations, roofline
from sim.perf.stream_model import Dram
from sim.perf.workloads import SHAPES, WORKLOADS, Workload, build

SMALL = preset("small")
SHAPE = ModelShape(
    layers=2, dim=576, heads=9, kv_heads=3, head_dim=64, ffn=1536, vocab=3264, context=1024
)
BILLION = ModelShape(
    layers=16, dim=2048, heads=32, kv_heads=8, head_dim=64, ffn=8192, vocab=128256, context=8192
)
LARGE = ArchConfig(
    rows=32, cols=32, port_bytes=32, max_dim=4096, act_blocks=512, max_context=8192, page_len=64
)
CONFIGS = {
    "tiny": preset("tiny"),
    "small": SMALL,
    "8x16": ArchConfig(rows=8, cols=16, lanes=8, port_bytes=32),
    "32x32": LARGE,
    "kv260": preset("kv260"),
    "8x32, 4 tiles": ArchConfig(rows=8, cols=32, port_bytes=32, tiles=4),
}
SEGMENTS = {
    "first": [(1, 0)],
    "decode": [(1, 200)],
    "prefill": [(8, 64)],
    "batch": [(1, 9), (1, 200), (3, 40)],
}


def cycles(segments, shape=SHAPE, config=SMALL, dram=None, **options):
    return CycleModel(config, dram).predict(shape, operations(shape, **options), segments).cycles


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS)
@pytest.mark.parametrize("options", [{}, {"gated": False}, {"biased": True}, {"head_norm": True}])
def test_no_pass_is_faster_than_the_roofline(config, segments, options):
    least = roofline(SHAPE, config, operations(SHAPE, **options), [segments])
    ideal = Dram(refresh_interval=0, latency=1, row_miss_cycles=0, turn_cycles=0)
    for dram in (None, ideal):
        assert cycles(segments, config=config, dram=dram, **options) >= least


@pytest.mark.parametrize("name", ["layers", "dim", "ffn", "vocab"])
def test_more_of_the_model_takes_longer(name):
    more = dataclasses.replace(SHAPE, **{name: 2 * getattr(SHAPE, name)})
    assert cycles([(1, 200)], more) > cycles([(1, 200)])
    assert cycles([(16, 0)], more) > cycles([(16, 0)])


@pytest.mark.parametrize("rows", [1, 5, 16])
def test_more_positions_take_no_less(rows):
    found = [cycles([(rows, first)]) for first in range(0, 1000, 37)]
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_more_rows_take_no_less():
    found = [cycles([(rows, 64)]) for rows in range(1, 65)]
    assert found == sorted(found)


def test_sequences_of_a_batch_share_the_weights():
    one, both = cycles([(1, 64)]), cycles([(1, 64), (1, 64)])
    assert one < both < 1.2 * one


@pytest.mark.parametrize(
    "better",
    [{"port_bytes": 64}, {"port_bytes": 32}, {"stream_depth": 1024}],
    ids=["port64", "port32", "depth"],
)
def test_better_memory_is_not_slower(better):
    config = dataclasses.replace(SMALL, **better)
    for segments in SEGMENTS.values():
        assert cycles(segments, config=config) <= cycles(segments)


@pytest.mark.parametrize("segments", SEGMENTS.values(), ids=SEGMENTS)
def test_more_tiles_are_faster(segments):
    found = [
        cycles(segments, config=dataclasses.replace(SMALL, tiles=tiles)) for tiles in (1, 2, 4)
    ]
    assert found[0] > 1.5 * found[1] > 2.2 * found[2] > 0.5 * found[0]


@pytest.mark.parametrize(("tiles", "most"), [(2, 2), (4, 1)])
def test_tiles_share_the_heads(tiles, most):
    few = dataclasses.replace(SHAPE, heads=3 * most, kv_heads=most)

    def attention(shape, tiles):
        config = dataclasses.replace(SMALL, tiles=tiles)
        found = CycleModel(config).predict(shape, operations(shape), [(1, 200)])
        return found.operators["layer 0 attention"]

    # Blocks of several tiles wait for each other.
    assert attention(few, 1) < attention(SHAPE, tiles) < attention(few, 1) + 20 * tiles


def test_slower_memory_is_not_faster():
    for slow in ({"latency": 100}, {"refresh_interval": 200}, {"turn_cycles": 30}):
        for segments in SEGMENTS.values():
            assert cycles(segments, dram=Dram(**slow)) >= cycles(segments)


@pytest.mark.parametrize("segments", [[], [(65, 0)], [(60, 0), (5, 7)]])
def test_rows_must_fit_the_chip(segments):
    rows = sum(count for count, _ in segments)
    with pytest.raises(ValueError, match=f"the segments must have 1 to 64 rows, not {rows}"):
        cycles(segments)


@pytest.mark.parametrize("config", ["tiny", "small", "8x16", "kv260", "8x32, 4 tiles"])
@pytest.mark.parametrize("options", [(), ("biased",), ("head_norm",), ("ungated",)])
def test_operations_are_those_of_the_compiler(config, options):
    workload = Workload(name="any", shape="little", options=options)
    compiled, found = build(workload, CONFIGS[config]), workload.steps()
    assert [step.name for step in found] == list(compiled.names)
    for ours, theirs in zip(found, compiled.steps, strict=True):
        assert ours.kind == theirs.operator
        if theirs.stream:
            assert ours.words(CONFIGS[config]) == theirs.stream.words


def test_macs_and_bytes_are_counted_once():
    shape = small_shape(layers=1, dim=64, heads=2, kv_heads=1, head_dim=32, ffn=96, vocab=64)
    moved, macs = count_passes(shape, SMALL, operations(shape), [[(2, 3)]])
    weights = 64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 96
    # Rows at positions 3 and 4 see 4 and 5 positions; both heads, q.K and P.V.
    assert macs == 2 * weights + 64 * 64 + 2 * (4 + 5) * 2 * 32
    strips, head, words = 4 + 2 + 6 + 2, 64 * 64 + 2 * 64, 64 * 12
    gains, tables, cache = 3 * 128, 2 * (96 + 64), (5 + 2) * 66
    assert moved == weights + 64 * strips + head + words + gains + tables + cache


def test_bytes_are_those_of_the_first_channel():
    shape = small_shape(layers=1, dim=64, heads=3, kv_heads=3, head_dim=32, ffn=96, vocab=64)
    config = dataclasses.replace(SMALL, cols=32, port_bytes=32, tiles=2)
    moved, macs = count_passes(shape, config, operations(shape), [[(2, 3)]])
    assert macs == count_passes(shape, SMALL, operations(shape), [[(2, 3)]])[1]
    # Strips of qkv, o, gate and up, down, logits, with their blocks: every other one.
    strips = 5 * (64 + 1024 * 2) + 1 * (64 + 1024 * 3) + 3 * (64 + 1024 * 2)
    strips += 1 * (64 + 1024 * 3) + 1 * (64 + 1024 * 2)
    assert moved == strips + 64 * 12 + 3 * 128 + 2 * (96 + 64) + (5 + 2) * 2 * 66


@pytest.mark.parametrize("segments", [[(1, 9)], [(4, 37)], [(3, 100), (8, 0), (1, 19)]])
@pytest.mark.parametrize("window", [1, 5, 20, 33, 1000])
def test_window_is_what_rows_see(segments, window):
    shape = small_shape(layers=1, kv_heads=2)

    def counts(window):
        return count_passes(shape, SMALL, operations(shape, window=window), [segments])

    pairs = keys = lost_pairs = lost_keys = 0
    for rows, first in segments:
        seen = [
            [p for p in range(first + row + 1) if p > first + row - window] for row in range(rows)
        ]
        pairs, keys = sum(map(len, seen)), len(set().union(*seen))
        lost_pairs += sum(first + row + 1 for row in range(rows)) - pairs
        lost_keys += first + rows - keys
    moved, macs = counts(window)
    all_moved, all_macs = counts(0)
    assert all_macs - macs == 2 * lost_pairs * shape.heads * shape.head_dim
    assert all_moved - moved == lost_keys * 2 * shape.kv_heads * (32 + 1)


def test_window_leaves_blocks_out():
    found = [cycles([(1, 500)], window=window) for window in (1, 40, 200, 501, 0)]
    assert found == sorted(found)
    assert found[0] < found[1] < found[2] < found[3] == found[4]
    # The row at position 487 sees those from 448 on, where a block begins.
    assert cycles([(1, 487)], window=40) == cycles([(1, 495)], window=40)
    assert cycles([(1, 487)], window=40) < cycles([(1, 486)], window=40)


def test_thousand_tokens_of_a_billion_parameters_take_seconds():
    passes = [[(1, pos)] for pos in range(1000)]
    began = time.process_time()
    found = CycleModel(LARGE).run(BILLION, operations(BILLION), passes)
    assert time.process_time() - began < 10
    assert len(found) == 1000
    least = roofline(BILLION, LARGE, operations(BILLION), passes)
    assert least < sum(one.cycles for one in found) < 1.1 * least


@pytest.mark.parametrize("name", list(WORKLOADS))
def test_workloads_fit_their_presets(name):
    config = preset(name)
    for workload in WORKLOADS[name]:
        assert workload.start + workload.prompt + workload.tokens <= config.max_context, workload
        shape = SHAPES[workload.shape]
        assert workload.pages(config) * config.page_len <= shape.context, workload
        assert workload.pages(config) * workload.sequences <= config.kv_pages, workload
        assert workload.sequences <= config.max_seqs, workload
