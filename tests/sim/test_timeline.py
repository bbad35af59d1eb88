import json
from itertools import product

import numpy as np
import pytest

from hw.probe import TILE_UNITS, UNITS, units_layout
from sim.perf.report import where_cycles_go
from sim.perf.timeline import (
    OP_SHIFT,
    OP_WIDTH,
    RUNNING_BIT,
    TILES_SHIFT,
    Interval,
    intervals,
    operators,
    read_units,
    works_of,
    write_timeline,
)

NAMES = ("embed", "layer 0 qkv")


def bits(*units, op=None):
    word = sum(1 << UNITS.index(unit) for unit in units)
    return word if op is None else word | 1 << RUNNING_BIT | op << OP_SHIFT


RECORDS = [
    (10, bits(op=0)),
    (12, bits("tables", op=0)),
    (20, bits()),
    (21, bits("feeding", "loading", op=1)),
    (23, bits("loading", op=1)),
    (28, bits("feeding", op=1)),
    (60, bits("drain", op=1)),
    (64, bits("feeding", op=1)),
    (65, bits()),
]


@pytest.fixture
def trace():
    return np.array(RECORDS, dtype="<u8").T


@pytest.mark.parametrize("tiles", [1, 2, 4])
def test_bits_are_where_the_chip_puts_them(tiles):
    layout = units_layout(tiles)
    assert [layout[name].offset for name in UNITS] == list(range(len(UNITS)))
    assert layout["running"].offset == RUNNING_BIT
    assert (layout["op"].offset, layout["op"].width) == (OP_SHIFT, OP_WIDTH)
    assert layout.size <= 64
    for tile, unit in product(range(1, tiles), TILE_UNITS):
        word = np.array([1 << layout[f"{unit}_{tile}"].offset], "<u8")
        shown = [(u, t) for t in range(1, tiles) for u in TILE_UNITS if works_of(word, u, t)]
        assert shown == [(unit, tile)]


def test_short_gaps_join_intervals(trace):
    assert intervals(*trace, "feeding", join=5) == [Interval(21, 23, 2), Interval(28, 65, 33)]
    assert intervals(*trace, "feeding", join=6) == [Interval(21, 65, 35)]
    assert intervals(*trace, "loading") == [Interval(21, 28, 7)]
    assert intervals(*trace, "softmax") == []


def test_unit_that_works_at_the_end_works_one_more_cycle(trace):
    cycles, words = trace
    assert intervals(cycles[:-1], words[:-1], "feeding", join=1)[-1] == Interval(64, 65, 1)


def test_operators_follow_each_other(trace):
    assert operators(*trace) == [Interval(10, 20, 10, 0), Interval(21, 65, 44, 1)]


def test_every_cycle_has_one_part(trace):
    parts = where_cycles_go(*trace)
    assert sum(parts.values()) == 55
    expected = {"rows fed": 35, "weights loaded": 5, "embedding, rope": 8, "results leave": 4}
    assert {label: count for label, count in parts.items() if count} == expected | {"latencies": 3}


def test_timeline_has_a_track_for_each_unit(trace, tmp_path):
    np.array(RECORDS, dtype="<u8").tofile(tmp_path / "units.bin")
    path = write_timeline(tmp_path / "units.bin", tmp_path / "timeline.json", NAMES)
    events = json.loads(path.read_text())["traceEvents"]
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert list(tracks) == ["operator", *UNITS]
    shown = [e for e in events if e["ph"] == "X" and e["tid"] == tracks["operator"]]
    assert [(e["name"], e["ts"], e["dur"]) for e in shown] == [
        ("embed", 10, 10),
        ("layer 0 qkv", 21, 44),
    ]


def of_tile(tile, *units):
    at = TILES_SHIFT + (tile - 1) * len(TILE_UNITS)
    return sum(1 << at + TILE_UNITS.index(unit) for unit in units)


def test_cycles_of_several_tiles_are_their_mean():
    records = [
        (0, bits("feeding", op=3) | of_tile(1, "feeding")),
        (10, bits("feeding", op=3) | of_tile(1, "starved")),
        (16, bits("norm", op=4)),
        (20, bits()),
    ]
    trace = np.array(records, "<u8").T
    parts = where_cycles_go(*trace, tiles=2)
    shown = {label: count for label, count in parts.items() if count}
    assert shown == {"rows fed": (16 + 10) / 2, "waiting for weights": 3, "norm": 4}
    assert intervals(*trace, "feeding", 1) == [Interval(0, 10, 10)]
    assert operators(*trace) == [Interval(0, 16, 16, 3), Interval(16, 20, 4, 4)]


def test_further_tiles_have_tracks_of_their_own(tmp_path):
    records = [(5, of_tile(1, "drain")), (9, 0)]
    np.array(records, dtype="<u8").tofile(tmp_path / "units.bin")
    path = write_timeline(tmp_path / "units.bin", tmp_path / "timeline.json", NAMES, tiles=2)
    events = json.loads(path.read_text())["traceEvents"]
    tracks = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    assert list(tracks)[:3] == ["operator", "feeding", "feeding 1"]
    assert len(tracks) == 1 + len(UNITS) + len(TILE_UNITS)
    (shown,) = (e for e in events if e["ph"] == "X")
    assert (shown["tid"], shown["ts"], shown["dur"]) == (tracks["drain 1"], 5, 4)


def test_broken_file_is_refused(tmp_path):
    path = tmp_path / "units.bin"
    path.write_bytes(bytes(24))
    with pytest.raises(ValueError, match="must have whole records of 16 bytes"):
        read_units(path)
