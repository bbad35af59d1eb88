"""Keeps quantised models, so that a model is quantised once and not in every run."""

import contextlib
import dataclasses
import hashlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from sim.golden.model import Layer, Linear, ModelShape, Norm, QuantisedModel

__all__ = ["CACHE", "cache_key", "cached_model"]

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "models"
CLASSES = {one.__name__: one for one in (Layer, Linear, ModelShape, Norm, QuantisedModel)}
#: What a quantised model is made by: more of the compiler than that, so that nothing is forgotten.
SOURCES = (
    "hw/spec/formats.py",
    "hw/spec/tables.py",
    "sim/golden/model.py",
    "sim/golden/rmsnorm.py",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "sim/compiler").rglob("*.py")),
)
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
DIGEST_LEN = 16


def cache_key(files, *settings):
    """Return a name for what quantising the contents of ``files`` with ``settings`` gives."""
    digest = hashlib.sha256(repr((settings, np.__version__)).encode())
    for path in [*(ROOT / source for source in SOURCES), *files]:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:DIGEST_LEN]


def cached_model(key, make, folder=CACHE):
    """Return the model called ``key``: from ``folder``, or else from ``make()``, and keep it.

    A file that cannot be read counts as none.
    """
    path = Path(folder) / f"{key}.npz"
    with contextlib.suppress(*UNREADABLE):
        return _load(path)
    model = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        _save(unfinished, model)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return model


def _save(path, model):
    arrays, known = {}, {}

    def describe(value):
        if dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            return {
                "class": type(value).__name__,
                "fields": {field.name: describe(getattr(value, field.name)) for field in fields},
            }
        if isinstance(value, tuple):
            return {"tuple": [describe(one) for one in value]}
        if isinstance(value, np.ndarray):  # tied weights are one array, here and when read again
            if id(value) not in known:
                known[id(value)] = f"a{len(arrays)}"
                arrays[known[id(value)]] = value
            return {"array": known[id(value)]}
        return {"value": value}

    text = json.dumps(describe(model))
    with path.open("wb") as file:
        np.savez(file, model=np.frombuffer(text.encode(), np.uint8), **arrays)


def _load(path):
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}

    def restore(node):
        if "class" in node:
            fields = {name: restore(value) for name, value in node["fields"].items()}
            return CLASSES[node["class"]](**fields)
        if "tuple" in node:
            return tuple(restore(one) for one in node["tuple"])
        return arrays[node["array"]] if "array" in node else node["value"]

    return restore(json.loads(arrays["model"].tobytes()))
