"""What a scenario is: a short run, a window of it, and the signals to look at."""

import ast
import importlib
import inspect
import threading
from dataclasses import dataclass

from scripts.waves.trace import Window

__all__ = ["Captured", "Scenario", "Unit", "captured"]


_CAPTURING = threading.Lock()  # modules are shared by all threads


@dataclass(frozen=True)
class Scenario:
    """Something short that the RTL does.

    Members
    -------
    name : str
        Also of its reference.
    run : Unit or ChipRun
        What runs. Scenarios with the same run share it.
    channels : tuple of Channel
        What is compared; None for all ports of a unit.
    window : Window
        Which cycles.
    clock : str
        Whose rising edges count.
    fast : bool
        Whether it belongs to those that the tests run.
    """

    name: str
    run: object
    channels: tuple | None
    window: Window
    clock: str
    fast: bool = False


@dataclass(frozen=True)
class Unit:
    """One cocotb test of one unit, built as the unit's own test builds it.

    Members
    -------
    module : str
        Of the unit's pytest module, ``tests.hw.test_<module>``.
    test : str
        The cocotb test, with its parameters: ``order_is_kept/i_stall=never/o_stall=never``.
    case : int
        Which of the parameters of the pytest function that calls `run_bench`.
    """

    module: str
    test: str
    case: int = 0


@dataclass(frozen=True)
class Captured:
    """What a pytest function asks `run_bench` for: its arguments."""

    dut: object
    bench: str
    name: str
    params: dict
    sources: tuple
    plusargs: tuple


def _function(module):
    """Return the first test of a module that runs a bench."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            called = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if "run_bench" in called:
                return getattr(module, node.name)
    raise ValueError(f"{module.__name__} runs no bench")


def _arguments(function, case):
    """Return what pytest calls a function with, for one of its first parameters."""
    arguments = {}
    for number, mark in enumerate(reversed(getattr(function, "pytestmark", []))):
        names, values = mark.args[:2]
        value = list(values)[case if number == 0 else 0]
        value = value.values if hasattr(value, "values") and hasattr(value, "marks") else value
        names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        single = len(names) == 1 and isinstance(mark.args[0], str)
        arguments |= dict(zip(names, (value,) if single else value, strict=True))
    return arguments


def captured(unit):
    """Call a unit's pytest function with a `run_bench` that only takes note; return `Captured`."""
    module = importlib.import_module(f"tests.hw.test_{unit.module}")
    function = _function(module)
    calls = []

    def note(dut, bench, *, name=None, params=None, sources=(), plusargs=(), **_):
        name = name or type(dut).__name__.lower()
        calls.append(Captured(dut, bench, name, params or {}, tuple(sources), tuple(plusargs)))

    with _CAPTURING:
        real, module.run_bench = module.run_bench, note
        try:
            function(**_arguments(function, unit.case))
        finally:
            module.run_bench = real
    (call,) = calls
    return call
