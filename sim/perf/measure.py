"""Runs workloads on the simulated chip and reads its counters."""

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

from sim import verilate
from sim.compiler.host_image import HostImage
from sim.harness import harness
from sim.perf.workloads import build, fill_cache
from sim.run.session import RunFailed, without_data

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What the chip did. Nothing is compared with the golden model: only time is looked at.

    Members
    -------
    counters : dict
        Of the chip, over the whole run.
    token_cycles : list of int
        Cycle in which each token was written, from the start.
    tokens : list of int
        The tokens.
    units : Path
        The units' trace, or None.
    names : tuple of str
        Operators by their op_id.
    seconds : float
        Wall time of the simulation.
    """

    counters: dict
    token_cycles: list
    tokens: list
    units: Path | None
    names: tuple
    seconds: float


def measure(workload, chip, folder, *, units=False, options=None):
    """Run a `Workload` on a `Chip`; return its `Measurement`.

    Parameters
    ----------
    workload : Workload
    chip : Chip
    folder : Path
        For the image, the log and the trace.
    units : bool
        Whether the units' trace is written.
    options : dict
        Of the memory, as `sim/harness/axi_dram.cpp` documents them.

    Raises
    ------
    RunFailed
        With the end of the log.
    """
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    compiled = build(workload, chip.config)
    image, trace, result = (folder / name for name in ("image.bin", "units.bin", "result.json"))
    host = HostImage(compiled, compiled.write_image(image))
    fill_cache(host)
    host.memory.flush()
    (folder / "compiled.pkl").write_bytes(pickle.dumps(without_data(compiled)))
    result.unlink(missing_ok=True)
    job = {
        "compiled": str(folder / "compiled.pkl"),
        "image": str(image),
        "result": str(result),
        "prompt": [(7 * index + 3) % compiled.shape.vocab for index in range(workload.prompt)],
        "tokens": workload.tokens,
        "start": workload.start,
        "sequences": workload.sequences,
        "pages": workload.pages(chip.config),
    }
    plusargs = [
        *harness.image_plusargs(image, compiled.memory_map),
        *(f"+{name}={value}" for name, value in (options or {}).items()),
    ]
    if units:
        plusargs.append(f"+units={trace}")
    done = verilate.run(
        chip.executable,
        "sim.perf.inside",
        top=harness.TOP,
        run_dir=folder,
        plusargs=plusargs,
        env={"SERRANO_PERF": json.dumps(job)},
    )
    image.unlink()
    if not done.ok or not result.exists():
        lines = [*done.messages.values()] or done.log.read_text(errors="replace").splitlines()[-8:]
        raise RunFailed(f"the simulation failed, see {done.log}: " + " ".join(lines))
    found = json.loads(result.read_text())
    return Measurement(
        counters=found["counters"],
        token_cycles=found["token_cycles"],
        tokens=found["tokens"],
        units=trace if units else None,
        names=compiled.names,
        seconds=done.seconds,
    )
