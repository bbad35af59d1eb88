"""Runs one request in a simulator, in a process of its own, and tells what happens there."""

import dataclasses
import json
import pickle
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sim import verilate
from sim.device.device import check_request
from sim.harness import harness

__all__ = ["MemoryTiming", "Request", "RunFailed", "Session", "without_data"]

POLL_SECONDS = 0.02
TRACE, IMAGE, EVENTS = "trace.bin", "image.bin", "events.jsonl"


class RunFailed(Exception):
    """The simulator ended without having run the request."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the chip is asked for; as in `sim.device.device.Device.start`."""

    prompt: tuple
    max_tokens: int
    eos_token: int | None = None
    max_prefill: int = 0


@dataclass(frozen=True)
class MemoryTiming:
    """Options of the simulated memory, as `sim/harness/axi_dram.cpp` documents them."""

    options: dict = dataclasses.field(default_factory=dict)

    def plusargs(self):
        """Return them for the simulator's command line."""
        return [f"+{name}={value}" for name, value in self.options.items()]


def without_data(compiled):
    """Return a `CompiledModel` that knows everything but its weights."""
    steps = tuple(dataclasses.replace(step, stream=None) for step in compiled.steps)
    return dataclasses.replace(compiled, steps=steps)


class Session:
    """One run of one request.

    Parameters
    ----------
    chip : Chip
        The simulator.
    compiled : CompiledModel
        For the chip's configuration.
    request : Request
        What to run.
    folder : Path
        Where image, trace, events and log go.
    timing : MemoryTiming
        Of the memory.
    trace : bool
        Whether the probes write.
    flip : iterable of int
        Addresses of bytes of the image to invert before the run.
    plusargs : iterable of str
        More options of the simulation.
    max_cycles : int
        Clock cycles after which the run is given up.

    Raises
    ------
    ValueError
        A request that the chip could not run to its end.
    """

    def __init__(
        self,
        chip,
        compiled,
        request,
        folder,
        *,
        timing=None,
        trace=True,
        flip=(),
        plusargs=(),
        max_cycles=1 << 40,
    ):
        check_request(
            request.prompt,
            request.max_tokens,
            vocab=compiled.shape.vocab,
            context=compiled.memory_map.context,
        )
        self._options = {"timing": timing, "flip": tuple(flip), "max_cycles": max_cycles}
        self.chip = chip
        self.compiled = compiled
        self.request = request
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trace_path = self.folder / TRACE
        self.memory = compiled.write_image(self.folder / IMAGE)
        for addr in flip:
            self.memory[compiled.memory_map.offset(addr)] ^= 0xFF
        timing = timing or MemoryTiming()
        self._plusargs = [f"+image0={self.folder / IMAGE}", *timing.plusargs(), *plusargs]
        if trace:
            self._plusargs.append(f"+trace={self.trace_path}")
        self._max_cycles = max_cycles
        self.cycles_per_second = None  # after a run
        self.log = self.folder / "run.log"

    def again(self, chip, folder, **options):
        """Return another session of the same request, in another simulator of the same chip."""
        return Session(chip, self.compiled, self.request, folder, **self._options, **options)

    def events(self):
        """Run, and yield the events of `sim.run.inside` (dicts) as they come.

        Raises
        ------
        RunFailed
            With the end of the log.
        """
        path = self.folder / EVENTS
        path.write_text("")
        compiled = self.folder / "compiled.pkl"
        compiled.write_bytes(pickle.dumps(without_data(self.compiled)))
        request = dataclasses.asdict(self.request) | {
            "compiled": str(compiled),
            "image": str(self.folder / IMAGE),
            "events": str(path),
            "max_cycles": self._max_cycles,
        }
        outcome = {}

        def work():
            try:
                outcome["result"] = verilate.run(
                    self.chip.executable,
                    "sim.run.inside",
                    top=harness.TOP,
                    run_dir=self.folder,
                    plusargs=self._plusargs,
                    env={"SERRANO_REQUEST": json.dumps(request)},
                )
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        started = ended = None
        with path.open() as file:
            rest = ""
            while True:
                alive = thread.is_alive()
                rest += file.read()
                *lines, rest = rest.split("\n")
                for line in lines:
                    event = json.loads(line)
                    started = started or event
                    ended = event if event["kind"] == "end" else None
                    yield event
                if not alive:
                    break
                time.sleep(POLL_SECONDS)
        if "error" in outcome:
            raise outcome["error"]
        result = outcome["result"]
        if ended is None:
            reasons = [*result.messages.values()] or self._log_tail()
            raise RunFailed(f"the simulation failed, see {self.log}: " + " ".join(reasons))
        seconds = ended["time"] - started["time"]
        self.cycles_per_second = (ended["cycle"] - started["cycle"]) / max(seconds, 1e-6)

    def _log_tail(self):
        return self.log.read_text(errors="replace").splitlines()[-8:]
