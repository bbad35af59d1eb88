"""Second opinions of the preset tiny: another simulator, random power-up, the netlist of gates."""

import importlib.metadata
import sys
import time
from pathlib import Path

from hw.spec.presets import preset
from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth.design import ROOT, TOP, sources_digest
from scripts.synth.random_state import SEEDS, check_reset, without_initial_values
from scripts.synth.yosys import ToolError, command, notice
from scripts.synth.yosys import version as yosys_version
from scripts.verify.record import FOLDER as RECORDS
from scripts.verify.record import Record, save
from scripts.verify.second import replay
from scripts.verify.second.recording import Recorder
from sim.verilate import BuildError

PRESET = "tiny"
FOLDER = ROOT / "build" / "second"
PARTS = ("simulator", "state", "gates")
#: Tokens of the prompt, and to write, of what is replayed.
TOKENS, TOKEN = (5, 3), (2, 1)
COLUMNS = ["what", "how", "cycles", "ports compared", "found"]


def _parser():
    parser = Parser(prog="second", description=__doc__)
    parser.add_argument(
        "--part",
        choices=PARTS,
        action="append",
        help="only this; all are recorded",
    )
    return parser


class _Run:
    """The rows of the record, and what is wrong."""

    def __init__(self, folder):
        self.folder, self.rows, self.findings = Path(folder), [], []
        self._recorder = None

    def recording(self, sizes):
        """Return (recorder, recording) of a run."""
        if self._recorder is None:
            say("recording the ports of the chip")
            self._recorder = Recorder(preset(PRESET), self.folder / "recorder")
        return self._recorder, self._recorder.record(*sizes)

    def compare(self, what, how, program, sizes, options=()):
        """Replay a recording and note what came out."""
        recorder, recording = self.recording(sizes)
        say(f"{what}: {how}")
        found = replay.replay(program, recording.path, recorder.ports, options=options)
        result = f"all equal, tokens {', '.join(map(str, recording.tokens))}"
        if found.difference:
            result = str(found.difference)
            self.findings.append(f"{what}: {found.difference}")
        ports = f"{len(recorder.ports.outputs)} outputs"
        self.rows.append([what, how, f"{found.cycles:,}", ports, result])
        say(f"{what}: {found.cycles:,} cycles, {result}")

    def simulator(self):
        """The same run, in CXXRTL and, where there is one, in Icarus."""
        recorder, _ = self.recording(TOKENS)
        say("building the CXXRTL model")
        program = replay.cxxrtl(recorder.source, recorder.ports, TOP, self.folder / "cxxrtl")
        self.compare("second simulator", f"CXXRTL of {yosys_version()}", program, TOKENS)
        program = replay.icarus(recorder.source, recorder.ports, TOP, self.folder / "icarus")
        if program:
            self.compare("third simulator", "Icarus Verilog", program, TOKEN)

    def state(self):
        """Runs from random registers and memories."""
        say(f"random power-up, seeds {', '.join(map(str, SEEDS))}")
        found = check_reset()
        self.findings += map(str, found)
        what = "tokens, times, candidates, memory"
        result = "; ".join(map(str, found)) or "all equal"
        self.rows.append(["random power-up", f"Verilator, {len(SEEDS)} seeds", "–", what, result])
        say(f"random power-up: {result}")

    def gates(self):
        """One token on the netlist of gates, from random flip-flops and memories."""
        recorder, _ = self.recording(TOKEN)
        say("synthesising the chip, for some minutes unless it is kept")
        source = replay.netlist(
            without_initial_values(recorder.source), TOP, self.folder / "netlist"
        )
        say("building the simulator of the netlist")
        program = replay.verilator(source, recorder.ports, TOP, self.folder / "gates")
        for seed in (None, *SEEDS):
            start = ["+verilator+rand+reset+0"]
            if seed is not None:
                start = ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
            how = "from zero" if seed is None else f"from random state, seed {seed}"
            # The netlist has no initial values: what is not valid may be other than was recorded.
            options = ["+qualified", *start]
            self.compare("netlist of gates", f"Verilator, {how}", program, TOKEN, options)


def _tools():
    names = ("verilator", "cocotb")
    return [yosys_version(), *(f"{name} {importlib.metadata.version(name)}" for name in names)]


def _second(parts, folder, records):
    command()
    if notice():
        say(notice())
    run = _Run(folder)
    for part in parts:
        getattr(run, part)()
    if tuple(parts) == PARTS:
        save(
            Record(
                section="second",
                command="make second",
                summary=[
                    ["configuration", PRESET],
                    ["cycles compared port by port", f"{_cycles(run.rows):,}"],
                    ["differences", str(len(run.findings))],
                ],
                columns=COLUMNS,
                rows=run.rows,
                notes=[f"Sources {sources_digest()[:12]}; `docs/soak.md` says what is replayed."],
                tools=_tools(),
            ),
            records,
        )
    return run.findings


def _cycles(rows):
    return sum(int(row[2].replace(",", "")) for row in rows if row[2] != "–")


def main(arguments=None, *, folder=FOLDER, records=RECORDS):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    parts = [part for part in PARTS if not options.part or part in options.part]
    start = time.monotonic()
    try:
        findings = _second(parts, folder, records)
    except OSError as error:
        print(f"second: {error}", file=sys.stderr)
        return BAD_INPUT
    except (ToolError, BuildError, ValueError) as error:
        print(f"second: {error}", file=sys.stderr)
        return FAILED
    for finding in findings:
        print(f"second: {finding}", file=sys.stderr)
    say(f"{len(findings)} differences, {time.monotonic() - start:,.0f} s")
    return FAILED if findings else 0


if __name__ == "__main__":
    sys.exit(main())
