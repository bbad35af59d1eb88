"""Measure a simulated board with a model in its memory: tokens a second, use of the SDRAM."""

import asyncio
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.board.boards import BOARDS, board
from hw.board.sdram_pins import DQ_WIDTH
from hw.spec.presets import preset
from scripts.command import BAD_INPUT, FAILED, Parser
from scripts.marked import updated
from sim.board.board_simulator import build_board, fastest_link
from sim.board.simulated_board import END_SECONDS, BoardError
from sim.compiler.compile import compile_model
from sim.device.device import Device
from sim.device.error import DeviceError
from sim.device.serial_channel import SerialChannel
from sim.device.serial_transport import SerialTransport
from sim.run.golden_run import run_golden
from sim.run.model import load_model
from sim.verilate import BuildError

ANSWER_SECONDS = 60.0  # that a slow machine may take
PASS_SECONDS = 600.0  # that it may take for a pass
PROMPT = "She was"
GOAL = 0.90  #: of the SDRAM's pins, in decode
DOCS = Path(__file__).resolve().parents[1] / "docs" / "board.md"


@dataclass(frozen=True)
class Measure:
    """What a run, or the difference of two, took.

    Members
    -------
    tokens, cycles, beats : int
        Tokens written, cycles, and beats on the memory port.
    """

    tokens: int
    cycles: int
    beats: int

    def since(self, other):
        """Return what this run took more than another."""
        return Measure(
            self.tokens - other.tokens, self.cycles - other.cycles, self.beats - other.beats
        )

    def share(self, port_bytes):
        """Return the share of the SDRAM's pins that was used."""
        return self.beats * port_bytes / (self.cycles * DQ_WIDTH // 8)


async def _measure(device, prompt, counts):
    """Return the tokens and the `Measure` of a run for each of several lengths."""
    await device.check()
    await device.attach()
    runs = []
    for count in counts:
        tokens = await device.generate(prompt, count)
        found = await device.counters()
        beats = found["read_beats"] + found["write_beats"]
        runs.append((tokens, Measure(len(tokens), found["cycles"], beats)))
    return runs


def measure(target, model, prompt, counts, folder):
    """Run a model on a simulated board, with its image in the SDRAM from the start.

    Parameters
    ----------
    target : Board
        What to build.
    model : QuantisedModel
        What to run.
    prompt : sequence of int
        Tokens.
    counts : sequence of int
        Tokens to write, in one run after the other.
    folder : Path
        For the image and the board's log.

    Raises
    ------
    BoardError
        The simulator has ended, or tokens differ from those of the golden model.
    """
    compiled = compile_model(model, preset(target.preset))
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    compiled.fill(memory)
    image = folder / "image.bin"
    memory.tofile(image)
    simulator = build_board(target, link_speedup=fastest_link(target))
    with simulator.start(folder, image=image) as running:
        transport = SerialTransport(
            SerialChannel(running.port),
            memory_bytes=len(memory),
            timeout=ANSWER_SECONDS,
            patience=PASS_SECONDS,
        )
        try:
            runs = asyncio.run(_measure(Device(transport, compiled), prompt, counts))
        except DeviceError as error:
            # The SDRAM stops at a rule that is broken: of that a host sees only the port.
            if ended := running.ended(END_SECONDS):
                raise BoardError(ended) from error
            raise
    golden = run_golden(model, prompt, max(counts)).tokens
    for tokens, _ in runs:
        if tokens != golden[: len(tokens)]:
            raise BoardError(f"tokens {tokens} differ from golden's {golden[: len(tokens)]}")
    return [run for _, run in runs]


def table(target, options, words, whole, decode):
    """Return the figures for the docs.

    Parameters
    ----------
    target : Board
        What was measured.
    options : Namespace
        With ``model``, ``prompt`` and ``tokens``.
    words : list of str
        Arguments of the command.
    whole, decode : Measure
        Of all tokens, and of those after the first.
    """
    cycles = decode.cycles / decode.tokens
    rows = (
        ("board, preset", f"`{target.name}`, `{target.preset}`"),
        ("clock, SDRAM", f"{target.clock_hz / 1e6:g} MHz, `{target.sdram}`"),
        ("run", f"model `{options.model}`, {options.prompt!r}, tokens 2 to {whole.tokens}"),
        ("cycles a token", f"{cycles:,.0f}"),
        ("tokens a second", f"{target.clock_hz / cycles:.1f}"),
        ("share of the SDRAM's pins", f"{decode.share(preset(target.preset).port_bytes):.3f}"),
        ("goal", f"{GOAL:.2f}"),
        ("command", f"`{shlex.join(['python', '-m', 'scripts.board_speed', *words])}`"),
    )
    return "| | |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="board_speed", description=__doc__)
    parser.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} (default: ulx3s)")
    parser.add_argument("--model", default="default", help="name, folder or GGUF file")
    parser.add_argument("--prompt", default=PROMPT, help=f"default: {PROMPT!r}")
    parser.add_argument("--tokens", type=int, default=6, help="to write, from 2 (default: 6)")
    parser.add_argument(
        "--accept", action="store_true", help=f"write what was found into docs/{DOCS.name}"
    )
    words = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(words)
    try:
        target = board(options.board)
        if options.tokens < 2:
            raise ValueError(f"--tokens must be 2 at least, not {options.tokens}")
        model, tokenizer = load_model(options.model)
        prompt = tokenizer.encode(options.prompt)
        with tempfile.TemporaryDirectory(prefix="serrano-board-") as folder:
            first, whole = measure(target, model, prompt, (1, options.tokens), Path(folder))
    except (ValueError, OSError) as error:
        print(f"board_speed: {error}", file=sys.stderr)
        return BAD_INPUT
    except (BuildError, BoardError, DeviceError) as error:
        print(f"board_speed: {error}", file=sys.stderr)
        return FAILED
    port_bytes = preset(target.preset).port_bytes
    decode = whole.since(first)
    cycles = decode.cycles / decode.tokens
    print(f"{target.name}: {options.model}, prompt of {len(prompt)}, {whole.tokens} tokens")
    print(f"prompt   {first.cycles:>12,} cycles, {first.share(port_bytes):.3f} of the pins")
    print(
        f"decode   {cycles:>12,.0f} cycles a token, {decode.share(port_bytes):.3f} of the pins, "
        f"{target.clock_hz / cycles:.1f} tokens/s at {target.clock_hz / 1e6:g} MHz"
    )
    if decode.share(port_bytes) < GOAL:
        share = f"{decode.share(port_bytes):.3f} of the pins in decode"
        print(f"board_speed: {share}, and the goal is {GOAL:.2f}", file=sys.stderr)
        return FAILED
    if options.accept:
        text = table(target, options, words, whole, decode)
        DOCS.write_text(updated(DOCS.read_text(), "speed", text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
