"""Reads checkpoints: Hugging Face folders and GGUF files."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.decoder import DecoderConfig
from sim.compiler.error import CheckpointError
from sim.compiler.families.options import Options
from sim.compiler.families.registry import ARCHITECTURES
from sim.compiler.gguf_checkpoint import GgufCheckpoint
from sim.compiler.safetensors_file import SafetensorsFile
from sim.compiler.tokenizer import Tokenizer

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "checkpoint_files",
    "read_checkpoint",
    "read_tokenizer",
]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
#: The head's weights, which a file may have beside the embedding that they are tied to.
HEAD = "lm_head.weight"
#: Smallest share of a model's vocabulary that its tokenizer must use; the rest is padding.
LEAST_USE = 7 / 8


class Checkpoint(NamedTuple):
    """What a folder or file holds; tensors are float32, by `DecoderConfig`'s names."""

    config: DecoderConfig
    tensors: dict
    tokenizer: Tokenizer


def read_checkpoint(path):
    """Read a model as people have it.

    Parameters
    ----------
    path : Path or str
        A folder as Hugging Face publishes them, with config.json, tokenizer.json and safetensors,
        whole or in shards; or a GGUF file.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        Anything that is missing, damaged, or not supported; it names file, and tensor or option.
    """
    path = Path(path)
    if path.is_file():
        file = GgufCheckpoint(path)
        _check_vocab(path, file.tokenizer, file.config.vocab)
        return Checkpoint(file.config, file.read_tensors(), file.tokenizer)
    _check_folder(path)
    architecture, config = _read_config(path / "config.json")
    tokenizer = _read_tokenizer(path)
    _check_vocab(path / "tokenizer.json", tokenizer, config.vocab)
    return Checkpoint(config, _read_tensors(path, architecture, config), tokenizer)


def read_tokenizer(path):
    """Read the tokenizer of a checkpoint alone, and not its weights.

    Raises
    ------
    CheckpointError
        As `read_checkpoint`.
    """
    path = Path(path)
    if path.is_file():
        return GgufCheckpoint(path).tokenizer
    _check_folder(path)
    return _read_tokenizer(path)


def checkpoint_files(path):
    """Return the files that a checkpoint may consist of, sorted: what a cache depends on."""
    path = Path(path)
    if path.is_file():
        return [path]
    return sorted(
        file for kind in ("json", "jinja", "safetensors") for file in path.glob(f"*.{kind}")
    )


def _check_folder(path):
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a folder, and not a GGUF file")


def _read_json(path):
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must be a JSON object, not {type(value).__name__}")
    return value


def _read_config(path):
    """Return the name of the architecture, and the `DecoderConfig`."""
    values = _read_json(path)
    names = values.get("architectures")
    if not isinstance(names, list) or len(names) != 1:
        raise CheckpointError(f"{path}: architectures must name one, not {names!r}")
    if names[0] not in list(ARCHITECTURES):
        raise CheckpointError(
            f"{path}: architecture must be {', '.join(ARCHITECTURES)}, not {names[0]}"
        )
    family = ARCHITECTURES[names[0]]
    kind = values.get("model_type", family.model_type)
    if kind != family.model_type:
        raise CheckpointError(f"{path}: model_type must be {family.model_type}, not {kind!r}")
    try:
        return names[0], family.read_config(Options(values))
    except (ValueError, OverflowError) as error:  # whole numbers may be larger than any float
        raise CheckpointError(f"{path}: {error}") from None


def _read_tokenizer(folder):
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        return Tokenizer(path, chat_template=_read_chat_template(folder))
    except CheckpointError:
        raise
    except ValueError as error:
        raise CheckpointError(str(error)) from None


def _read_chat_template(folder):
    """Return the template of chat_template.jinja or tokenizer_config.json, or None."""
    path = folder / "tokenizer_config.json"
    options = _read_json(path) if path.is_file() else {}
    source = options.get("chat_template")
    if isinstance(source, list):  # several templates with names
        try:
            source = next((one["template"] for one in source if one["name"] == "default"), None)
        except (KeyError, TypeError):
            raise CheckpointError(
                f"{path}: chat_template must have a template for each name"
            ) from None
    if (folder / "chat_template.jinja").is_file():
        path = folder / "chat_template.jinja"
        source = path.read_text()
    if not source:
        return None
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    special = {}
    for name in names:
        token = options.get(name)
        special[name] = token.get("content") if isinstance(token, dict) else token
    try:
        return ChatTemplate(source, special)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _check_vocab(path, tokenizer, vocab):
    least = int(vocab * LEAST_USE)
    if not least < tokenizer.vocab_size <= vocab:
        raise CheckpointError(
            f"{path} must have {vocab} tokens, the vocab_size of the model (or, where "
            f"that is padded, a few less), not {tokenizer.vocab_size}"
        )


def _read_tensors(folder, architecture, config):
    family, files = ARCHITECTURES[architecture], _shards(folder)
    sources = family.sources(config)
    where = {}
    for file in files:
        for name in file.names:
            short = name.removeprefix(family.prefix)
            if short in where:
                raise CheckpointError(f"{file.path}: tensor {short} is there twice")
            where[short] = (file, name)
    expected = {source.name for source in sources.values()}
    tied_head = where.pop(HEAD, None) if config.tied else None
    for short, (file, name) in where.items():
        if short not in expected and not name.endswith(family.ignored):
            raise CheckpointError(f"{file.path}: tensor {name} is none of {architecture}'s")
    tensors = {}
    for tensor, source in sources.items():
        if source.name not in where:
            paths = ", ".join(str(file.path) for file in files)
            raise CheckpointError(f"{paths}: tensor {source.name} is missing")
        file, name = where[source.name]
        if file.shape(name) != source.shape:
            raise CheckpointError(
                f"{file.path}: tensor {name} must have shape {source.shape}, not {file.shape(name)}"
            )
        tensors[tensor] = source.take(file.read(name))
    if tied_head is not None:
        file, name = tied_head
        if not np.array_equal(file.read(name), tensors["embedding"]):
            raise CheckpointError(
                f"{file.path}: tensor {name} must equal {where[sources['embedding'].name][1]}, "
                "because tie_word_embeddings is true"
            )
    return tensors


def _shards(folder):
    index = folder / INDEX
    if not index.is_file():
        if not (folder / WEIGHTS).is_file():
            raise CheckpointError(f"{folder} must have {WEIGHTS} or {INDEX}")
        return [SafetensorsFile(folder / WEIGHTS)]
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(file, str) and Path(file).name == file for file in weight_map.values()
    ):
        raise CheckpointError(
            f"{index}: weight_map must name a file of this folder for each tensor"
        )
    return [SafetensorsFile(folder / name) for name in sorted(set(weight_map.values()))]
