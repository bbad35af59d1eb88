"""Verilator's lint of the emitted Verilog."""

import os
import re
import subprocess

from sim.run.chip import emit_verilog
from sim.verilate import BuildError, find_verilator

from .design import BUILD, TOP, unit_name
from .finding import Finding
from .yosys import ToolError

__all__ = ["lint_preset", "lint_verilog"]

_WARNING = re.compile(r"^%(Warning|Error)(?:-(\w+))?: [^:\n]+:(\d+):\d+: (.*)$", re.M)
_MODULE = re.compile(r"^module \\?(\S+)", re.M)


def lint_preset(name, config):
    """Return the findings in the Verilog that `make verilog` writes for a configuration."""
    path = BUILD / name / f"{TOP}.v"
    emit_verilog(config, path)
    return lint_verilog(path, TOP)


def lint_verilog(path, top):
    """Return the findings of Verilator with all its warnings in a Verilog file.

    Raises
    ------
    ToolError
        If Verilator is missing, or says nothing but fails.
    """
    try:
        simulator = find_verilator()
    except BuildError as error:
        raise ToolError(str(error)) from error
    env = dict(os.environ)
    if simulator.root:
        env["VERILATOR_ROOT"] = simulator.root
    words = [simulator.executable, "--lint-only", "-Wall", "--top-module", top]
    done = subprocess.run([*words, str(path)], env=env, capture_output=True, text=True)
    starts = [
        (number, match[1])
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := _MODULE.match(line))
    ]
    findings = []
    for severity, rule, line, what in _WARNING.findall(done.stderr):
        module = next((name for at, name in reversed(starts) if at <= int(line)), top)
        findings.append(Finding("verilator", unit_name(module), f"{rule or severity}: {what}"))
    if done.returncode and not findings:
        raise ToolError(f"Verilator failed: {done.stderr.strip().splitlines()[-1]}")
    return findings
