"""Runs one cocotb test of a unit with a waveform."""

import hashlib
import json
import re

from amaranth.back import verilog

from hw.lib.collision import Spoiled
from scripts.waves.scenario import captured
from scripts.waves.simulate import simulate
from scripts.waves.trace import level, stream
from sim import verilate
from tests.support.runner import BUILD, ports

__all__ = ["CLOCK", "RESET", "port_channels", "run_unit"]

TOP = "dut"
CLOCK, RESET = f"{TOP}.clk", f"{TOP}.rst"
TIMEOUT_SECONDS = 300


def port_channels(names):
    """Return the channels of a unit's ports: its streams, and what is none of them."""
    names = [name for name in names if name not in ("clk", "rst")]
    channels, used = [], set()
    for name in names:
        if not name.endswith("__valid"):
            continue
        prefix = name.removesuffix("__valid")
        fields = [one for one in ("payload",) if f"{prefix}__{one}" in names]
        ready = f"{prefix}__ready" in names
        channels.append(stream(f"{TOP}.{prefix}", fields, ready=ready))
        used |= {name, f"{prefix}__ready", *(f"{prefix}__{one}" for one in fields)}
    return (*channels, *(level(f"{TOP}.{name}") for name in names if name not in used))


def run_unit(unit, folder, suffix, *, full=True):
    """Run a `Unit`; return (waveform, default channels, lines that say what failed).

    Parameters
    ----------
    unit : Unit
    folder : Path
        Where waveform and log go.
    suffix : str
        Kind of waveform: fst or vcd.
    full : bool
        Ignored: a unit's waveform is always whole.
    """
    call = captured(unit)
    text = verilog.convert(Spoiled(call.dut), name=TOP, strip_internal_attrs=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    source = BUILD / f"{call.name}-{digest}" / "dut.v"
    source.parent.mkdir(parents=True, exist_ok=True)
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    inputs, outputs = ports(text, "input"), ports(text, "output")
    executable = verilate.build(
        [source, *call.sources],
        TOP,
        source.parent / suffix,
        fast=False,
        trace="fst" if suffix == "fst" else True,
        public=inputs,
        readable=outputs,
    )
    folder.mkdir(parents=True, exist_ok=True)
    waveform = folder / f"wave.{suffix}"
    waveform.unlink(missing_ok=True)
    problems = simulate(
        executable,
        call.bench,
        tests=re.escape(unit.test),
        timeout=TIMEOUT_SECONDS,
        run_dir=folder,
        top=TOP,
        plusargs=call.plusargs,
        env={"SERRANO_PARAMS": json.dumps(call.params), "SERRANO_INPUTS": json.dumps(inputs)},
        waveform=waveform,
    )
    return waveform, port_channels([*inputs, *outputs]), problems
