"""Runs tests of `tests.waves.bench_chip` on the whole chip with a waveform."""

import json
import pickle
import threading
from dataclasses import dataclass

from hw.spec.presets import preset
from scripts.waves import chip_model
from scripts.waves.simulate import simulate
from sim import verilate
from sim.harness import harness
from sim.run.chip import sources_of
from sim.run.session import without_data

__all__ = ["CLOCK", "RESET", "ChipRun", "run_chip"]

BENCH = "tests.waves.bench_chip"
CLOCK, RESET = f"{harness.TOP}.clk", f"{harness.TOP}.rst"
TIMEOUT_SECONDS = 600

#: Runs share a build: the first makes it, the others find it.
_BUILDING = threading.Lock()


@dataclass(frozen=True)
class ChipRun:
    """Tests of the bench that run one after the other in one simulation.

    Members
    -------
    tests : str
        Regular expression of their names.
    scopes : tuple of str
        Instances whose own signals the short waveform has, besides those of the harness.
    memory : tuple of (str, int)
        Options of the simulated memory.
    """

    tests: str
    scopes: tuple
    memory: tuple = ()


def _control(scopes):
    """Return what limits a waveform to some instances: the rest is most of its cost."""
    chip = f"{harness.TOP}.chip"
    lines = [
        "`verilator_config",
        f'tracing_off -scope "{chip}" -levels 0',
        f'tracing_off -scope "{chip}.*" -levels 0',
        *(f'tracing_on -scope "{scope}" -levels 1' for scope in scopes),
    ]
    return "\n".join(lines) + "\n"


def _build(run, suffix, full):
    folder, sources = sources_of(preset(chip_model.PRESET))
    build_dir = folder / f"wave-{suffix}{'-full' if full else ''}"
    build_dir.mkdir(parents=True, exist_ok=True)
    if not full:
        control = build_dir / "scopes.vlt"
        text = _control(run.scopes)
        if not control.exists() or control.read_text() != text:
            control.write_text(text)
        sources = [*sources, control]
    return verilate.build(
        sources,
        harness.TOP,
        build_dir,
        fast=False,
        trace="fst" if suffix == "fst" else True,
        public=harness.PUBLIC,
        readable=harness.READABLE,
    )


def run_chip(run, folder, suffix, *, full=False):
    """Run a `ChipRun`; return (waveform, default channels: none, lines that say what failed).

    Parameters
    ----------
    run : ChipRun
    folder : Path
        Where waveform, image and log go.
    suffix : str
        Kind of waveform: fst or vcd.
    full : bool
        Whether every signal is in it: it takes some ten times as long.
    """
    with _BUILDING:
        executable = _build(run, suffix, full)
    folder.mkdir(parents=True, exist_ok=True)
    program = chip_model.program()
    image = folder / "image.bin"
    program.write_image(image)
    compiled = folder / "compiled.pkl"
    compiled.write_bytes(pickle.dumps(without_data(program)))
    waveform = folder / f"wave.{suffix}"
    waveform.unlink(missing_ok=True)
    given = {
        "prompt": chip_model.PROMPT,
        "tokens": chip_model.tokens(),
        "image": str(image),
        "compiled": str(compiled),
        "slverr_page": chip_model.SLVERR_PAGE,
    }
    slverr = program.memory_map.page_addr(chip_model.SLVERR_PAGE)
    problems = simulate(
        executable,
        BENCH,
        tests=run.tests,
        timeout=TIMEOUT_SECONDS,
        run_dir=folder,
        top=harness.TOP,
        plusargs=[
            *harness.image_plusargs(image, program.memory_map),
            f"+slverr_addr0={slverr}",
            *(f"+{name}={value}" for name, value in run.memory),
        ],
        env={"SERRANO_PARAMS": json.dumps(given)},
        waveform=waveform,
    )
    return waveform, (), problems
