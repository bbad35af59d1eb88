"""Tests of `scripts.verification` and its records."""

import json

import pytest

from scripts.verification import PAGE, page
from scripts.verify.record import SECTIONS, Record, load, save


def test_record_comes_back_as_it_was_saved(tmp_path):
    record = Record(section="wave", command="make wave", summary=[["scenarios", "3"]])
    save(record, tmp_path)
    found = load("wave", tmp_path)
    assert found.summary == [["scenarios", "3"]]
    assert found.commit
    assert found.date


def test_page_has_every_section_and_says_which_have_no_record(tmp_path):
    save(
        Record(section="formal", command="make formal", columns=["a", "b"], rows=[["1|2", "x"]]),
        tmp_path,
    )
    text = page(tmp_path)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(
        SECTIONS.values()
    )
    assert text.count("No record yet.") == len(SECTIONS) - 1
    assert "| 1\\|2 | x |" in text
    assert "| [Formal proofs](formal.md) | `make formal` |" in text


def test_unknown_section_is_refused():
    with pytest.raises(ValueError, match="section must be one of wave, .*, not 'waves'"):
        Record(section="waves", command="make waves")


def test_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="a row of wave must have 1 cells"):
        Record(section="wave", command="make wave", columns=["a"], rows=[["1", "2"]])


def test_damaged_record_is_named(tmp_path):
    (tmp_path / "wave.json").write_text(json.dumps({"section": "wave"}))
    with pytest.raises(ValueError, match=r"wave\.json is no record of wave"):
        load("wave", tmp_path)


def test_committed_page_is_that_of_the_committed_records():
    assert PAGE.read_text() == page(), "make verification"
