"""Verilator's lint of the emitted Verilog."""

import contextlib
import importlib.metadata
import re
import subprocess

from sim.verilate import BuildError, find_verilator

from .design import unit_name
from .finding import Finding
from .yosys import ToolError

__all__ = ["lint_verilog", "verilator_version"]

_WARNING = re.compile(r"^%(Warning|Error)(?:-(\w+))?: [^:\n]+:(\d+):\d+: (.*)$", re.M)
_MODULE = re.compile(r"^module \\?([^\s(]+)", re.M)
_DECLARED = re.compile(r"^  (input|output|reg|wire) (?:signed )?(?:\[[^]]*\] )?(\S+?) ?(?:;|=| \[)")
_NAME = re.compile(r"'(\S+?)'(?:\[\S*\])?$")
_BOX = re.compile(r"^\(\* blackbox.*\n(?:\(\*.*\n)*module \\?([^\s(]+)", re.M)


def _verilator():
    """Return how Verilator is called, and its environment."""
    try:
        simulator = find_verilator()
    except BuildError as error:
        raise ToolError(str(error)) from error
    return [simulator.executable], simulator.env


def verilator_version():
    """Return Verilator's name and version; BuildError if it is missing."""
    simulator = find_verilator()
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return f"verilator {importlib.metadata.version('verilator')}"
    words = [simulator.executable, "--version"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


def lint_verilog(path, top):
    """Return the findings of Verilator with all its warnings in a Verilog file.

    There are none of black boxes. What is unused is told with its kind: ``input``, ``output``,
    ``reg`` or ``wire``.

    Raises
    ------
    ToolError
        If Verilator is missing, or says nothing but fails.
    """
    words, env = _verilator()
    # Its top is not named, for it may have a dot, which Verilator does not find: a second one would
    # be a finding.
    words = [*words, "--lint-only", "-Wall", str(path)]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    text = path.read_text()
    boxes = set(_BOX.findall(text))
    places = _places(text)
    findings = []
    for severity, rule, line, what in _WARNING.findall(done.stderr):
        module, kinds = places[int(line)]
        if module in boxes:
            continue
        name = _NAME.search(what)
        kind = kinds.get(name[1]) if name and rule.startswith("UNUSED") else None
        words = f"{rule or severity}: {f'{kind}: ' if kind else ''}{what}"
        findings.append(Finding("verilator", unit_name(module or top), words))
    if done.returncode and not _WARNING.search(done.stderr):
        raise ToolError(f"Verilator failed: {done.stderr.strip().splitlines()[-1]}")
    return findings


def _places(text):
    """Return line to the module around it, and name to kind of what that declares."""
    places, module, kinds = {}, "", {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _MODULE.match(line):
            module, kinds = found[1], {}
        elif found := _DECLARED.match(line):
            # A port comes before the wire or register of its name.
            kinds.setdefault(found[2].lstrip("\\"), found[1])
        places[number] = module, kinds
    return places
