"""Tests of `scripts.wave`: what it compares and what it says of a difference."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from scripts.waves import reference
from scripts.waves.compare import compare
from scripts.waves.picture import OLD, SHADE, draw
from scripts.waves.sample import NoWindow, WaveformError, sample
from scripts.waves.trace import Channel, Window, level
from scripts.waves.unit_run import port_channels
from tests.support.wave_demo import CHANNELS, SIGNALS, WINDOW, traced
from tests.support.waveform import write_vcd


def later(cycles=1):
    """Return the signals with the stream's offers later, and the run as much longer."""
    return {
        name: values[:2] + [values[1]] * cycles + values[2:] for name, values in SIGNALS.items()
    }


def test_a_value_is_that_before_the_edge(tmp_path):
    trace = traced(tmp_path)
    assert trace.cycles == 8
    assert trace.channels["o"].valid == SIGNALS["o__valid"][1:]
    assert trace.channels["o"].fields["payload"] == [None, 5, 5, None, 9, 9, None, None]
    assert trace.channels["busy"].fields["busy"] == SIGNALS["busy"][1:]
    assert trace.channels["o"].transfers() == 3


def test_window_begins_and_ends_with_its_signals(tmp_path):
    window = Window(("dut.rst", 0, 1), then=("dut.o__valid", 1), until=("dut.busy", 0), lead=0)
    trace = traced(tmp_path, window)
    assert trace.channels["o"].valid == [1, 1, 0, 1, 1, 0]
    assert not trace.cut
    assert traced(tmp_path, replace(window, cycles=3)).cut


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(("dut.rst", 0, 2)), "dut.rst does not become 0 2 times"),
        (Window(("dut.rst", 0, 1), then=("dut.o__payload", 7)), "o__payload does not become 7"),
    ],
)
def test_a_window_that_does_not_begin_is_told(window, message, tmp_path):
    with pytest.raises(NoWindow, match=message):
        traced(tmp_path, window)


def test_a_window_of_an_unknown_signal_is_told(tmp_path):
    with pytest.raises(WaveformError, match=r"has no signal dut\.start"):
        traced(tmp_path, Window(("dut.start", 1, 1)))


def test_reference_is_the_trace_again(tmp_path):
    changes = {"o__payload": [0, 0, 5, 5, 3, 9, 10, 0, 0], "busy": [0, "x", 1, 0, 1, 1, 0, 1, 1]}
    trace = traced(tmp_path, **changes)
    assert reference.load(reference.dump(trace), "demo") == trace


def test_long_references_are_wrapped_and_read_again(tmp_path):
    window = Window(("dut.rst", 0, 1), cycles=1000)
    toggling = {"rst": [1] + [0] * 600, "busy": [n % 3 == 0 for n in range(601)]}
    streams = {name: [1] * 601 for name in ("o__valid", "o__ready")}
    payload = {"o__payload": [n * 7 % 256 for n in range(601)]}
    trace = traced(tmp_path, window, **toggling, **streams, **payload)
    text = reference.dump(trace)
    assert max(map(len, text.splitlines())) <= reference.WIDTH
    assert reference.load(text, "demo") == trace


def test_equal_traces_are_the_same(tmp_path):
    verdict = compare(traced(tmp_path), traced(tmp_path))
    assert (verdict.kind, verdict.first) == ("same", None)


def test_another_value_is_told_with_cycle_signal_and_both(tmp_path):
    now = traced(tmp_path, o__payload=[0, 0, 5, 6, 3, 9, 9, 0, 0])
    verdict = compare(traced(tmp_path), now)
    assert verdict.kind == "values"
    assert str(verdict.first) == "cycle 2, o.payload: reference 5, now 6 (offer 1)"


def test_payload_while_not_valid_does_not_count(tmp_path):
    now = traced(tmp_path, o__payload=[1, 2, 5, 5, 200, 9, 9, 8, 7])
    assert compare(traced(tmp_path), now).kind == "same"


def test_the_same_values_in_other_cycles_are_timing(tmp_path):
    verdict = compare(traced(tmp_path), traced(tmp_path, **later(2)))
    assert verdict.kind == "timing"
    assert str(verdict.first) == (
        "timing only, cycle 1, o.valid: reference 1, now 0 "
        "(the same 3 offers, +2 cycles at first, +2 at the end)"
    )


def test_a_payload_that_is_taken_later_is_timing(tmp_path):
    signals_now = {"o__ready": [0, 0, 1, 1, 1, 0, 0, 1, 1], "o__valid": [0, 0, 1, 1, 0, 1, 1, 1, 0]}
    payload = [0, 0, 5, 5, 3, 9, 9, 9, 0]
    verdict = compare(traced(tmp_path), traced(tmp_path, **signals_now, o__payload=payload))
    assert verdict.kind == "timing"
    assert "taken in others" in verdict.first.note


def test_values_that_differ_later_are_no_timing(tmp_path):
    moved = later()
    moved["o__payload"] = [9 if value == 5 else value for value in moved["o__payload"]]
    verdict = compare(traced(tmp_path), traced(tmp_path, **moved))
    assert verdict.kind == "values"
    assert "cycle 1 in the reference" in verdict.first.note


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # The last offer does not come; it goes before it is taken; it changes before that.
        ({"o__valid": [0, 0, 1, 1, 0, 0, 0, 0, 0]}, "reference 9, now nothing"),
        ({"o__valid": [0, 0, 1, 1, 0, 1, 0, 0, 0]}, "reference nothing, now 9 dropped"),
        ({"o__payload": [0, 0, 5, 5, 3, 9, 8, 0, 0]}, "reference nothing, now 8 changed"),
        (
            {"o__valid": [0, 0, 1, 0, 0, 1, 1, 0, 0], "o__ready": [0, 0, 0, 1, 1, 0, 1, 1, 1]},
            "reference 5, now 5 dropped",
        ),
        ({"o__valid": [0, 0, 1, 1, 1, 1, 1, 0, 0]}, "reference 9, now 3"),
    ],
)
def test_lost_dropped_changed_and_doubled_offers_are_values(changes, message, tmp_path):
    verdict = compare(traced(tmp_path), traced(tmp_path, **changes))
    assert verdict.kind == "values"
    assert message in str(verdict.first)


def test_what_a_full_window_has_no_room_for_does_not_count(tmp_path):
    cut = replace(WINDOW, cycles=6)
    slower = traced(tmp_path, cut, **later(2))
    assert compare(traced(tmp_path, cut), slower).kind == "timing"
    assert compare(traced(tmp_path), slower).kind == "timing"
    # A run that ended by itself had room for everything.
    whole = replace(slower, cut=False)
    assert compare(traced(tmp_path), whole).kind == "values"


@pytest.mark.parametrize("offers", [0, 1, 2])
def test_a_stream_that_stops_is_no_timing(offers, tmp_path):
    """Whether or not the window was full before the run was over."""
    beats = [0, 1] * 10
    streams = {"rst": [1] + [0] * 19, "o__valid": beats, "o__ready": [1] * 20, "busy": [1] * 20}
    streams["o__payload"] = list(range(20))
    old = replace(traced(tmp_path, **streams), cut=True)
    streams["o__valid"] = [
        beat if cycle < 2 * offers + 1 else 0 for cycle, beat in enumerate(beats)
    ]
    verdict = compare(old, replace(traced(tmp_path, **streams), cut=True))
    assert verdict.kind == "values"
    assert f"(offer {offers}, which does not come)" in str(verdict.first)


def test_signals_that_are_only_in_one_are_told(tmp_path):
    both, one = traced(tmp_path), traced(tmp_path, channels=CHANNELS[:1])
    assert str(compare(both, one).first) == "busy: in the reference, but not in the design"
    assert str(compare(one, both).first) == "busy: in the design, but not in the reference"
    gone = traced(tmp_path, channels=(*CHANNELS, level("dut.gone")))
    assert compare(both, gone).kind == "same"


def test_another_width_is_told(tmp_path):
    path = write_vcd(tmp_path / "wide.vcd", SIGNALS, {"o__payload": 9})
    wide = sample(path, "demo", "dut.clk", CHANNELS, WINDOW)
    assert "payload[8], now payload[9]" in str(compare(traced(tmp_path), wide).first)


def test_signals_of_a_valid_bit_are_transfers(tmp_path):
    channel = Channel("sum", (("data", "dut.o__payload"),), "dut.o__valid")
    trace = traced(tmp_path, channels=(channel,))
    assert [values for _, _, values in trace.channels["sum"].sequence()] == [(5,), (5,), (9,), (9,)]
    assert reference.load(reference.dump(trace), "demo") == trace


def test_ports_become_streams_and_levels():
    names = ["clk", "rst", "i__valid", "i__ready", "i__payload", "go__valid", "go__ready", "level"]
    found = port_channels(names)
    assert [channel.name for channel in found] == ["i", "go", "level"]
    assert found[1].fields == ()
    assert found[2].valid is None


def test_picture_shows_both_values_where_they_differ(tmp_path):
    old = traced(tmp_path)
    new = traced(tmp_path, o__payload=[0, 0, 5, 0x4F, 3, 9, 9, 0, 0])
    picture = draw(old, new, compare(old, new))
    root = ElementTree.fromstring(picture)
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("4f") for text in texts)
    assert "o.payload ref" in texts
    assert f"demo: {compare(old, new).first}" in texts
    shaded = [node for node in root.iter() if node.get("fill") == SHADE]
    assert len(shaded) == 1
    assert OLD in picture


def test_picture_of_timing_shades_what_moved(tmp_path):
    old, new = traced(tmp_path), traced(tmp_path, **later())
    root = ElementTree.fromstring(draw(old, new, compare(old, new)))
    assert sum(node.get("fill") == SHADE for node in root.iter()) > 2


@pytest.mark.parametrize(
    "change",
    [
        ("cycles 8", "cycles 9"),
        ("5*2", "5*3"),
        ("4:1", "5:1"),
        ("digest ", "digest 0"),
        ("scenario demo", "scenario other"),
    ],
)
def test_a_changed_reference_is_refused(change, tmp_path):
    text = reference.dump(traced(tmp_path))
    assert change[0] in text
    with pytest.raises(reference.ReferenceError, match="r.txt: a damaged reference"):
        reference.load(text.replace(*change, 1), "r.txt")


def test_a_reference_of_another_version_is_refused(tmp_path):
    text = reference.dump(traced(tmp_path)).replace("version 1", "version 0")
    with pytest.raises(reference.ReferenceError, match="of version 0, this is version 1"):
        reference.load(text, "r.txt")
    with pytest.raises(reference.ReferenceError, match="not a waveform reference"):
        reference.load("hello\n", "r.txt")


def test_a_run_that_ends_early_is_told_as_such(tmp_path):
    cut = replace(traced(tmp_path), cut=True)
    short = traced(tmp_path, replace(WINDOW, cycles=5))
    assert "now the end (one of the two ends there)" in str(compare(cut, short).first)


def test_picture_shows_the_digits_that_differ(tmp_path):
    wide = {"o__payload": 128}
    traces = []
    for low in (1, 2):
        payload = {"o__payload": [0, 0, *[(0xABCDEF << 100) + low] * 5, 0, 0]}
        path = write_vcd(tmp_path / f"{low}.vcd", SIGNALS | payload, wide)
        traces.append(sample(path, "demo", "dut.clk", CHANNELS, WINDOW))
    picture = draw(*traces, compare(*traces))
    assert re.search(">…0+1<", picture)
    assert re.search(">…0+2<", picture)


def test_a_valid_bit_alone_counts(tmp_path):
    alone = (Channel("beat", (), "dut.o__valid", "dut.o__ready"),)
    trace = traced(tmp_path, channels=alone)
    assert reference.load(reference.dump(trace), "demo") == trace
    fewer = traced(tmp_path, channels=alone, o__valid=[0, 0, 1, 0, 0, 1, 1, 0, 0])
    verdict = compare(trace, fewer)
    assert str(verdict.first) == (
        "cycle 4, beat.valid: reference 1, now nothing (offer 2, which does not come)"
    )
    assert verdict.kind == "values"
