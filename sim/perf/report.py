"""What a measurement says: against the roofline, against the cycle model, and where cycles went."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.probe import TILE_UNITS
from hw.spec import csr
from sim.perf.cycle_model import CycleModel
from sim.perf.operations import count_passes
from sim.perf.timeline import read_units, works_of
from sim.perf.workloads import SHAPES

__all__ = [
    "PARTS",
    "Row",
    "cycles_by_operator",
    "operator_kinds",
    "predict",
    "report",
    "unit_states",
    "where_cycles_go",
]

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
        Cycles below which no such ports and arrays could be.
    bound : str
        ``memory`` or ``array``: which of both that is.
    goal : float
        Share of the roofline aimed at, or None.
    predicted : float
        Cycles of the cycle model.
    moved, macs : int
        Bytes that must move on memory channel 0, and multiplications that must be done.
    parts : dict
        Cycles by part, labels of `PARTS` and one more; empty without a units' trace.
    counters : dict
        All of the chip's.
    spent : dict
        Cycles by what they were spent on: `cycles_by_operator`.
    kinds : dict
        Figures of each kind of operators: `operator_kinds`.
    units : dict
        Shares of busy, starved and stalled cycles by unit: `unit_states`.
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
    spent: dict
    kinds: dict
    units: dict

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
    memory = moved / config.port_bytes
    array = macs / (config.tiles * config.rows * config.cols)
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
        parts=_parts(measurement.units, config.tiles),
        counters=measurement.counters,
        spent=cycles_by_operator(measurement.counters),
        kinds=operator_kinds(measurement.counters, config),
        units=unit_states(measurement.counters, config),
    )


def cycles_by_operator(counters):
    """Return cycles by kind of operator, of choice and scheduler, and of none: all the cycles."""
    spent = {kind: counters[f"op_{kind}_cycles"] for kind in csr.OPERATOR_KINDS}
    spent |= {unit: counters[f"{unit}_busy"] for unit in ("choice", "scheduler")}
    return spent | {"between": counters["cycles"] - sum(spent.values())}


def operator_kinds(counters, config):
    """Return a dict by kind: ``cycles``, ``share`` of the run, ``bytes`` streamed, ``macs``.

    Bytes are those of all channels. MACs are rows fed times the array: of P.V both planes, and of
    attention whole blocks of positions.
    """
    kinds = {}
    for kind in csr.OPERATOR_KINDS:
        cycles = counters[f"op_{kind}_cycles"]
        rows = counters[f"op_{kind}_rows"] if kind in csr.ARRAY_KINDS else 0
        kinds[kind] = {
            "cycles": cycles,
            "share": cycles / counters["cycles"],
            "bytes": counters[f"op_{kind}_words"] * config.cols,
            "macs": rows * config.rows * config.cols,
        }
    return kinds


def unit_states(counters, config):
    """Return a dict by unit: the share of the cycles in each of its `hw.spec.csr.UNIT_STATES`.

    Of units that every tile has it is the mean of all.
    """
    units = {}
    for unit, states in csr.UNIT_STATES.items():
        cycles = counters["cycles"] * (config.tiles if unit in csr.TILE_UNITS else 1)
        units[unit] = {state: counters[f"{unit}_{state}"] / cycles for state in states}
    return units


def _parts(units, tiles):
    return where_cycles_go(*read_units(units), tiles) if units else {}


def where_cycles_go(cycles, bits, tiles=1):
    """Return the cycles of each part, by label; of several tiles the mean.

    Parameters
    ----------
    cycles, bits : uint64 arrays
        A units' trace. What holds from its last record on is not counted.
    tiles : int
        Tiles of the chip.
    """
    lasted = np.diff(cycles.astype(np.int64))
    parts = dict.fromkeys([label for label, _ in PARTS] + [OTHER], 0.0)
    for tile in range(tiles):
        left = np.ones(len(lasted), dtype=bool)
        for label, unit in PARTS:
            works = left & works_of(bits[:-1], unit, tile if unit in TILE_UNITS else 0)
            parts[label] += lasted[works].sum() / tiles
            left &= ~works
        parts[OTHER] += lasted[left].sum() / tiles
    return parts
