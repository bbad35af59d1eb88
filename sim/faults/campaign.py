"""Builds a chip in which faults can be made, runs a campaign in it, and judges every run."""

import dataclasses
import json
import pickle
from dataclasses import dataclass
from pathlib import Path

from hw.spec.presets import preset
from sim import verilate
from sim.compiler.compile import compile_model
from sim.device.error import DeviceError
from sim.faults.case import case_of
from sim.faults.injector import NAMES, injector
from sim.faults.targets import find_targets
from sim.golden.model import ModelShape
from sim.golden.random_model import random_model
from sim.harness import harness
from sim.run.chip import BUILD, TOP, emit_verilog
from sim.run.golden_run import run_golden
from sim.run.session import without_data

__all__ = [
    "CONFIG",
    "COUNT",
    "OUTCOMES",
    "PROMPT",
    "FaultyChip",
    "build_faulty",
    "judge",
    "model",
    "run_cases",
]

#: What is built, and what runs on it: a model of one layer, so that a run takes a few thousand
#: cycles.
CONFIG = dataclasses.replace(preset("tiny"), parity=True)
SHAPE = ModelShape(
    layers=1, dim=32, heads=2, kv_heads=1, head_dim=32, ffn=32, vocab=32, context=32
)  # fmt: skip
MODEL_SEED, PROMPT, COUNT, REPORT = 5, (3, 17, 8), 2, 8
WATCHDOG_CYCLES = 1000
#: Cycles after which a run that says nothing hangs, in lengths of a run without fault.
PATIENCE = 4

OUTCOMES = ("detected", "corrected", "masked", "silent", "hang")

#: Timing that depends on nothing before the run: each case must be the same by itself.
_PLUSARGS = ("+refresh_interval=0", "+latency=10")


@dataclass(frozen=True)
class FaultyChip:
    """A simulator with an injector, and what it can hit."""

    folder: Path
    executable: Path
    targets: tuple


def build_faulty(*, fast, config=CONFIG, on_step=print):
    """Build the simulator, or find it built.

    Raises
    ------
    BuildError
        From `sim.verilate.build`.
    """
    folder = BUILD / ("faults" if config.parity else "faults-without-parity")
    source = folder / f"{TOP}.v"
    on_step(f"writing Verilog in {folder}")
    emit_verilog(config, source)
    targets = tuple(target for group in find_targets(source.read_text()) for target in group)
    sources = harness.write(
        folder, tiles=config.tiles, data_bytes=config.port_bytes, more=injector(targets)
    )
    on_step(f"building the simulator, {len(targets)} targets")
    executable = verilate.build(
        [*sources, source],
        harness.TOP,
        folder / verilate.folder_of(fast),
        fast=fast,
        public=(*harness.PUBLIC, *NAMES),
        readable=harness.READABLE,
    )
    return FaultyChip(folder, executable, targets)


def model():
    """Return the model that runs."""
    return random_model(SHAPE, MODEL_SEED)


def run_cases(chip, numbers, *, seed, folder, config=CONFIG, on_case=None):
    """Run the cases of these numbers; return what a clean run gives, and (case, seen) of each.

    Parameters
    ----------
    chip : FaultyChip
    numbers : iterable of int
    seed : int
    folder : Path
        For images and logs.
    config : ArchConfig
    on_case : callable
        Given the case and what was seen, after the run of each.

    Raises
    ------
    DeviceError
        The simulation failed, or a run without fault does not give the golden model's tokens.
    """
    folder = Path(folder).resolve()  # the simulator runs there
    compiled = compile_model(model(), config, page_count=1)
    (clean,) = _simulate(chip, compiled, [None], folder / "clean", limit=1_000_000)
    golden = run_golden(model(), PROMPT, COUNT).tokens
    if clean["tokens"] != golden or clean["error"] or clean["swept"]:
        raise DeviceError(f"without a fault the chip gives {clean}, not {golden}")
    memory = compiled.memory_map
    image = memory.offset(memory.image_base), memory.offset(memory.image_limit - 1) + 1
    page = memory.offset(memory.kv_base), memory.offset(memory.kv_limit - 1) + 1
    cases = [
        case_of(
            number, seed=seed, targets=chip.targets, cycles=clean["cycles"], spans=(image, page)
        )
        for number in numbers
    ]
    limit = PATIENCE * clean["cycles"] + 2 * WATCHDOG_CYCLES
    found = _simulate(chip, compiled, cases, folder, limit=limit, on_case=on_case)
    return clean, list(zip(cases, found, strict=True))


def _simulate(chip, compiled, cases, folder, *, limit, on_case=None):
    folder.mkdir(parents=True, exist_ok=True)
    image, out = folder / "image.bin", folder / "seen.jsonl"
    compiled.write_image(image)
    (folder / "compiled.pkl").write_bytes(pickle.dumps(without_data(compiled)))
    out.write_text("")
    given = {
        "cases": [case and dataclasses.asdict(case) for case in cases],
        "tables": [n for n, target in enumerate(chip.targets) if target.table],
        "compiled": str(folder / "compiled.pkl"),
        "image": str(image),
        "out": str(out),
        "prompt": PROMPT,
        "count": COUNT,
        "report": REPORT,
        "watchdog": WATCHDOG_CYCLES,
        "limit": limit,
    }
    config = folder / "given.json"
    config.write_text(json.dumps(given))
    result = verilate.run(
        chip.executable,
        "sim.faults.inside",
        top=harness.TOP,
        run_dir=folder,
        plusargs=[*harness.image_plusargs(image, compiled.memory_map), *_PLUSARGS],
        env={"SERRANO_FAULTS": str(config)},
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    if not result.ok or len(lines) != len(cases):
        reason = " ".join(result.messages.values()) or result.log.read_text()[-500:]
        raise DeviceError(
            f"the simulation ended after {len(lines)} cases, see {result.log}: {reason}"
        )
    for case, line in zip(cases, lines, strict=True):
        if on_case and case:
            on_case(case, line["seen"])
    return [line["seen"] for line in lines]


def judge(case, seen, clean):
    """Return one of `OUTCOMES`.

    A token that is not that of a run without fault is silent, even if an error follows it.
    """
    tokens = seen["tokens"]
    if tokens != clean["tokens"][: len(tokens)]:
        return "silent"
    if seen["hang"]:
        return "hang"
    if seen["error"]:
        return "detected"
    if tokens != clean["tokens"] or seen["candidates"] != clean["candidates"]:
        return "silent"
    if seen["corrected"] or seen["swept"] or case.reset:
        return "corrected"
    return "masked"
