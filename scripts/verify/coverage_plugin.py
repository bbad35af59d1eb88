"""A plugin of pytest for `scripts.coverage`: what passed before is left out, and breadth first."""

import functools
import hashlib
from collections import Counter
from pathlib import Path

from scripts.synth.design import ROOT
from sim.coverage import collect

__all__ = [
    "FIRST",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_runtest_logreport",
    "stamp",
]

#: The option of pytest that leaves out all but the first case of every test.
FIRST = "--first-cases"

#: Benches of single units tell by themselves what is there already (`tests.support.runner`).
BY_TEST = ("tests/e2e/", "tests/board/")
#: Tests of many units at once, whose simulators take long to build: last.
LARGE = ("attention_unit", "matmul", "result_path", "scheduler", "tile", "top", "weight_path")
_SUFFIXES = {".py", ".cpp", ".h", ".sv", ".v"}


@functools.cache
def _digest():
    """Return a digest of what such a test runs, as it was when the run began."""
    digest = hashlib.sha256()
    for top in ("hw", "sim", "tests/support", *BY_TEST):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in _SUFFIXES:
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def stamp(nodeid, digest=None):
    """Return the file that says that a test passed with the sources as they are, or None."""
    if collect.folder() is None or not nodeid.startswith(BY_TEST):
        return None
    key = hashlib.sha256(f"{digest or _digest()} {nodeid}".encode()).hexdigest()[:16]
    return collect.folder() / "passed" / f"{Path(nodeid.split('::')[0]).stem}-{key}"


def pytest_addoption(parser):
    """Add `FIRST`."""
    parser.addoption(FIRST, action="store_true", help="only the first case of every test")


def pytest_collection_modifyitems(config, items):
    """Leave out what passed; first the first case of every test, then the second of each."""
    digest = _digest()
    seen, left, done = Counter(), [], []
    for item in items:
        name = f"{item.path}::{item.originalname}"
        path = stamp(item.nodeid, digest)
        if (path and path.exists()) or (seen[name] and config.getoption(FIRST)):
            done.append(item)
        else:
            large = Path(item.path).stem.removeprefix("test_") in LARGE
            left.append((seen[name], large, len(left), item))
        seen[name] += 1
    config.hook.pytest_deselected(items=done)
    items[:] = [item for *_, item in sorted(left, key=lambda entry: entry[:3])]


def pytest_runtest_logreport(report):
    """Note that a test passed."""
    path = stamp(report.nodeid) if report.when == "call" and report.passed else None
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
