"""Who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The longest prefix wins. Each file may import the standard library and what its line names.
ALLOWED = {
    "hw/spec": {"hw.spec"},
    "hw": {"hw", "amaranth"},
    "hw/board/platforms": {"hw", "amaranth", "amaranth_boards"},
    "sim/golden": {"sim.golden", "hw.spec", "numpy"},
    "sim/compiler": {
        "sim.compiler",
        "sim.golden",
        "hw.spec",
        "numpy",
        "gguf",
        "jinja2",
        "safetensors",
        "tokenizers",
    },
    "sim/device": {"sim", "hw.spec", "numpy", "cocotb", "serial"},
    "sim": {"sim", "hw", "amaranth", "numpy", "rich", "cocotb", "cocotb_tools", "find_libpython"},
}

FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for top in ("hw", "sim")
    for path in (ROOT / top).rglob("*.py")
)


def allowed_for(path):
    return ALLOWED[max((p for p in ALLOWED if path.startswith(f"{p}/")), key=len)]


def imports(source, path):
    """Yield the full name of everything that a file imports, wherever it does so."""
    package = Path(path).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            # `from hw import spec` imports hw.spec
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


def breaches(source, path):
    names = allowed_for(path)
    return [
        name
        for name in imports(source, path)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not any(is_within(name, package) for package in names)
    ]


def test_there_are_files():
    assert FILES


@pytest.mark.parametrize("path", FILES)
def test_imports_only_what_its_layer_allows(path):
    assert breaches((ROOT / path).read_text(), path) == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("sim/golden/matmul.py", "import amaranth"),
        ("sim/golden/matmul.py", "from hw import systolic_array"),
        ("sim/golden/matmul.py", "from sim.compiler import image"),
        ("sim/compiler/image.py", "from hw.top import Top"),
        ("hw/spec/config.py", "import numpy as np"),
        ("hw/spec/config.py", "from ..core import Core"),
        ("hw/core.py", "def f():\n    from sim import golden"),
        ("hw/lib/queue.py", "import tests.support"),
        ("sim/run.py", "import scripts.sim"),
    ],
)
def test_breach_is_seen(path, line):
    assert breaches(line, path)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("sim/golden/matmul.py", "from hw.spec import config\nimport numpy.typing"),
        ("sim/golden/matmul.py", "from . import fixed"),
        ("hw/spec/config.py", "from .isa import OPERATORS"),
        ("sim/run.py", "from hw.top import Top"),
    ],
)
def test_allowed_import_passes(path, line):
    assert breaches(line, path) == []
