"""Prove one property: for all time or some cycles, not vacuous, and with its bugs found."""

import hashlib
import json
import re
import time
from dataclasses import dataclass

from scripts.synth.design import memories, write_whole
from scripts.synth.yosys import run_yosys, version
from scripts.verify import formal_tools
from scripts.verify.formal_bench import TOP
from scripts.verify.formal_source import source

__all__ = ["Outcome", "prove"]

#: Words of the largest memory that becomes registers; larger ones stay arrays of the solver.
_MAPPED = 64

#: Not `opt`: it takes apart registers with constant bits, and loses what they begin with.
_TIDY = ("opt_expr", "opt_merge -nomux", "opt_muxtree", "opt_expr", "opt_clean")

_FAILED = re.compile(r"Assert failed in \S+: (?:\S*property\.)?(\S+)")
_REACHED = re.compile(r"Reached cover statement in step (\d+) at \S+: (?:\S*property\.)?(\S+)")
_UNREACHED = re.compile(r"Unreached cover statement at \S+: (?:\S*property\.)?(\S+)")


@dataclass
class Outcome:
    """What became of a property.

    Members
    -------
    property : Property
    failure : str
        Why it is not proved; empty if it is.
    trace : Path or None
        A waveform that shows the failure.
    covers : dict
        Cover point to the cycle in which it was reached.
    bugs : list of (str, str)
        What was planted, and the assertion that found it.
    seconds : float
        What it took, now or when the answers that are kept were found.
    kept : bool
        All answers were kept from an earlier run.
    """

    property: object
    failure: str = ""
    trace: object = None
    covers: dict = None
    bugs: list = None
    seconds: float = 0.0
    kept: bool = True


def _script(text):
    """Return the Yosys commands from RTLIL to the solver's language."""
    small = all(memory.depth <= _MAPPED for memory in memories(text))
    return [
        "read_rtlil bench.il",
        f"hierarchy -top {TOP} -check",
        "proc",
        "flatten",
        *_TIDY,
        "chformal -lower",
        "memory -nomap",
        "memory_nordff",
        *(["memory_map -formal"] if small else []),
        "formalff -clk2ff",
        "async2sync",
        *_TIDY,
        "dffunmap",
        "opt_clean",
        "write_smt2 -wires bench.smt2",
    ]


class _Questions:
    """Questions about one RTLIL text, whose answers are kept."""

    def __init__(self, text, solver, name):
        self._text = text
        self._solver = solver
        self._script = _script(text)
        tools = (version(), *formal_tools.versions([solver]))
        self._key = hashlib.sha256(repr((text, self._script, tools)).encode()).hexdigest()
        # One for each text: two runs side by side never read each other's files.
        self.folder = formal_tools.BUILD / name / self._key[:12]
        self.seconds = 0.0
        self.kept = True

    def ask(self, *arguments, trace):
        """Return whether the answer is yes, and what was said."""
        key = hashlib.sha256(f"{self._key} {arguments}".encode()).hexdigest()
        path = formal_tools.BUILD / "answers" / f"{key[:32]}.json"
        if path.exists():
            answer = json.loads(path.read_text())
            if answer["yes"] or (self.folder / trace.replace("%", "0")).exists():
                self.seconds += answer["seconds"]
                return answer["yes"], answer["said"]
        self.kept = False
        started = time.monotonic()
        self._translate()
        status, said = formal_tools.run_smtbmc(
            [*arguments, "--dump-vcd", trace, "bench.smt2"], self.folder, self._solver
        )
        seconds = time.monotonic() - started
        self.seconds += seconds
        write_whole(path, json.dumps({"yes": status == 0, "said": said, "seconds": seconds}))
        return status == 0, said

    def _translate(self):
        stamp = self.folder / "translated"
        if stamp.exists() and stamp.read_text() == self._key:
            return
        stamp.unlink(missing_ok=True)
        write_whole(self.folder / "bench.il", self._text)
        run_yosys(self._script, self.folder)
        write_whole(stamp, self._key)


def prove(item, *, bugs=True):
    """Return the `Outcome` of a property.

    With ``bugs`` its planted bugs are looked for too; a bug that is not found is a failure.

    Raises
    ------
    scripts.synth.yosys.ToolError
        A tool died.
    scripts.verify.formal_property.PropertyError
        A bug cannot be planted.
    """
    outcome = Outcome(item, covers={}, bugs=[])
    questions = _Questions(source(item), item.solver, item.name)
    _prove(item, questions, outcome)
    outcome.seconds, outcome.kept = questions.seconds, questions.kept
    for index, bug in enumerate(item.bugs if bugs and not outcome.failure else ()):
        questions = _Questions(source(item, bug), item.solver, f"{item.name}/bug{index}")
        # A bounded proof must notice it within its bound; one by induction holds at any depth.
        depth = bug.depth or item.depth + item.cover * item.induction
        yes, said = questions.ask("-t", str(depth), trace="bug.vcd")
        found = _FAILED.search(said)
        outcome.seconds += questions.seconds
        outcome.kept &= questions.kept
        if yes or not found:
            outcome.failure = f"the planted bug is not found: {bug.what}"
            break
        outcome.bugs.append((bug.what, found[1]))
    return outcome


def _prove(item, questions, outcome):
    folder = questions.folder
    steps = [("base", ("-t", str(item.depth)), "")]
    if item.induction:
        steps.append(("step", ("-i", "-t", str(item.depth)), " in the induction step"))
    for name, arguments, where in steps:
        yes, said = questions.ask(*arguments, trace=f"{name}.vcd")
        if not yes:
            found = _FAILED.search(said)
            reason = f"{found[1]} does not hold{where}" if found else said.splitlines()[-2]
            outcome.failure, outcome.trace = reason, folder / f"{name}.vcd"
            return
    yes, said = questions.ask("-c", "-t", str(item.cover), trace="cover%.vcd")
    outcome.covers = {name: int(step) for step, name in _REACHED.findall(said)}
    if not yes:
        missed = ", ".join(_UNREACHED.findall(said)) or said.splitlines()[-2]
        outcome.failure = f"vacuous: not reached within {item.cover} cycles: {missed}"
    elif not outcome.covers:
        outcome.failure = "it has no cover point: it may be vacuous"
