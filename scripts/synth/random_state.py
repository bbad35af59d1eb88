"""Whether reset is enough: runs that begin with random registers and memories."""

import dataclasses
import hashlib
import re
import tempfile
from pathlib import Path

from hw.spec.presets import preset
from sim import verilate
from sim.compiler.compile import compile_model
from sim.harness import harness
from sim.perf.workloads import SHAPES, random_model
from sim.run.chip import Chip, emit_verilog, probe_widths, units_width
from sim.run.session import Request, RunFailed, Session

from .design import BUILD, ROOT, TOP, sources_digest, write_whole
from .finding import Finding
from .lint_verilog import verilator_version

__all__ = ["SEEDS", "check_reset", "without_initial_values"]

SEEDS = (1, 2, 3)
PRESET = "tiny"
PROMPT = (3, 10, 17, 24, 31)
TOKENS = 3
SIM = ROOT / "sim"
PARTS = ("compiler", "golden", "harness", "perf", "run")  #: of the simulation, that a run needs

_MODULE = re.compile(r"^module .*?^endmodule$", re.M | re.S)
_REGISTER = re.compile(r"^(  reg (?:signed )?(?:\[\d+:\d+\] )?(?!\\\$auto)\S+ *) = .*;$", re.M)
_INITIAL = re.compile(r"^  initial begin\n    (\S+)\[0\] = .*?^  end\n", re.M | re.S)


def without_initial_values(text):
    """Return Verilog whose registers and memories begin with anything; tables keep their values.

    Yosys' own registers stay: they only start processes that read constants.
    """

    def stripped(match):
        module = match[0]

        def memory(found):
            written = re.search(rf"^ +{re.escape(found[1])}\[.*<=", module, re.M)
            return "" if written else found[0]

        return _INITIAL.sub(memory, _REGISTER.sub(r"\1;", module))

    return _MODULE.sub(stripped, text)


def _build(folder, config):
    plain = folder / "plain.v"
    emit_verilog(config, plain, trace=True)
    source = folder / f"{TOP}.v"
    write_whole(source, without_initial_values(plain.read_text()))
    sources = harness.write(
        folder,
        tiles=config.tiles,
        data_bytes=config.port_bytes,
        probes=probe_widths(config),
        units_width=units_width(config),
    )
    executable = verilate.build(
        [*sources, source],
        harness.TOP,
        folder / "simulator",
        fast=False,
        public=harness.PUBLIC,
        readable=harness.READABLE,
        verilator_args=("--x-initial", "unique"),
    )
    return Chip(config, folder, executable)


def _outcome(chip, compiled, plusargs):
    """Run a request; return all that it leaves outside the chip."""
    request = Request(prompt=PROMPT, max_tokens=TOKENS, report=chip.config.list_len)
    with tempfile.TemporaryDirectory(prefix="serrano-") as folder:
        session = Session(chip, compiled, request, folder, trace=False, plusargs=plusargs,
                          max_cycles=1_000_000)  # fmt: skip
        last = list(session.events())[-1]
        result = session.results[0]
        image = hashlib.sha256(bytes(session.memory)).hexdigest()
    return {
        "tokens": result.tokens,
        "cycles": [at - result.cycles[0] for at in result.cycles],
        "candidates": result.candidates,
        "memory": image,
        "error": last["error"],
    }


def _surroundings():
    """Return a digest of what a run depends on besides the chip: harness, compiler, simulator."""
    digest = hashlib.sha256()
    inner = [path for part in PARTS for path in (SIM / part).rglob("*")]
    for path in sorted([*SIM.glob("*.py"), *inner, Path(__file__)]):
        if path.suffix in (".py", ".sv", ".cpp", ".h"):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    digest.update(verilator_version().encode())
    return digest.hexdigest()


def check_reset(seeds=SEEDS, *, parity=False):
    """Return a finding for each seed with which a run of the chip differs from one from zero.

    A run that fails is a finding, too. With ``parity`` it is the chip whose memories carry parity.

    Raises
    ------
    sim.verilate.BuildError
        If there is no simulator.
    """
    folder = BUILD / ("random_state_parity" if parity else "random_state")
    passed = folder / "passed"
    key = hashlib.sha256(repr((sources_digest(), _surroundings(), seeds)).encode()).hexdigest()
    if passed.exists() and passed.read_text() == key:
        return []
    chip = _build(folder, dataclasses.replace(preset(PRESET), parity=parity))
    compiled = compile_model(random_model(SHAPES["little"]), chip.config)
    try:
        zero = _outcome(chip, compiled, ["+verilator+rand+reset+0"])
    except RunFailed as error:
        return [Finding("reset", "top", f"from zero: {error}")]
    findings = []
    for seed in seeds:
        start = ["+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
        try:
            found = _outcome(chip, compiled, start)
        except RunFailed as error:
            findings.append(Finding("reset", "top", f"seed {seed}: {error}"))
            continue
        different = [name for name, value in zero.items() if found[name] != value]
        if different:
            findings.append(Finding("reset", "top", f"seed {seed}: other {', '.join(different)}"))
    if not findings:
        write_whole(passed, key)
    return findings
