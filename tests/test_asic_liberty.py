"""Liberty files and the functions in them: what is read, what is left out."""

import gzip

import pytest

from scripts.synth.function import truth
from scripts.synth.liberty import read_library
from tests.support.liberty import AREAS, FEW_CELLS, without


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("!(A * B)", (1, 1, 1, 0)),
        ("(!A) + (!B)", (1, 1, 1, 0)),
        ("(A B)'", (1, 1, 1, 0)),
        ("A ^ B & A", (0, 0, 1, 0)),
        ("!A | B", (1, 1, 0, 1)),
        ("A B + A' B'", (1, 0, 0, 1)),
        ("1", (1, 1, 1, 1)),
        ("C", None),
        ("(A", None),
        ("A )", None),
        ("A = B", None),
    ],
)
def test_functions_are_read_as_liberty_means_them(text, table):
    assert truth(text, ("A", "B")) == table


def test_what_is_not_read_is_left_out():
    text = read_library([FEW_CELLS], ["NOR*"]).texts[0]
    assert "leakage_power ()" not in text
    assert "NOR2" not in text
    assert text.count("{") == text.count("}")
    assert text.count("related_pin") == FEW_CELLS.read_text().count("related_pin") - 2


def test_library_may_be_written_on_one_line(tmp_path):
    path = tmp_path / "a.lib"
    path.write_text(" ".join(FEW_CELLS.read_text().split()))
    assert read_library([path]).cells == read_library([FEW_CELLS]).cells


def test_cell_that_the_library_hides_is_not_used(tmp_path):
    path = tmp_path / "a.lib"
    path.write_text(FEW_CELLS.read_text().replace("area : 2;", "area : 2;\n    dont_use : true;"))
    assert set(read_library([path]).cells) == set(AREAS) - {"BUF"}


def test_several_files_are_one_library(tmp_path):
    (tmp_path / "a.lib").write_text(without("DFF"))
    (tmp_path / "b.lib.gz").write_bytes(
        gzip.compress(without("INV", "BUF", "NAND2", "NOR2", "TIE1", "TIE0").encode())
    )
    library = read_library([tmp_path / "a.lib", tmp_path / "b.lib.gz"])
    assert set(library.cells) == set(AREAS)
    assert len(library.texts) == 2


def test_known_library_has_cells_that_are_not_used(tmp_path):
    path = tmp_path / "a.lib"
    text = FEW_CELLS.read_text().replace("few_cells", "asap7sc7p5t_x").replace("TIE1", "TIExp5")
    path.write_text(text)
    assert "TIExp5" not in read_library([path]).cells
    assert "TIExp5" in read_library([path], []).cells
