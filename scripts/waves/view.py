"""Views of a scenario's signals for GTKWave and Surfer, and the way to open one."""

import shutil
import subprocess

__all__ = ["NoViewer", "find_viewer", "open_view", "write_views"]


class NoViewer(ValueError):
    """Neither viewer is installed."""


def _gtkwave(waveform, scenario, channels, widths):
    lines = [
        "[*] Serrano, made by `make wave`",
        f'[dumpfile] "{waveform.resolve()}"',
        "[timestart] 0",
        "[size] 1600 900",
        "[signals_width] 260",
        "@28",
        _with_range(scenario.clock, widths),
    ]
    for channel in channels:
        lines += ["@200", f"-{channel.name}"]
        for signal in channel.signals():
            # A trace's flags: 28 is binary, 22 hexadecimal, both aligned right.
            lines += ["@28" if widths.get(signal, 1) == 1 else "@22", _with_range(signal, widths)]
    return "\n".join(lines) + "\n"


def _with_range(signal, widths):
    width = widths.get(signal, 1)
    return signal if width == 1 else f"{signal}[{width - 1}:0]"


def _surfer(scenario, channels):
    lines = [f"variable_add {scenario.clock}"]
    for channel in channels:
        lines += [f"divider_add {channel.name}", *(f"variable_add {s}" for s in channel.signals())]
    return "\n".join([*lines, "zoom_fit"]) + "\n"


def write_views(folder, waveform, scenario, channels, widths):
    """Write ``view.gtkw`` and ``view.sucl`` into a folder; return both paths.

    Parameters
    ----------
    folder : Path
        The scenario's own: others may share the waveform.
    waveform : Path
    scenario : Scenario
    channels : sequence of Channel
        What to show, in this order.
    widths : dict
        Bits of each signal of the waveform.
    """
    gtkw, sucl = (folder / f"view.{suffix}" for suffix in ("gtkw", "sucl"))
    gtkw.write_text(_gtkwave(waveform, scenario, channels, widths))
    sucl.write_text(_surfer(scenario, channels))
    return gtkw, sucl


def find_viewer():
    """Return (name, path) of GTKWave or Surfer.

    Raises
    ------
    NoViewer
        Neither is on the PATH.
    """
    for name in ("gtkwave", "surfer"):
        path = shutil.which(name)
        if path:
            return name, path
    raise NoViewer(
        "neither gtkwave nor surfer is on the PATH: install one of them "
        "(Debian: apt install gtkwave; Surfer: https://surfer-project.org)"
    )


def open_view(viewer, waveform, views):
    """Open a waveform with its view and wait until the viewer is closed; return its status."""
    name, path = viewer
    gtkw, sucl = views
    if name == "gtkwave":
        command = [path, str(waveform), str(gtkw)]
    else:
        command = [path, "--command-file", str(sucl), str(waveform)]
    return subprocess.run(command).returncode
