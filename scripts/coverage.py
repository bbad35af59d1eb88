"""Run the tests with coverage of lines, toggles and cases, and write one page of what they met."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth.design import ROOT
from scripts.verify import coverage_page, coverage_plugin
from scripts.verify.coverage_merge import merge
from scripts.verify.record import save
from sim.coverage.collect import VARIABLE
from sim.verilate import BuildError, find_verilator

FOLDER = ROOT / "build" / "coverage"
PAGE = "index.html"

CHIPS = (
    "tests/e2e/test_chip.py::test_every_array_computes_what_golden_does",
    "tests/e2e/test_batch.py",
    "tests/e2e/test_sampling.py",
    "tests/e2e/test_families.py",
    "tests/e2e/test_traps.py",
    "tests/e2e/test_parity.py",
)

#: What a run of all is, as arguments of pytest: hours. Chips are the small ones.
ALL = (
    ("tests/hw",),
    # Not those of tables that are wrong on purpose: their simulators must fail.
    (
        "tests/board/test_sdram_controller.py",
        "tests/board/test_sdram_bandwidth.py",
        *("-k", "not mutated_table"),
    ),
    (*CHIPS, "-k", "not 16x16 and not 256_wide"),
)

TRAPS = "tests/e2e/test_traps.py::test_trap_is_reported_and_the_next_run_is_right"
#: A trap of each unit that can end a run.
FEW_TRAPS = (
    "bad_opcode",
    "rings_of_no_length",
    "token_outside_the_vocabulary",
    "position_outside_its_table",
    "registers_outside_their_region",
)

#: Units whose first case is too small to meet what the others do.
LARGER_UNITS = tuple(
    f"tests/hw/test_{name}.py"
    for name in ("counter_bank", "memory_controller", "parity_guard", "scheduler")
)

#: What else is run: the first case of every test of a unit, and what makes chips do most.
TESTS = (
    (*ALL[0], coverage_plugin.FIRST),
    LARGER_UNITS,
    ALL[1],
    (
        *(f"{CHIPS[0]}[{name}]" for name in ("4x4", "4x4, parity", "4x4, 2 tiles")),
        *(f"{TRAPS}[{name}]" for name in FEW_TRAPS),
        "tests/e2e/test_parity.py::test_trap_of_parity",
        "tests/e2e/test_families.py::test_every_family_is_computed_bit_for_bit[llama]",
        "tests/e2e/test_batch.py::test_requests_join_and_leave_while_others_run",
    ),
)


COMMAND, ALL_COMMAND = "make coverage", "python -m scripts.coverage --all"


def _parser():
    parser = Parser(prog="coverage", description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="of what is collected, and of the page"
    )
    parser.add_argument(
        "--report", action="store_true", help="run nothing: the page of what is there already"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run collected")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every case of each unit's tests and of the small chips, for hours",
    )
    parser.add_argument("tests", nargs="*", help="of pytest, instead of all; leaves no record")
    return parser


def run(arguments, data):
    """Run tests with coverage into a folder; return whether they passed."""
    command = [
        *(sys.executable, "-m", "pytest", "-n0", "-v", "-p", "scripts.verify.coverage_plugin"),
        *arguments,
    ]
    env = os.environ | {VARIABLE: str(data)}
    status = subprocess.run(command, cwd=ROOT, env=env).returncode
    return status in (0, 5)  # 5: all were left out, since they passed before


def tools():
    """Return names and versions of what counts."""
    simulator = find_verilator()
    version = subprocess.run(
        [simulator.executable, "--version"], capture_output=True, text=True, env=simulator.env
    ).stdout.split()
    return [
        " ".join(version[:2]),
        f"cocotb-coverage {importlib.metadata.version('cocotb-coverage')}",
    ]


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    data, page = options.folder.resolve() / "data", options.folder.resolve() / PAGE
    try:
        find_verilator()
        sets = [options.tests] if options.tests else ALL if options.all else TESTS
        passed = True
        if options.fresh:
            _forget(data)
        if not options.report:
            for one in sets:
                passed = run(one, data) and passed
        report = merge(data)
        coverage_page.write(report, page)
        if passed and not options.tests and not options.report:
            command = ALL_COMMAND if options.all else COMMAND
            save(coverage_page.record(report, command, tools()))
    except (ValueError, OSError, BuildError) as error:
        print(f"coverage: {error}", file=sys.stderr)
        return BAD_INPUT
    for kind, count in report.totals.items():
        say(f"{kind}: {count.percent:.1f} % ({count.raw:.1f} % with what is excluded)")
    say(f"functional bins: {report.functional().percent:.1f} %")
    say(f"{len(report.units)} units, written: {page}")
    below = report.below()
    if not passed:
        below.insert(0, "tests failed: what they met is not in the figures")
    for line in below:
        print(f"coverage: {line}", file=sys.stderr)
    return FAILED if below else 0


def _forget(data):
    for path in sorted(data.rglob("*")):
        if path.is_file():
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
