"""Tests of `make mutate`."""

import dataclasses
import json

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from scripts import mutate
from scripts.synth.yosys import ToolError
from scripts.verify import mutate_equivalence, mutate_explained, mutate_report, mutate_run
from scripts.verify.mutate_explained import Explanation
from scripts.verify.mutate_netlist import TOP, Mutation, apply_all, sample
from scripts.verify.mutate_run import Outcome, bench_files, run_unit
from scripts.verify.mutate_units import LEFT_OUT, UNITS, Job, capture, inner
from tests.support.modules import modules

COUNT = 40


class Adder(wiring.Component):
    """A sum that the bench checks, one that it does not, and a gate of which half would do."""

    def __init__(self):
        super().__init__({
            "a": In(3),
            "b": In(3),
            "total": Out(4, init=0),
            "unwatched": Out(3),
        })

    def elaborate(self, platform):
        m = Module()
        both = Signal(3)
        idle = Signal(3)
        m.d.comb += [both.eq(self.a & self.b), idle.eq((both & self.a) | (both & self.b))]
        m.d.sync += self.total.eq((self.a ^ self.b) + (idle << 1))
        m.d.sync += self.unwatched.eq(self.a - self.b)
        return m


BENCH = "tests.bench_mutate"


def run_adder(*, dut=None, count=COUNT, seed=3, say=print):
    return run_unit("adder", Job(dut or Adder(), BENCH), count=count, seed=seed, say=say)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A folder that the tests of this file share: what one has run, the others find there."""
    return tmp_path_factory.mktemp("mutate")


@pytest.fixture(autouse=True)
def own_folder(build, monkeypatch):
    monkeypatch.setattr(mutate_run, "BUILD", build)


def test_watched_mutants_are_killed_unwatched_survive_and_idle_ones_are_proved():
    outcomes, seconds = run_adder()
    assert len(outcomes) == COUNT
    assert seconds > 0
    fate = {"unwatched": set(), "total": set(), "idle": set()}
    for outcome in outcomes:
        where = next(name for name in fate if name in outcome.mutation.describe())
        fate[where].add("killed" if outcome.killer else "proved" if outcome.proof else "survives")
    assert fate["total"] == {"killed"}
    assert fate["unwatched"] == {"survives"}
    assert fate["idle"] == {"killed", "proved"}
    assert {outcome.killer for outcome in outcomes} >= {"sum_follows_a_cycle_later", None}


def test_what_is_known_is_not_run_again(monkeypatch):
    def runs(*_, **__):
        raise AssertionError("a simulator is started")

    first = run_adder()
    monkeypatch.setattr(mutate_run.verilate, "run", runs)
    monkeypatch.setattr(mutate_run.verilate, "build", runs)
    assert run_adder() == first


def test_run_that_was_cut_off_goes_on(build):
    first, _ = run_adder()
    results = next(build.glob("adder-40-*")) / "results.jsonl"
    lines = results.read_text().splitlines()
    results.write_text("\n".join(lines[:20]) + '\n{"number": 20, "kil')
    said = []
    again, _ = run_adder(say=said.append)
    assert again == first
    assert f"{COUNT - 19} mutants to run" in said[0]


def test_command_reports_and_fails_for_too_many_survivors(monkeypatch, capsys):
    monkeypatch.setattr(mutate, "capture", lambda name: Job(Adder(), BENCH))
    monkeypatch.setattr(mutate, "load", list)
    # The command counts it as another unit, so it runs anew.
    arguments = ["--module", "slice", "--count", str(COUNT), "--seed", "3"]
    assert mutate.main(arguments) == 1
    shown = capsys.readouterr()
    assert "survives: " in shown.out
    assert "unwatched" in shown.out
    assert "% of the mutants are killed, less than 95 %" in shown.err
    everything = Explanation(units=("slice",), place=".*", at="unwatched", reason="not watched")
    monkeypatch.setattr(mutate, "load", lambda: [everything])
    assert mutate.main(arguments) == 0
    assert "100.0 %" in capsys.readouterr().out


def test_unit_that_fails_its_own_tests_is_no_base(monkeypatch):
    class Wrong(Adder):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.sync += self.total.eq(self.a)
            return m

    with pytest.raises(ToolError, match=r"adder fails its own tests \(sum_follows_a_cycle_later\)"):
        run_adder(dut=Wrong(), count=5)


def test_sample_cannot_be_larger_than_the_netlist(tmp_path):
    with pytest.raises(ToolError, match="the netlist has only 0 mutants, not 5"):
        sample("module \\dut\n  wire input 1 \\a\nend\n", tmp_path, count=5, seed=1)


class Table(wiring.Component):
    """A memory that is read without a clock: nothing could reset what it gives."""

    def __init__(self):
        super().__init__({"a": In(1), "b": Out(2)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=2, depth=2, init=[1, 2])
        read, write = memory.read_port(domain="comb"), memory.write_port()
        m.d.comb += [read.addr.eq(self.a), self.b.eq(read.data)]
        m.d.comb += [write.addr.eq(self.a), write.data.eq(self.b), write.en.eq(self.a)]
        return m


def test_what_a_memory_does_not_have_is_left_alone(tmp_path):
    found = sample(rtlil.convert(Table(), name=TOP), tmp_path, count=30, seed=1)
    listed = (tmp_path / "list.txt").read_text()
    assert "RD_ARST" in listed
    assert "RD_EN" in listed
    assert {one.port for one in found} >= {"RD_ADDR", "RD_DATA"}
    assert "mutant_select" in apply_all(found, tmp_path).read_text()


class Rounded(wiring.Component):
    """What is kept of a number once it is rounded: its three lowest bits decide nothing."""

    def __init__(self):
        super().__init__({"a": In(8), "b": Out(5)})

    def elaborate(self, platform):
        m = Module()
        kept = Signal(8)
        m.d.sync += [kept.eq(self.a), self.b.eq((kept + 8) >> 4)]
        return m


def test_what_is_held_and_decides_no_output_is_proved_equal(tmp_path):
    found = sample(rtlil.convert(Rounded(), name=TOP), tmp_path, count=60, seed=1)
    kept = [m for m in found if m.kind == "$dff" and "kept" in m.names and m.port in "DQ"]
    assert {m.bit < 3 for m in kept} == {False, True}
    for mutation in kept:
        assert mutate_equivalence.proved(mutation, tmp_path) == (mutation.bit < 3), mutation


def test_instance_with_a_number_of_its_own_is_found(tmp_path):
    job = capture("glu")
    text = rtlil.convert(job.dut, name=TOP)
    found = sample(text, tmp_path, count=20, seed=1, outside=inner("glu", job.dut))
    assert "activation$" in text
    assert not [m.cell for m in found if "activation$" in m.cell]


def test_mutants_inside_other_units_are_theirs(tmp_path):
    job = capture("matmul")
    outside = inner("matmul", job.dut)
    assert {"matmul.feeder", "matmul.array", "drain.requantiser", TOP} <= outside
    assert TOP not in inner("glu", capture("glu").dut)
    assert not {"matmul", "matmul.loader"} & outside
    text = rtlil.convert(job.dut, name=TOP)
    found = {
        here: [
            m.cell.replace("\\", "") for m in sample(text, tmp_path, count=20, seed=1, outside=here)
        ]
        for here in (frozenset(), frozenset(outside))
    }
    everywhere, own = found.values()
    assert any("feeder." in cell for cell in everywhere)
    assert all(cell.startswith(("$flattenmatmul.", "matmul.")) for cell in own)
    assert not [cell for cell in own if any(f"{place}." in cell for place in outside)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--module", "adder"], "module must be one of accumulator, "),
        (["--module", " , "], "not nothing"),
        (["--count", "0"], "count must be an integer from 1 to 5000, not '0'"),
        (["--count", "many"], "count must be an integer from 1 to 5000, not 'many'"),
        (["--seed", "-1"], "seed must be an integer from 0 to 2147483647, not '-1'"),
        (["--modules", "2"], "unrecognized arguments"),
    ],
)
def test_bad_options_are_refused_in_one_line(arguments, message, capsys):
    try:
        status = mutate.main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert message in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[mutant]\n", "mutants.toml: "),
        ('[[mutant]]\nplace = "x"\nat = "y"\n', "an entry must have units, place, at, reason"),
        ('[[mutant]]\nplace = "("\nat = "y"\nreason = "z"\n', r"place '\('"),
        ('[[mutant]]\nplace = "x"\nat = "y"\nreason = ""\n', "an entry must have"),
    ],
)
def test_damaged_explanations_are_refused(text, message, tmp_path):
    path = tmp_path / "mutants.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        mutate_explained.load(path)


def test_explanations_name_units_that_exist():
    assert all(set(entry.units) <= set(UNITS) for entry in mutate_explained.load())


MUTATION = Mutation(
    number=1,
    mode="inv",
    cell="$1",
    kind="$mux",
    port="S",
    bit=0,
    control=None,
    names=("queue.level",),
    sources=("hw/lib/queue.py:1",),
)
ENTRY = Explanation(units=("slice",), place=r"\$mux S\[0\] inv", at="queue.level", reason="full")


@pytest.mark.parametrize(
    ("change", "unit", "matches"),
    [
        ({}, "slice", True),
        ({}, "queue", False),
        ({"units": ()}, "queue", True),
        ({"place": r"\$mux S"}, "slice", False),
        ({"at": "queue.full"}, "slice", False),
    ],
)
def test_explanation_holds_for_its_unit_and_place(change, unit, matches):
    assert dataclasses.replace(ENTRY, **change).matches(unit, MUTATION) == matches


def test_explanation_of_a_killed_mutant_is_a_finding():
    found = mutate_report.tally("slice", [Outcome(MUTATION, "some test")], 1.0, [ENTRY])
    lines = mutate.findings([found], [ENTRY], full=False)
    assert len(lines) == 1
    assert "is said to change nothing, but a test of slice kills" in lines[0]


def test_explanation_that_nothing_needs_is_a_finding():
    other = dataclasses.replace(MUTATION, mode="const0")
    found = mutate_report.tally("slice", [Outcome(other, "some test")], 1.0, [ENTRY])
    assert mutate.findings([found], [ENTRY], full=False) == []
    assert "explains no survivor" in mutate.findings([found], [ENTRY], full=True)[0]


def test_share_is_that_of_the_mutants_that_change_something():
    outcomes = [Outcome(MUTATION, None), Outcome(dataclasses.replace(MUTATION, bit=1), None, True)]
    outcomes += [Outcome(dataclasses.replace(MUTATION, bit=2 + n), "test") for n in range(4)]
    outcomes += [Outcome(dataclasses.replace(MUTATION, bit=9), None)]
    found = mutate_report.tally("slice", outcomes, 2.0, [ENTRY])
    assert found.row() == ["slice", "7", "4", "1", "1", "1", "80.0 %", "2"]
    section = mutate_report.record([found], [ENTRY], ["slice"], seed=1)
    assert ("survivors", "1") in section.summary
    assert ("modules below 95 %", "slice") in section.summary
    assert "- full" in section.notes


def test_record_keeps_the_rows_of_units_that_did_not_run():
    outcomes = [Outcome(MUTATION, "test"), Outcome(dataclasses.replace(MUTATION, bit=1), "test")]
    units = ["queue", "rope", "slice"]
    before = None
    for unit, counted in (("slice", outcomes[:1]), ("queue", outcomes), ("slice", outcomes)):
        found = mutate_report.tally(unit, counted, 60.0, [])
        before = mutate_report.record([found], [], units, seed=1, before=before)
    assert [row[:3] for row in before.rows] == [["queue", "2", "2"], ["slice", "2", "2"]]
    summary = dict(before.summary)
    assert summary["modules"] == "2 of 3"
    assert summary["not measured yet"] == "rope"
    assert summary["mutants"] == "4"
    assert summary["CPU time"] == "2 min"


def test_table_takes_the_benches_of_the_tests():
    job = capture("slice")
    assert job.bench == "tests.hw.bench_slice"
    assert job.params == {"width": 12}
    assert capture("accumulator").params == {"cols": 4, "depth": 8}
    files = [path.name for path in bench_files("tests.hw.bench_rope")]
    assert {"bench_rope.py", "vector_stream.py", "bench.py", "rope.py"} <= set(files)


def test_results_are_lines_that_a_cut_leaves_whole(build):
    run_adder()  # found there, if a test before this one ran it in the same process
    results = next(build.glob("adder-40-*")) / "results.jsonl"
    for line in results.read_text().splitlines()[:3]:
        assert set(json.loads(line)) == {"number", "killer", "seconds"}


def test_every_module_is_mutated_or_has_a_reason():
    assert modules() == set(UNITS) | set(LEFT_OUT)
    assert not set(UNITS) & set(LEFT_OUT)
