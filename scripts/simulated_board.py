"""Run a board in a simulator, behind a serial port that a host opens like any other."""

import signal
import sys
import tempfile
import threading
from pathlib import Path

from hw.board.boards import BOARDS, board
from hw.spec.presets import PRESETS, preset
from scripts.command import Parser
from sim.board.board_simulator import build_board
from sim.board.fault import FAULTS, fault
from sim.board.simulated_board import BoardError
from sim.verilate import BuildError

_LOOK_SECONDS = 0.2


def _faults():
    return "; ".join(
        f"{':'.join([name, *(f'{key}={value}' for key, value in values.items())])} ({text})"
        for name, (text, values) in FAULTS.items()
    )


def _parser():
    parser = Parser(prog="simulated_board", description=__doc__)
    parser.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} (default: ulx3s)")
    parser.add_argument(
        "--preset", help=f"of its chip: {', '.join(PRESETS)} (default: the board's own)"
    )
    parser.add_argument(
        "--link-speedup", type=int, default=1, metavar="N",
        help="the serial line is so many times faster than on the board (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--fault", help=f"what is wrong with it, as NAME or NAME:VALUE:VALUE. {_faults()}"
    )
    parser.add_argument(
        "--image", type=Path, help="file of what the SDRAM holds (default: zeros, in a new file)"
    )
    parser.add_argument("--folder", type=Path, help="for port and log (default: a new one)")
    return parser


def _run(options, folder):
    """Build, start, wait for the end; return what went wrong, or None."""
    wrong = fault(options.fault) if options.fault else None
    if options.image and not options.image.is_file():
        raise ValueError(f"--image must be a file, not {str(options.image)!r}")
    found = board(options.board)
    config = preset(options.preset or found.preset)
    if wrong:
        wrong.check(config.port_bytes)
    simulator = build_board(
        found,
        config=config,
        link_speedup=options.link_speedup,
        **({"version": wrong.version} if wrong else {}),
        on_step=lambda step, where: print(f"{step} ({where}) ...", file=sys.stderr, flush=True),
    )
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with simulator.start(folder, image=options.image, fault=wrong) as running:
        print(running.port, flush=True)
        while not over.wait(_LOOK_SECONDS):
            if end := running.ended():
                return end
    return None


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.folder:
            wrong = _run(options, options.folder)
        else:
            with tempfile.TemporaryDirectory(prefix="serrano-board-") as folder:
                wrong = _run(options, Path(folder))
    except (ValueError, OSError) as error:
        print(f"simulated_board: {error}", file=sys.stderr)
        return 2
    except (BuildError, BoardError) as error:
        wrong = str(error)
    if wrong:
        print(f"simulated_board: {wrong}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
