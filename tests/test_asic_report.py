"""What `make asic` reports, as tables and in the docs."""

import re

from scripts.synth import cell_report


def test_table_lists_tiles_by_unit_and_elements_together():
    values = dict.fromkeys(cell_report.FIGURES, 1.0)
    names = ("top", "core", "core.tile_0", "core.tile_0.drain", "core.tile_0.drain.x")
    text = cell_report.table("top", dict.fromkeys(names, values))
    assert re.findall(r"^\| (\S+) \| 1.0", text, re.M) == sorted(names[:-1])
    array = ("a", "a.element_0_0", "a.element_0_1", "a.element_0_1.b")
    text = cell_report.table("a", dict.fromkeys(array, values))
    assert re.findall(r"^\| (\S+) \| (\S+)", text, re.M)[1:] == [
        ("a", "1.0"),
        ("a.element_*", "2.0"),
    ]


def test_docs_keep_the_other_results(tmp_path):
    docs = tmp_path / "docs.md"
    words = {"preset": "tiny", "library": "one", "dont_use": [], "command": "c", "tools": "t"}
    words |= {"timing": None, "no_timing": "none"}
    values = dict.fromkeys((*cell_report.FIGURES, "macs"), 0)
    docs.write_text("# Title\n\nWords.\n")
    for unit, area in (("core.x", 1.0), ("core.y", 2.0), ("core.x", 3.0)):
        units = {unit: values | {"area": area}}
        cell_report.update_docs(words | {"module": unit, "units": units}, docs)
    kept = docs.read_text()
    assert kept.startswith("# Title\n\nWords.\n")
    assert "| core.x | 1.0 |" not in kept
    assert kept.index("| core.x | 3.0 |") < kept.index("| core.y | 2.0 |")
    assert kept.count("<!--") == 4
