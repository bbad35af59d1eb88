"""Rehearse the bring-up on a simulated board: `scripts/bringup.py`, with and without faults."""

import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hw.board.boards import BOARDS, board
from hw.spec.presets import PRESETS, preset
from scripts import bringup
from scripts.command import BAD_INPUT, FAILED, Parser
from scripts.marked import updated
from sim.board.board_simulator import build_board, fastest_link
from sim.board.fault import fault
from sim.board.simulated_board import END_SECONDS, BoardError
from sim.verilate import BuildError

__all__ = ["FAULTS", "Rehearsal", "main"]

DOCS = Path(__file__).resolve().parents[1] / "docs" / "bringup.md"

#: Faults as `simulated_board --fault` takes them, to what the ladder must call them. Exchanged
#: lines must reach into a burst: others only rename words.
FAULTS = {
    "stuck_bit:5:0": "D5 is stuck at 0",
    "stuck_bit:14:1": "D14 is stuck at 1",
    "swapped_address:0:7": "A0 (column) and A7 (column) are exchanged",
    "retention:1000": "refresh: rows lose their data",
    "baud:50": "wrong baud rate",
    "dropped_bytes:3001": "bytes are lost on the line",
    "version": "wrong version of the bitstream",
}

#: What `bringup` is told of a simulated board, whose milliseconds take seconds.
OPTIONS = (
    "--simulated", "--model", bringup.RANDOM, "--tokens", "4", "--wait-ms", "5",
    "--march-bytes", "2048", "--timeout", "10", "--patience", "600",
)  # fmt: skip


@dataclass(frozen=True)
class Rehearsal:
    """What `bringup` said of a board.

    Members
    -------
    text : str
        The transcript.
    outcomes : list of dict
        As its JSON has them.
    status : int
        Its exit status.
    """

    text: str
    outcomes: list
    status: int

    @property
    def verdict(self):
        """The first rung that failed, and what it found."""
        for outcome in self.outcomes:
            if outcome["verdict"] == "FAIL":
                return f"rung {outcome['number']}: {outcome['fault']}"
        return "every rung passes"


class _Tee(io.StringIO):
    """Keep what is printed, and print it."""

    def __init__(self, out):
        super().__init__()
        self._out = out

    def write(self, text):
        self._out.write(text)
        self._out.flush()
        return super().write(text)


def rehearse(name, config, simulator_of, fault_text=None, options=OPTIONS):
    """Start a simulated board, climb its ladder, stop it; return the `Rehearsal`."""
    wrong = fault(fault_text) if fault_text else None
    simulator = simulator_of(wrong)
    with tempfile.TemporaryDirectory(prefix="serrano-board-") as folder:
        path = Path(folder) / "outcomes.json"
        with simulator.start(Path(folder) / "board", fault=wrong) as running:
            arguments = ["--port", running.port, "--board", name, "--preset", config]
            with redirect_stdout(_Tee(sys.stdout)) as text:
                status = bringup.main([*arguments, "--json", str(path), *options])
            ended = running.ended(END_SECONDS if status else 0.0)
        if ended:
            raise BoardError(ended)
        return Rehearsal(text.getvalue(), json.loads(path.read_text()), status)


def _table(found):
    rows = [f"| `{name}` | {rehearsal.verdict} |\n" for name, rehearsal in found.items()]
    return "| fault | verdict |\n|---|---|\n" + "".join(rows)


def _parser():
    parser = Parser(prog="rehearsal", description=__doc__)
    parser.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} (default: ulx3s)")
    parser.add_argument(
        "--preset", help=f"of its chip: {', '.join(PRESETS)} (default: the board's own)"
    )
    parser.add_argument(
        "--faults", action="store_true", help="climb with each fault, and look whether it is named"
    )
    parser.add_argument(
        "--accept", action="store_true", help=f"write what was found into docs/{DOCS.name}"
    )
    return parser


def _run(options):
    """Rehearse; return the exit status."""
    found_board = board(options.board)
    config = options.preset or found_board.preset

    def simulator_of(wrong):
        return build_board(
            found_board,
            config=preset(config),
            link_speedup=fastest_link(found_board),
            **({"version": wrong.version} if wrong else {}),
            on_step=lambda step, where: print(f"{step} ({where}) ...", file=sys.stderr, flush=True),
        )

    if not options.faults:
        done = rehearse(options.board, config, simulator_of)
        if options.accept and not done.status:
            text = f"```\n{done.text}```\n"
            DOCS.write_text(updated(DOCS.read_text(), "transcript", text))
        return done.status
    found, unnamed = {}, []
    for name, expected in FAULTS.items():
        print(f"--- {name}")
        found[name] = rehearse(options.board, config, simulator_of, name)
        if expected not in found[name].verdict or not found[name].status:
            unnamed.append(name)
    print(_table(found))
    if unnamed:
        print(f"rehearsal: not named: {', '.join(unnamed)}", file=sys.stderr)
        return FAILED
    if options.accept:
        DOCS.write_text(updated(DOCS.read_text(), "faults", _table(found)))
    return 0


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return BAD_INPUT
    except (BuildError, BoardError) as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
