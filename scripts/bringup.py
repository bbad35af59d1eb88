"""Bring up a board: nine rungs from the serial line to tokens, each PASS or FAIL with its fault."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from hw.board.boards import BAUD, BOARDS, board
from hw.spec.presets import PRESETS, preset
from scripts.command import BAD_INPUT, FAILED, Parser
from sim.bringup.ladder import RUNGS, climb, lines
from sim.bringup.programs import token_model
from sim.bringup.target import Settings, Target
from sim.compiler.compile import compile_model
from sim.device.error import PortError
from sim.device.request import check_request
from sim.device.serial_channel import SerialChannel
from sim.run.model import load_model

__all__ = ["main"]

RANDOM = "random"
PROMPT = "She was"
_RANDOM_PROMPT = (5, 17, 3)


def _parser():
    numbers = [rung.number for rung in RUNGS]
    parser = Parser(prog="bringup", description=__doc__)
    parser.add_argument("--port", required=True, help="such as /dev/ttyUSB0")
    parser.add_argument("--baud", type=int, default=BAUD, help=f"default: {BAUD}")
    parser.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} (default: ulx3s)")
    parser.add_argument(
        "--preset", help=f"of its chip: {', '.join(PRESETS)} (default: the board's own)"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--from", dest="first", type=int, choices=numbers, default=1, metavar="N",
        help="begin with this rung",
    )  # fmt: skip
    which.add_argument("--only", type=int, choices=numbers, metavar="N", help="this rung alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the outcomes there")
    parser.add_argument(
        "--program", type=Path, metavar="BITSTREAM", help="first, with openFPGALoader"
    )
    parser.add_argument(
        "--model", default="default",
        help=f"of rungs 8 and 9: name, folder, GGUF file, or {RANDOM!r} for a small one of random "
        "numbers (default: default)",
    )  # fmt: skip
    parser.add_argument("--tokens", type=int, default=8, help="that it writes (default: 8)")
    parser.add_argument(
        "--wait-ms", type=float, default=500.0,
        help="that memory must keep its data (default: 500, eight times its refresh)",
    )  # fmt: skip
    parser.add_argument(
        "--march-bytes", type=int, default=1 << 15, help=f"of memory (default: {1 << 15})"
    )
    parser.add_argument(
        "--timeout", type=float, default=2.0, help="seconds without a reply (default: 2)"
    )
    parser.add_argument(
        "--patience", type=float, default=60.0,
        help="seconds that the chip may run without an event (default: 60)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="of random data (default: 1)")
    parser.add_argument(
        "--simulated", action="store_true", help="the board's seconds are not the host's"
    )
    return parser


def _settings(options):
    found = board(options.board)
    config = preset(options.preset or found.preset)
    for name in ("wait_ms", "march_bytes", "timeout", "patience", "baud"):
        if getattr(options, name) <= 0:
            raise ValueError(
                f"--{name.replace('_', '-')} must be positive, not {getattr(options, name)}"
            )
    if options.model == RANDOM:
        model, prompt = token_model(), _RANDOM_PROMPT
    else:
        model, tokenizer = load_model(options.model)
        prompt = tuple(tokenizer.encode(PROMPT))
    context = min(model.shape.context, config.max_context)
    check_request(prompt, options.tokens, vocab=model.shape.vocab, context=context)
    return Settings(
        board=options.board,
        config=config,
        simulated=options.simulated,
        timeout=options.timeout,
        patience=options.patience,
        wait_ms=options.wait_ms,
        march_bytes=options.march_bytes,
        seed=options.seed,
        model_name=options.model,
        model=model,
        compiled=compile_model(model, config),
        prompt=prompt,
        tokens=options.tokens,
    )


def _program(options):
    """Write a bitstream into the board's FPGA; ValueError if that cannot be."""
    tool = shutil.which("openFPGALoader")
    if tool is None:
        raise ValueError("--program needs openFPGALoader, which is not installed")
    if not options.program.is_file():
        raise ValueError(f"--program must be a file, not {str(options.program)!r}")
    words = [*board(options.board).loader, str(options.program)]
    done = subprocess.run([tool, *words], check=False)
    if done.returncode:
        raise ValueError(f"openFPGALoader ended with status {done.returncode}")


def main(arguments=None):
    """Run the command; return its exit status: 0 all passed, 1 a rung failed, 2 bad input."""
    options = _parser().parse_args(arguments)
    target = None
    try:
        if options.json and not options.json.parent.is_dir():
            raise ValueError(f"--json must be in a folder that is there, not {options.json}")
        settings = _settings(options)
        if options.program:
            _program(options)
        target = Target(
            lambda baud: SerialChannel(options.port, options.baud if baud is None else baud),
            settings,
        )
        target.open()
    except (ValueError, OSError, PortError) as error:
        print(f"bringup: {error}", file=sys.stderr)
        return BAD_INPUT
    numbers = [options.only] if options.only else range(options.first, len(RUNGS) + 1)
    outcomes = []
    try:
        for outcome in climb(target, numbers):
            outcomes.append(outcome)
            print("\n".join(lines(outcome)), flush=True)
    except KeyboardInterrupt:
        return FAILED
    finally:
        target.close()
        if options.json:
            options.json.write_text(json.dumps([o.as_dict() for o in outcomes], indent=2) + "\n")
    return FAILED if any(outcome.verdict != "PASS" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
