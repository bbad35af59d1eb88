"""Tests of `scripts.synth.path_estimate` and `scripts.paths`."""

import json

import pytest

from scripts import paths
from scripts.synth.path_estimate import slowest


def cell(kind, **ports):
    ways = {name: "output" if name in ("Q", "Z") else "input" for name in ports}
    connections = {name: [bit] for name, bit in ports.items()}
    return {"type": kind, "parameters": {}, "port_directions": ways, "connections": connections}


@pytest.fixture
def module():
    """Two registers with two LUTs between them, and a third that the first feeds directly."""
    return {
        "attributes": {"top": "1"},
        "cells": {
            "a": cell("TRELLIS_FF", CLK=1, DI=9, Q=2),
            "x": cell("LUT4", A=2, Z=3),
            "y": cell("LUT4", A=3, Z=4),
            "b": cell("TRELLIS_FF", CLK=1, DI=4, Q=5),
            "c": cell("TRELLIS_FF", CLK=1, DI=2, Q=6),
        },
        "netnames": {name: {"bits": [bit]} for name, bit in zip("abc", (2, 5, 6), strict=True)},
    }


def test_longer_path_is_slower_and_counts_its_cells(module):
    first, second = [path for path in slowest(module) if path.start == "a"]
    assert (first.end, first.depth) == ("b", 2)
    assert (second.end, second.depth) == ("c", 0)
    # Two LUTs more, and two connections.
    assert first.delay - second.delay == pytest.approx(2 * 0.24 + 2 * (0.45 + 0.16), abs=0.2)


def test_more_loads_are_slower(module):
    before = slowest(module)[0].delay
    module["cells"] |= {f"load{n}": cell("TRELLIS_FF", CLK=1, DI=3, Q=20 + n) for n in range(30)}
    module["netnames"] |= {f"load{n}": {"bits": [20 + n]} for n in range(30)}
    after = next(path for path in slowest(module) if path.end == "b").delay
    assert after > before + 0.5


def test_command_shows_the_slowest_first(module, tmp_path, capsys):
    netlist = tmp_path / "design.json"
    netlist.write_text(json.dumps({"modules": {"board": module}}))
    assert paths.main([str(netlist), "--count", "1"]) == 0
    assert capsys.readouterr().out.endswith("2 cells  a -> b\n")


@pytest.mark.parametrize("text", ["", "{}", '{"modules": {}}', "[]"])
def test_other_files_are_refused_in_one_line(tmp_path, capsys, text):
    netlist = tmp_path / "design.json"
    netlist.write_text(text)
    assert paths.main([str(netlist)]) == 2
    assert capsys.readouterr().err.startswith(f"paths: {netlist} is no netlist of Yosys: ")
