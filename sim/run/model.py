"""Finds a model by name or folder, and quantises it."""

from pathlib import Path

from sim.compiler.checkpoint import CheckpointError, read_checkpoint
from sim.compiler.quantise import quantise

__all__ = ["CALIBRATION_TOKENS", "MODELS", "load_model", "model_folder", "model_names"]

MODELS = Path(__file__).resolve().parents[1] / "models"
TEXT = MODELS / "texts" / "calibration.txt"
CALIBRATION_TOKENS = 2048
WINDOW_TOKENS = 256


def model_names():
    """Return the names of the models in this repository."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.json"))


def model_folder(name):
    """Return the folder of a model given by name or path.

    Raises
    ------
    CheckpointError
        Naming the models there are.
    """
    if name in model_names():
        return MODELS / name
    if Path(name).is_dir():
        return Path(name)
    raise CheckpointError(f"model must be {', '.join(model_names())} or a folder, not {name!r}")


def load_model(name):
    """Return (QuantisedModel, Tokenizer) of a model given by name or folder.

    Ranges are measured on the repository's calibration text.

    Raises
    ------
    CheckpointError, ValueError
        See `read_checkpoint` and `quantise`.
    """
    config, tensors, tokenizer = read_checkpoint(model_folder(name))
    tokens = tokenizer.encode(TEXT.read_text())[:CALIBRATION_TOKENS]
    windows = [tokens[at : at + WINDOW_TOKENS] for at in range(0, len(tokens), WINDOW_TOKENS)]
    return quantise(config, tensors, windows), tokenizer
