"""Prove that a mutant changes nothing: no output, and nothing held that decides one."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from scripts.synth.design import write_whole
from scripts.synth.yosys import ToolError, run_yosys

from . import mutate_live
from .mutate_live import held_for_outputs, is_state
from .mutate_netlist import TOP

__all__ = ["cone", "proved"]

#: Seconds that the solver may think about a mutant; without an answer it counts as not proved.
TIMEOUT_S = 20

#: Answers of another method do not count.
_METHOD = hashlib.sha256(
    b"".join(Path(name).read_bytes() for name in (__file__, mutate_live.__file__))
).hexdigest()[:8]

#: Bits from here on are in no netlist.
_FREE = 1 << 28


def proved(mutation, folder):
    """Return whether a mutant of the netlist in a folder cannot be told from the unit.

    The answer is kept in the folder.
    """
    path = folder / f"proofs-{_METHOD}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    key = str(mutation.number)
    if key not in known:
        netlist = json.loads((folder / "plain.json").read_text())["modules"][TOP]
        cell = netlist["cells"][mutation.cell]
        if cell["type"] == "$dff":
            cell.update(_wire_of(cell))
            mutation = replace(mutation, port={"D": "A", "Q": "Y"}[mutation.port])
        known[key] = not is_state(cell) and _solved(cone(netlist, mutation.cell), mutation, folder)
        write_whole(path, json.dumps(known))
    return known[key]


def _wire_of(register):
    """Return a cell that passes anything on: what a register that always takes its input does."""
    q = register["connections"]["Q"]
    width = f"{len(q):032b}"
    return {
        "type": "$pos",
        "parameters": {"A_SIGNED": "0".zfill(32), "A_WIDTH": width, "Y_WIDTH": width},
        "port_directions": {"A": "input", "Y": "output"},
        "connections": {"A": list(range(_FREE, _FREE + len(q))), "Y": q},
    }


def _bits(cell, *, outputs):
    ways = cell["port_directions"]
    return [
        bit
        for port, bits in cell["connections"].items()
        if (ways[port] == "output") == outputs
        for bit in bits
        if isinstance(bit, int)
    ]


def cone(netlist, name):
    """Return the part of a netlist, without state, that a cell decides and all that decides it.

    What registers and memories hold is an input of it; what they are given, an output, if it can
    ever reach one of the unit's. With the cell's own name and ports unchanged, mutations of it
    apply.
    """
    cells = netlist["cells"]
    readers, driver = {}, {}
    for key, cell in cells.items():
        for bit in _bits(cell, outputs=False):
            readers.setdefault(bit, set()).add(key)
        if not is_state(cell):
            driver.update(dict.fromkeys(_bits(cell, outputs=True), key))
    ends = {
        bit
        for port in netlist["ports"].values()
        if port["direction"] == "output"
        for bit in port["bits"]
    }
    ends |= held_for_outputs(netlist)
    # Forward to what is seen, then back to all that decides it.
    forward, todo = {name}, [name]
    while todo:
        for bit in _bits(cells[todo.pop()], outputs=True):
            for key in readers.get(bit, ()):
                if key not in forward and not is_state(cells[key]):
                    forward.add(key)
                    todo.append(key)
    kept, todo = set(forward), list(forward)
    while todo:
        for bit in _bits(cells[todo.pop()], outputs=False):
            key = driver.get(bit)
            if key is not None and key not in kept:
                kept.add(key)
                todo.append(key)
    driven = {bit for key in kept for bit in _bits(cells[key], outputs=True)}
    reached = {bit for key in forward for bit in _bits(cells[key], outputs=True)}
    used = {bit for key in kept for bit in _bits(cells[key], outputs=False)}
    return {
        "attributes": {},
        "ports": {
            "free": {"direction": "input", "bits": sorted(used - driven)},
            "seen": {"direction": "output", "bits": sorted(reached & ends)},
        },
        "cells": {key: cells[key] for key in sorted(kept)},
        "netnames": {},
    }


def _solved(part, mutation, folder):
    if not part["ports"]["seen"]["bits"]:
        return True
    if not part["ports"]["free"]["bits"]:
        del part["ports"]["free"]
    write_whole(folder / "cone.json", json.dumps({"modules": {TOP: part}}))
    script = [
        "read_json cone.json", f"rename {TOP} plain", f"copy plain {TOP}", mutation.command(),
        f"miter -equiv -flatten plain {TOP} miter", "hierarchy -top miter",
        # The two are the same before the mutation: what is merged needs no solver.
        "opt_expr", "opt_merge", "opt_expr", "opt_merge", "opt_clean",
        f"sat -verify -timeout {TIMEOUT_S} -prove trigger 0 miter",
    ]  # fmt: skip
    try:
        text = run_yosys(script, folder, log="proof.log")
    except ToolError:
        text = (folder / "proof.log").read_text()
        # A difference, or no time left; anything else is a failure of ours.
        if "model found: FAIL" in text or "Interrupted SAT solver" in text:
            return False
        raise
    return "no model found: SUCCESS" in text
