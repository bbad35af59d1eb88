"""Measure how fast the whole chip simulates, under cocotb and in bare Verilator."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hw.spec.csr import CONTROL, IRQ, REGISTERS
from hw.spec.presets import preset
from scripts.command import Parser
from sim.compiler.compile import compile_model
from sim.compiler.host_image import HostImage
from sim.device.request import DEFAULTS
from sim.harness.harness import image_plusargs
from sim.run.chip import build_bare, build_chip
from sim.run.console import Console
from sim.run.model import load_model
from sim.run.session import Request, RunFailed, Session
from sim.verilate import BuildError

PROMPT, TOKENS, REPEATS = (1, 2, 3, 4), 8, 3


def registers(compiled):
    """Return the lines of offset and value that start the one request."""
    values = compiled.memory_map.registers() | {
        "requests_written": 1,
        "irq_enable": 1 << IRQ["done"] | 1 << IRQ["error"],
        "control": 1 << CONTROL["start"],
    }
    return "".join(f"{REGISTERS[name].offset:x} {value:x}\n" for name, value in values.items())


def bare(chip, compiled, folder):
    """Run without cocotb; return (cycles per second, the tokens written)."""
    folder.mkdir(exist_ok=True)
    image = folder / "image.bin"
    host = HostImage(compiled, compiled.write_image(image))
    pages = range(compiled.memory_map.sequence_pages)
    fields = {
        "request_id": 0,
        "prompt_addr": host.write_prompt(0, PROMPT),
        "prompt_len": len(PROMPT),
        "max_tokens": TOKENS,
        "page_table_addr": host.write_page_table(0, pages),
        "page_count": len(pages),
    }
    host.write_request(0, **DEFAULTS | fields)
    (folder / "registers").write_text(registers(compiled))
    command = [
        chip.executable,
        *image_plusargs(image, compiled.memory_map),
        f"+registers={folder / 'registers'}",
        f"+trace={folder / 'trace.bin'}",
    ]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    words = done.stdout.split("bare: cycles ")
    if done.returncode or len(words) < 2:
        raise RunFailed(f"bare Verilator failed: {(done.stdout + done.stderr)[-500:]}")
    return int(words[1].split()[0]) / seconds, [e.token for e in host.read_events(0, TOKENS)]


def cocotb(chip, compiled, folder):
    """Run as `make sim` does; return (cycles per second, the tokens written, cycles)."""
    session = Session(chip, compiled, Request(prompt=PROMPT, max_tokens=TOKENS), folder)
    events = list(session.events())
    tokens = session.results[0].tokens
    return session.cycles_per_second, tokens, events[-1]["counters"]["cycles"]


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="bench-sim", description=__doc__)
    parser.add_argument("--preset", default="small", help="configuration (default: small)")
    parser.add_argument("--model", default="default", help="name, or folder (default: default)")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        config = preset(options.preset)
        compiled = compile_model(load_model(options.model)[0], config)
    except (ValueError, OSError) as error:
        print(f"bench-sim: {error}", file=sys.stderr)
        return 2
    try:
        with console.building() as on_step:
            chips = build_chip(config, on_step=on_step), build_bare(config, on_step=on_step)
        with tempfile.TemporaryDirectory(prefix="serrano-") as name:
            folder, rates = Path(name), ([], [])
            for _ in range(REPEATS):  # in turns, as other load comes and goes
                rate, tokens, cycles = cocotb(chips[0], compiled, folder / "cocotb")
                rates[0].append(rate)
                rate, same = bare(chips[1], compiled, folder / "bare")
                rates[1].append(rate)
                if tokens != same:
                    raise RunFailed(f"both must write the same tokens, not {tokens} and {same}")
    except (BuildError, RunFailed) as error:
        print(f"bench-sim: {error}", file=sys.stderr)
        return 1
    best, best_bare = map(max, rates)
    print(f"preset {options.preset}, model {options.model}, {cycles:,} cycles, {REPEATS} runs each")
    print(f"{'cycles/s':<20}{'best':>10}{'worst':>10}")
    for name, values in zip(("under cocotb", "bare Verilator"), rates, strict=True):
        print(f"{name:<20}{max(values):>10,.0f}{min(values):>10,.0f}")
    print(f"{'ratio of the best':<20}{best / best_bare:>10.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
