"""Records the ports of the whole chip while it writes tokens that golden says it must."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts.synth.design import TOP, sources_digest, write_whole
from scripts.verify.second.ports import ports_of, recorder
from sim import verilate
from sim.compiler.compile import compile_model
from sim.golden.random_model import random_model, small_shape
from sim.harness import harness
from sim.run.check import check_run
from sim.run.chip import Chip, emit_verilog, probe_widths, units_width
from sim.run.golden_run import run_golden
from sim.run.session import Request, Session

__all__ = ["Recorder", "Recording"]

SEED = 5
MAX_CYCLES = 2_000_000
_INNER = f"{TOP}_recorded"


@dataclass(frozen=True)
class Recording:
    """A run at the ports of the chip.

    Members
    -------
    path : Path
        The file (`scripts.verify.second.ports` tells its format).
    tokens : list of int
        What it wrote: what the golden model says.
    """

    path: Path
    tokens: list


class Recorder:
    """A simulator of a chip that records its ports.

    Parameters
    ----------
    config : ArchConfig
        The chip.
    folder : Path
        For everything that is made.

    Members
    -------
    source : str
        Verilog of the chip as it is built: without probes.
    ports : Ports
        Its ports.
    """

    def __init__(self, config, folder):
        self.config, self.folder = config, Path(folder)
        plain, traced = self.folder / "plain.v", self.folder / "traced.v"
        emit_verilog(config, plain)
        emit_verilog(config, traced, trace=True)
        self.source = plain.read_text()
        self.ports = ports_of(self.source, TOP)
        self._traced = traced.read_text()
        self._chip = None

    def _build(self):
        every = ports_of(self._traced, TOP)
        text = self._traced.replace(f"module {TOP}(", f"module {_INNER}(", 1)
        inner, outer = self.folder / f"{_INNER}.v", self.folder / f"{TOP}.sv"
        for path, content in (
            (inner, text),
            (outer, recorder(every, self.ports, TOP, _INNER)),
        ):
            if not path.exists() or path.read_text() != content:
                write_whole(path, content)
        sources = harness.write(
            self.folder,
            tiles=self.config.tiles,
            data_bytes=self.config.port_bytes,
            probes=probe_widths(self.config),
            units_width=units_width(self.config),
        )
        program = verilate.build(
            [*sources, inner, outer],
            harness.TOP,
            self.folder / "simulator",
            fast=False,
            public=harness.PUBLIC,
            readable=harness.READABLE,
        )
        return Chip(self.config, self.folder, program)

    def record(self, prompt_len, count):
        """Run a small model; return the `Recording`, made now or before.

        Parameters
        ----------
        prompt_len, count : int
            Tokens of the prompt, and to write.

        Raises
        ------
        sim.verilate.BuildError
            There is no simulator.
        ValueError
            The chip did not do what golden says: there is nothing to give a second opinion on.
        """
        path = self.folder / f"{prompt_len}-{count}.ports"
        key_path = path.with_suffix(".key")
        code = "".join(p.read_text() for p in sorted(Path(__file__).parent.glob("*.py")))
        key = hashlib.sha256(repr((sources_digest(), code, self.config)).encode()).hexdigest()
        model = random_model(small_shape(vocab=64, layers=1), SEED)
        prompt = tuple((7 * i + 3) % model.shape.vocab for i in range(prompt_len))
        golden = run_golden(model, prompt, count)
        if path.exists() and key_path.exists() and key_path.read_text() == key:
            return Recording(path, golden.tokens)
        key_path.unlink(missing_ok=True)
        self._chip = self._chip or self._build()
        with tempfile.TemporaryDirectory(prefix="serrano-") as folder:
            session = Session(
                self._chip,
                compile_model(model, self.config),
                Request(prompt=prompt, max_tokens=count),
                folder,
                plusargs=[f"+ports={path.resolve()}"],
                max_cycles=MAX_CYCLES,
            )
            for event in session.events():
                last = event
            total = check_run(session, golden).total
        if last["error"] or total.mismatches:
            raise ValueError(f"the recorded run is wrong: {last['error'] or total.first}")
        write_whole(key_path, key)
        return Recording(path, golden.tokens)
