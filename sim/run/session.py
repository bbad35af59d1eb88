"""Runs requests in a simulator, in a process of its own, and tells what happens there."""

import dataclasses
import json
import pickle
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sim import verilate
from sim.device.request import check_request, sampling_fields
from sim.golden.sampling import Sampling
from sim.harness import harness
from sim.run.interruption import Attempt, cut_trace

__all__ = ["MemoryTiming", "Request", "Result", "RunFailed", "Session", "without_data"]

POLL_SECONDS = 0.02
TRACE, IMAGE, EVENTS = "trace.bin", "image.bin", "events.jsonl"


class RunFailed(Exception):
    """The simulator ended without having run the requests."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the chip is asked for.

    Parameters
    ----------
    prompt, max_tokens, eos_token
        As for `sim.device.device.Device.submit`.
    arrives : int
        Events that the host has seen when it submits the request; 0: before the start.
    prefix : int
        Tokens of the prompt whose pages are computed before the start, and shared by all requests
        that begin with the same; only whole pages are.
    cancel_after : int
        Tokens after which the host withdraws the request; by default it does not.
    temperature, top_k, seed, report
        As for `sim.device.device.Device.submit`.
    """

    prompt: tuple
    max_tokens: int
    eos_token: int | None = None
    arrives: int = 0
    prefix: int = 0
    cancel_after: int | None = None
    temperature: float = 0.0
    top_k: int | None = None
    seed: int = 0
    report: int = 0

    def sampling(self):
        """Return the options of `Device.submit` that say how tokens are drawn."""
        return {name: getattr(self, name) for name in ("temperature", "top_k", "seed", "report")}

    def golden_options(self, config):
        """Return the options of `run_golden` that make it write what a chip of ``config`` does."""
        fields = sampling_fields(config, **self.sampling())
        report = fields.pop("report_count")
        return {"eos_token": self.eos_token, "sampling": Sampling(**fields), "report": report}


@dataclass
class Result:
    """What became of a request.

    Members
    -------
    number : int
        The chip's name for it: its request_id. They count in the order of submission.
    pages : list of int
        Its page table.
    start_pos : int
        Position of the first row that was computed for it.
    tokens, cycles : list of int
        What it wrote, and when.
    candidates : list
        What it reported with its last token: (token, logit); None if it did not.
    kind : str
        Of its last event; None before that.
    text : str
        Of its error, if it failed.
    """

    number: int
    pages: list
    start_pos: int = 0
    tokens: list = dataclasses.field(default_factory=list)
    cycles: list = dataclasses.field(default_factory=list)
    candidates: list | None = None
    kind: str | None = None
    text: str | None = None


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
    """One run of one request or of several.

    Parameters
    ----------
    chip : Chip
        The simulator.
    compiled : CompiledModel
        For the chip's configuration.
    requests : Request, or sequence of Request
        What to run.
    folder : Path
        Where image, trace, events and log go.
    max_prefill : int
        Rows of a pass over prompts at most; 0 for what the chip has.
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
    interruptions : sequence of sim.run.interruption.Interruption
        Runs of all requests that the host breaks off before this one.

    Attributes
    ----------
    results : list of Result
        Of each request, in the order in which they were given, as far as the run is.
    prefixes, kept : list
        Tokens (tuples) that are kept before the start, and the `Result` of each.
    attempts : list of sim.run.interruption.Attempt
        What was seen of each run that was broken off.

    Raises
    ------
    ValueError
        A request that the chip could not run to its end.
    """

    def __init__(
        self,
        chip,
        compiled,
        requests,
        folder,
        *,
        max_prefill=0,
        timing=None,
        trace=True,
        flip=(),
        plusargs=(),
        max_cycles=1 << 40,
        interruptions=(),
    ):
        self.requests = (requests,) if isinstance(requests, Request) else tuple(requests)
        for request in self.requests:
            check_request(
                request.prompt,
                request.max_tokens,
                vocab=compiled.shape.vocab,
                context=compiled.memory_map.context,
            )
            sampling_fields(compiled.config, **request.sampling())
        self._options = {
            "max_prefill": max_prefill,
            "timing": timing,
            "flip": tuple(flip),
            "max_cycles": max_cycles,
            "interruptions": tuple(interruptions),
        }
        self.chip = chip
        self.compiled = compiled
        page_len = compiled.config.page_len
        whole = [request.prefix // page_len * page_len for request in self.requests]
        begins = [tuple(r.prompt[:n]) for r, n in zip(self.requests, whole, strict=True) if n]
        self.prefixes = list(dict.fromkeys(begins))
        self.kept, self.results, self.attempts = [], [None] * len(self.requests), []
        self._prefix_lens = whole
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trace_path = self.folder / TRACE
        self.memory = compiled.write_image(self.folder / IMAGE)
        for addr in flip:
            self.memory[compiled.memory_map.offset(addr)] ^= 0xFF
        self.timing = timing or MemoryTiming()
        image = harness.image_plusargs(self.folder / IMAGE, compiled.memory_map)
        self._plusargs = [*image, *self.timing.plusargs(), *plusargs]
        if trace:
            self._plusargs.append(f"+trace={self.trace_path}")
        self._max_cycles = max_cycles
        self.cycles_per_second = None  # after a run
        self.log = self.folder / "run.log"

    def again(self, chip, folder, **options):
        """Return another session of the same requests, in another simulator of the same chip."""
        return Session(chip, self.compiled, self.requests, folder, **self._options, **options)

    def events(self):
        """Run, and yield the events of `sim.run.inside` (dicts) as they come.

        Those of requests have the kinds of `hw.spec.requests.EVENT_KINDS`; the last is ``over``.

        Raises
        ------
        RunFailed
            With the end of the log.
        """
        path = self.folder / EVENTS
        path.write_text("")
        compiled = self.folder / "compiled.pkl"
        compiled.write_bytes(pickle.dumps(without_data(self.compiled)))
        requests = [
            dataclasses.asdict(request) | {"prefix": length, "sampling": request.sampling()}
            for request, length in zip(self.requests, self._prefix_lens, strict=True)
        ]
        run = {
            "requests": requests,
            "prefixes": self.prefixes,
            "max_prefill": self._options["max_prefill"],
            "compiled": str(compiled),
            "image": str(self.folder / IMAGE),
            "events": str(path),
            "max_cycles": self._max_cycles,
            "interruptions": [dataclasses.asdict(one) for one in self._options["interruptions"]],
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
                    env={"SERRANO_RUN": json.dumps(run)},
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
                    ended = event if event["kind"] == "over" else None
                    self._note(event)
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
        if self.attempts and self.trace_path.exists():
            cycles = [attempt.cycle for attempt in self.attempts]
            paths = cut_trace(self.trace_path, self.compiled.config, cycles)
            for attempt, path in zip(self.attempts, paths, strict=True):
                attempt.trace_path = path

    def _note(self, event):
        kind = event["kind"]
        if kind == "interrupted":
            self.attempts.append(Attempt(event["cycle"], self.results, self.kept))
            self.kept, self.results = [], [None] * len(self.requests)
        elif kind == "kept":
            self.kept.append(Result(event["request"], event["pages"], kind="end"))
        elif kind == "submitted":
            self.results[event["index"]] = Result(
                event["request"], event["pages"], event["start_pos"]
            )
        elif "request" in event:
            result = next(r for r in self.results if r and r.number == event["request"])
            if kind in ("token", "end"):
                result.tokens.append(event["token"])
                result.cycles.append(event["at"])
            if "candidates" in event:
                result.candidates = [tuple(pair) for pair in event["candidates"]]
            if kind != "token":
                result.kind, result.text = kind, event.get("text")

    def _log_tail(self):
        return self.log.read_text(errors="replace").splitlines()[-8:]
