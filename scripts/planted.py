"""Plant three bugs, one at a time in a copy of the tree, and say which layers catch each."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth.design import ROOT
from scripts.verify.record import Record, save

__all__ = ["BUGS", "LAYERS", "Bug", "PatchError", "Result", "copy_tree", "main", "plant"]

TIMEOUT_SECONDS = 3600
LAYERS = ("unit", "waveform", "formal", "end to end")
NOTE = (
    "Each bug is one line, planted in a copy of the tree. A layer that fails there, and passes "
    "without the bug, has caught it."
)
CAUGHT, PASSED, NOT_RUN = "caught", "not caught", "not run"


class PatchError(ValueError):
    """A bug whose place is not there exactly once."""


@dataclass(frozen=True)
class Bug:
    """A change of one line that a tired hand could make.

    Members
    -------
    name, what : str
        Of the bug.
    file, old, new : str
        Where, and the text that is there exactly once, and what takes its place.
    unit : tuple of str
        Arguments of pytest: a test of the unit.
    scenario, proof : str
        Of `scripts.wave`; name of a property of `scripts.formal`.
    chip : str
        Argument of pytest: a test of the whole chip.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    unit: tuple
    scenario: str
    proof: str
    chip: str = "tests/e2e/test_chip.py::test_every_array_computes_what_golden_does[4x4]"

    def commands(self):
        """Return the command line of each layer."""
        pytest = [sys.executable, "-m", "pytest", "-n0", "-q", "-x"]
        return {
            "unit": [*pytest, *self.unit],
            "waveform": [sys.executable, "-m", "scripts.wave", "--scenario", self.scenario],
            "formal": [sys.executable, "-m", "scripts.formal", "--property", self.proof],
            "end to end": [*pytest, self.chip],
        }


BUGS = (
    Bug(
        "mask",
        "the mask of a sliding window begins one position early: a row sees one that it must not",
        "hw/visible_span.py",
        "reach.eq(self.window - 1)",
        "reach.eq(self.window)",
        ("tests/hw/test_visible_span.py",),
        "visible_span",
        "visible_span.span",
        "tests/e2e/test_families.py::test_every_family_is_computed_bit_for_bit[mistral]",
    ),
    Bug(
        "rounding",
        "the requantiser rounds down instead of halves up",
        "hw/requantiser.py",
        "Cat(1, bias)",
        "Cat(0, bias)",
        ("tests/hw/test_requantiser.py::test_emitted_verilog_equals_golden[1-8]",),
        "requantiser",
        "requantiser.finish",
    ),
    Bug(
        "handshake",
        "a slice takes a payload by the ready of the other side, not by its own",
        "hw/lib/slice.py",
        "arriving = self.i.valid & self.i.ready",
        "arriving = self.i.valid & self.o.ready",
        ("tests/hw/test_slice.py",),
        "slice",
        "slice.order",
    ),
)


@dataclass(frozen=True)
class Result:
    """What a layer made of a tree.

    Members
    -------
    outcome : str
        ``"caught"``, ``"not caught"`` or ``"not run"``.
    line : str
        The first line of what it said about it.
    seconds : float
    """

    outcome: str
    line: str
    seconds: float


def copy_tree(target):
    """Copy the files that git tracks, as they are in the working tree, to a new folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if source.is_file():
            place = Path(target) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


def plant(bug, tree):
    """Change the one place of a bug in a tree; `PatchError` if it is not there exactly once."""
    path = Path(tree) / bug.file
    text = path.read_text() if path.exists() else ""
    count = text.count(bug.old)
    if count != 1:
        raise PatchError(f"{bug.name}: {bug.file} has {bug.old!r} {count} times, not once")
    path.write_text(text.replace(bug.old, bug.new))


def said(output):
    """Return the line in which a layer says what is wrong, or its last one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for pattern in (r"^wave: ", r"^formal: ", r"^E +(\S+: .*cycle.*)", r"^E +.*\S", r"FAIL|failed"):
        for line in lines:
            if re.search(pattern, line):
                return re.sub(r"^E +", "", line)
    return lines[-1] if lines else ""


def run_layer(command, tree):
    """Run a command in a tree; return the `Result`."""
    start = time.monotonic()
    module = command[command.index("-m") + 1].replace(".", "/")
    if module.startswith("scripts/") and not (Path(tree) / f"{module}.py").exists():
        return Result(NOT_RUN, f"there is no {module}.py", 0.0)
    try:
        done = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Result(NOT_RUN, f"not finished after {TIMEOUT_SECONDS} s", float(TIMEOUT_SECONDS))
    outcome = {0: PASSED, 1: CAUGHT}.get(done.returncode, NOT_RUN)
    line = "" if outcome == PASSED else said(done.stdout + "\n" + done.stderr)
    return Result(outcome, line, time.monotonic() - start)


def _layers(bug, tree, layers, name):
    results = {}
    for layer, command in bug.commands().items():
        if layer not in layers:
            continue
        results[layer] = run_layer(command, tree)
        line = f"  {results[layer].line}" if results[layer].line else ""
        say(f"{name:22} {layer:11} {results[layer].outcome}{line}")
    return results


def _judge(bug, layers, folder):
    """Return the `Result` of each layer; one that complains of the good tree too has not run."""
    good, bad = folder / "good", folder / bug.name
    copy_tree(bad)
    plant(bug, bad)
    results = _layers(bug, bad, layers, bug.name)
    control = _layers(
        bug, good, [one for one in results if results[one].outcome == CAUGHT], "without it"
    )
    for layer, result in control.items():
        if result.outcome != PASSED:
            line = f"complains without the bug too: {result.line}"
            results[layer] = Result(NOT_RUN, line, results[layer].seconds)
    return results


def _record(found):
    rows = [
        [bug.what, bug.file, layer, result.outcome, _cell(result.line), f"{result.seconds:,.0f}"]
        for bug, results in found.items()
        for layer, result in results.items()
    ]
    caught = {
        layer: sum(results[layer].outcome == CAUGHT for results in found.values())
        for layer in LAYERS
    }
    return Record(
        section="planted",
        command="make planted",
        summary=[
            *((f"Caught by: {layer}", f"{n} of {len(found)}") for layer, n in caught.items()),
            ("Bugs that no layer caught", f"{_missed(found)}"),
        ],
        columns=["bug", "file", "layer", "outcome", "what it said first", "seconds"],
        rows=rows,
        notes=[NOTE],
    )  # fmt: skip


def _cell(text):
    return re.sub(r"\S*/tmp/\S*?/(build/\S+)", r"\1", text).replace("|", "/")[:200]


def _missed(found):
    return sum(
        all(result.outcome != CAUGHT for result in results.values()) for results in found.values()
    )


def _parser():
    parser = Parser(prog="planted", description=__doc__)
    names = [bug.name for bug in BUGS]
    parser.add_argument("--bug", action="append", choices=names, help="only this one")
    parser.add_argument("--layer", action="append", choices=LAYERS, help="only this one")
    return parser


def main(arguments=None):
    """Run the command; return its exit status: 1 if some bug is caught by no layer."""
    options = _parser().parse_args(arguments)
    bugs = [bug for bug in BUGS if not options.bug or bug.name in options.bug]
    layers = [layer for layer in LAYERS if not options.layer or layer in options.layer]
    try:
        with tempfile.TemporaryDirectory(prefix="serrano-planted-") as folder:
            copy_tree(Path(folder) / "good")
            for bug in bugs:  # all places, before anything runs
                plant(bug, Path(folder) / "good")
            shutil.rmtree(Path(folder) / "good")
            copy_tree(Path(folder) / "good")
            found = {bug: _judge(bug, layers, Path(folder)) for bug in bugs}
    except (PatchError, OSError, subprocess.CalledProcessError) as error:
        print(f"planted: {error}", file=sys.stderr)
        return BAD_INPUT
    if not (options.bug or options.layer):
        say(str(save(_record(found)).relative_to(ROOT)))
    missed = _missed(found)
    if missed:
        print(f"planted: {missed} of {len(found)} bugs are caught by no layer", file=sys.stderr)
    return FAILED if missed else 0


if __name__ == "__main__":
    sys.exit(main())
