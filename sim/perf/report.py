"""What a measurement says: against the roofline, against the cycle model, and where cycles went."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.probe import UNITS
from sim.perf.cycle_model import CycleModel
from sim.perf.operations import count_passes
from sim.perf.timeline import read_units
from sim.perf.workloads import SHAPES

__all__ = ["PARTS", "Row", "predict", "report", "where_cycles_go"]

#: What a cycle is counted as: the first of these whose unit works. Label, bit of `UNITS`.
PARTS = (
    ("rows fed", "feeding"),
    ("weights loaded", "loading"),
    ("waiting for weights", "starved"),
    ("softmax", "softmax"),
    ("norm", "norm"),
    ("embedding, rope", "tables"),
    ("keys, values written", "kv_writer"),
    ("results leave", "drain"),
)
OTHER = "latencies"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Members
    -------
    name : str
        The workload's.
    cycles : int
        Of the chip's counter, the whole run.
    passes : int
    roofline : float
        Cycles below which no such port and array could be.
    bound : str
        ``memory`` or ``array``: which of both that is.
    goal : float
        Share of the roofline aimed at, or None.
    predicted : float
        Cycles of the cycle model.
    moved, macs : int
        Bytes that must move, and multiplications that must be done.
    parts : dict
        Cycles by part, labels of `PARTS` and one more; empty without a units' trace.
    counters : dict
        All of the chip's.
    """

    name: str
    cycles: int
    passes: int
    roofline: float
    bound: str
    goal: float | None
    predicted: float
    moved: int
    macs: int
    parts: dict
    counters: dict

    @property
    def ratio(self):
        """Roofline over cycles: 1 is all that port and array allow."""
        return self.roofline / self.cycles

    @property
    def error(self):
        """The prediction over the cycles, less 1."""
        return self.predicted / self.cycles - 1

    def as_dict(self):
        """Return it for JSON."""
        return dataclasses.asdict(self) | {"ratio": self.ratio, "error": self.error}


def predict(workload, config, dram=None):
    """Return the cycles that the cycle model predicts for a `Workload`."""
    shape, passes = SHAPES[workload.shape], workload.passes(config)
    found = CycleModel(config, dram).run(shape, workload.steps(), passes)
    return sum(one.cycles for one in found)


def report(workload, config, measurement):
    """Return the `Row` of a `Measurement`."""
    passes = workload.passes(config)
    moved, macs = count_passes(SHAPES[workload.shape], config, workload.steps(), passes)
    memory, array = moved / config.port_bytes, macs / (config.rows * config.cols)
    return Row(
        name=workload.name,
        cycles=measurement.counters["cycles"],
        passes=measurement.counters["passes"],
        roofline=max(memory, array),
        bound="memory" if memory > array else "array",
        goal=workload.goal,
        predicted=predict(workload, config),
        moved=moved,
        macs=macs,
        parts=where_cycles_go(*read_units(measurement.units)) if measurement.units else {},
        counters=measurement.counters,
    )


def where_cycles_go(cycles, bits):
    """Return the cycles of each part, by label.

    Parameters
    ----------
    cycles, bits : uint64 arrays
        A units' trace. What holds from its last record on is not counted.
    """
    lasted = np.diff(cycles.astype(np.int64))
    bits, left = bits[:-1], np.ones(len(lasted), dtype=bool)
    parts = {}
    for label, unit in PARTS:
        works = left & (bits >> np.uint64(UNITS.index(unit)) & np.uint64(1)).astype(bool)
        parts[label] = int(lasted[works].sum())
        left &= ~works
    parts[OTHER] = int(lasted[left].sum())
    return parts
