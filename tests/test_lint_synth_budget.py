import pytest

from scripts.synth import area_plot, budget, report

BUDGETS = {"tiny": {"core": {"lut": 1000, "ff": 0, "mhz": 100.0}}}


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        ({"lut": 1030}, None),
        ({"lut": 1040}, "tiny: core: lut is 1,040, 4.0% worse than its budget of 1,000"),
        ({"lut": 700}, None),
        ({"ff": 1}, "tiny: core: ff is 1, anything worse than its budget of 0"),
        ({"mhz": 97.0}, None),
        ({"mhz": 96.0}, "tiny: core: mhz is 96.0, 4.0% worse than its budget of 100.0"),
        ({"dsp": 2}, "tiny: core: dsp has no budget"),
        ({"memory_bits": 5}, None),
    ],
    ids=str,
)
def test_figure_may_be_three_percent_worse(figures, line):
    assert budget.exceeded(BUDGETS, "tiny", {"core": figures}) == ([line] if line else [])


def test_unit_without_budget_and_budget_without_unit_are_told():
    assert budget.exceeded(BUDGETS, "tiny", {"csr": {"lut": 5}}) == [
        "tiny: csr: lut has no budget",
        "tiny: core: has a budget and is not there",
    ]


def test_accepting_areas_keeps_frequencies(tmp_path):
    areas = {"core": dict.fromkeys(budget.AREAS, 7), "csr": dict.fromkeys(budget.AREAS, 1)}
    path = tmp_path / "budgets.toml"
    budget.save(budget.accepted(BUDGETS, "tiny", areas), path)
    saved = budget.load(path)
    assert saved["tiny"]["core"] == areas["core"] | {"mhz": 100.0}
    assert budget.exceeded(saved, "tiny", areas) == []


def test_accepting_one_preset_keeps_the_others():
    areas = {"core": dict.fromkeys(budget.AREAS, 7)}
    assert budget.accepted(BUDGETS, "ulx3s", areas)["tiny"] == BUDGETS["tiny"]


def test_broken_budgets_are_named(tmp_path):
    path = tmp_path / "budgets.toml"
    path.write_text("[tiny\n")
    with pytest.raises(ValueError, match="budgets.toml: "):
        budget.load(path)


def test_docs_change_between_their_markers_only(tmp_path):
    figures = dict.fromkeys(report.FIGURES, 1234)
    path = tmp_path / "synthesis.md"
    path.write_text("a\n<!-- areas of tiny, by make budgets -->\nold\n<!-- end of tiny -->\nb\n")
    report.update_docs("tiny", {"top": figures}, "yosys 1", path)
    text = path.read_text()
    assert text.startswith("a\n<!-- areas of tiny, by make budgets -->\n\nyosys 1.\n")
    assert "| top | 1,234 |" in text
    assert "old" not in text
    assert text.endswith("<!-- end of tiny -->\nb\n")
    report.update_docs("ulx3s", {"top": figures}, "yosys 1", path)
    assert path.read_text() == text


def test_units_of_a_tile_and_of_a_board_have_rows():
    names = ("top", "csr", "csr.bank", "core", "core.norm", "core.norm.gain", "core.tile_0")
    names += ("core.tile_0.matmul", "core.tile_0.matmul.array", "board.uart", "board.uart.receiver")
    units = dict.fromkeys(names, dict.fromkeys(report.FIGURES, 0))
    hidden = {"csr.bank", "core.norm.gain", "core.tile_0.matmul.array", "board.uart.receiver"}
    assert set(report.shown(units)) == set(names) - hidden


def test_plot_shows_each_part_of_the_chip_once(tmp_path):
    def figures(value):
        return dict.fromkeys(report.FIGURES, value)

    units = {"core": figures(30), "core.a": figures(10), "csr": figures(4)}
    units |= {"core.tile_0": figures(17), "core.tile_0.b": figures(15)}
    units |= {"top": figures(36), report.WHOLE: figures(33)}
    parts = area_plot.parts(units)
    assert parts["others"]["lut"] == 7
    assert {name for name in parts if name != "others"} == {"core.a", "core.tile_0.b", "csr"}
    png, svg = area_plot.save_plot("tiny", units, tmp_path)
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "core.tile_0.b" in svg.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["areas.png", "areas.svg"]


def test_plot_and_table_of_a_board_end_at_the_board(tmp_path):
    figures = dict.fromkeys(report.FIGURES, 8_364)
    units = {"board": figures, "board.uart": dict.fromkeys(report.FIGURES, 5)}
    _, svg = area_plot.save_plot("ulx3s_board", units, tmp_path)
    assert "board.uart" in svg.read_text()
    assert "| board, of an LFE5U-85F | 10.0% |" in report.table(units)
