"""The units that mutation testing knows, and how their own tests run them."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from amaranth.hdl import Fragment

from .mutate_netlist import TOP

__all__ = ["LEFT_OUT", "UNITS", "Job", "capture", "chosen", "inner"]

#: Name of a unit, that of its file in ``tests/hw``, to which row of the parameters of its test is
#: mutated: the smallest that has everything the others have.
UNITS = {
    "accumulator": 1,
    "activation": 0,
    "activation_memory": 0,
    "block_quantiser": 0,
    "credit_queue": 1,
    "drain": 0,
    "embedding": 0,
    "gearbox": 0,
    "glu": 0,
    "head_norm": 0,
    "inverse_root": 0,
    "matmul": 0,
    "norm_operator": 0,
    "qkv_projection": 0,
    "queue": 1,
    "random_threshold": 0,
    "reciprocal": 0,
    "requantiser": 1,
    "residual": 0,
    "result_merge": 4,
    "result_path": 0,
    "rmsnorm": 0,
    "rope": 0,
    "row_feeder": 0,
    "sampler": 0,
    "scores": 0,
    "slice": 0,
    "softmax": 0,
    "systolic_array": 0,
    "table_reader": 0,
    "token_choice": 0,
    "top_candidates": 0,
    "value_exponents": 0,
    "visible_span": 0,
    "weight_streamer": 1,
}

_PART = "part of a unit that is mutated"
_CONTROL = "control: proved where docs/formal.md says so, and run with random requests in the soak"
_BOARD = "around the chip: the SDRAM model and the simulated board judge it"
_CELL = "a cell of the FPGA: its twin is proved, or simulated exhaustively"
#: The other modules, and why no mutants of them are made.
LEFT_OUT = {
    "processing_element": _PART, "weight_loader": _PART,
    **dict.fromkeys(
        ("admission", "attention", "attention_order", "burst_cutter", "core", "counter_bank", "csr",
         "event_writer", "fetcher", "fork", "kv_reader", "kv_writer", "memory_controller",
         "memory_reader", "memory_writer", "page_owners", "page_table", "parity_guard",
         "parity_memory", "pass_planner", "pass_rows", "program_fetch", "record_writer",
         "row_tables", "run_control", "scheduler", "sequencer", "tile", "top"), _CONTROL,
    ),
    **dict.fromkeys(
        ("board_top", "bridge", "bridge_check", "bridge_history", "bridge_memory", "bridge_ping",
         "bridge_receiver", "bridge_registers", "bridge_transmitter", "fpga_top", "memory_share",
         "sdram_columns", "sdram_commands", "sdram_controller", "sdram_cutter", "sdram_data",
         "sdram_reads", "sdram_refresh", "sdram_rows", "sdram_writes", "uart", "uart_receiver",
         "uart_transmitter"), _BOARD,
    ),
    "global_buffer": _CELL, "mult18x18d": _CELL, "pll": _CELL,
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """What a test gives to `run_bench`.

    Members
    -------
    dut : wiring.Component
        The component.
    bench : str
        Module with the cocotb tests.
    params : dict
        What the bench gets.
    """

    dut: object
    bench: str
    params: dict = field(default_factory=dict)


class _Captured(Exception):
    """The test has come to its bench."""


def chosen(text):
    """Return the units that an option names, separated by commas or spaces; all if it is None.

    Raises
    ------
    ValueError
        A unit that is not in the table, or none.
    """
    if text is None:
        return list(UNITS)
    names = list(dict.fromkeys(text.replace(",", " ").split()))
    unknown = [name for name in names if name not in UNITS]
    if unknown or not names:
        what = repr(unknown[0]) if unknown else "nothing"
        raise ValueError(f"module must be one of {', '.join(UNITS)}, not {what}")
    return names


def capture(name):
    """Return the `Job` of a unit: its test is called until it would run its bench."""
    module = importlib.import_module(f"tests.hw.test_{name}")
    found = []

    def recorder(dut, bench, *, params=None, sources=(), **_):
        if sources:
            raise ValueError(f"the test of {name} needs {Path(sources[0]).name} beside its Verilog")
        found.append(Job(dut, bench, params or {}))
        raise _Captured

    test = next(
        value
        for key, value in vars(module).items()
        if key.startswith("test_") and "run_bench" in value.__code__.co_names
    )
    arguments = _arguments(test, UNITS[name])
    original, module.run_bench = module.run_bench, recorder
    try:
        test(**arguments)
    except _Captured:
        pass
    finally:
        module.run_bench = original
    return found[0]


def inner(name, dut):
    """Return where other units of `UNITS` are in a unit's component: ``matmul.feeder``.

    What is in these is measured with their own tests. A test may also hold units beside its own;
    the logic that joins them, `TOP`, is nobody's.
    """
    found = set()

    def kinds(fragment):
        return {type(origin).__module__.rpartition(".")[2] for origin in fragment.origins or ()}

    def walk(fragment, place):
        for part, called, _ in fragment.subfragments:
            at = (*place, str(called))
            if kinds(part) & UNITS.keys() - {name}:
                found.add(".".join(at))
            elif name in kinds(part):
                found.add(TOP)
            walk(part, at)

    whole = Fragment.get(dut, None)
    walk(whole, ())
    return found - {TOP} if name in kinds(whole) else found


def _arguments(test, row):
    """Return the keyword arguments of a row of what a test is parametrised with."""
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    if not marks:
        return {}
    names, rows = marks[0].args[:2]
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",")]
    values = list(rows)[row]
    values = getattr(values, "values", values)
    if callable(values):  # of a dictionary, which is one value
        values = list(rows)[row]
    return dict(zip(names, values if len(names) > 1 else [_only(values)], strict=True))


def _only(value):
    return value[0] if type(value).__name__ == "ParameterSet" else value
