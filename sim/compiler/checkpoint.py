"""Reads checkpoints: Hugging Face folders and GGUF files."""

import json
from pathlib import Path
from typing import NamedTuple

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.error import CheckpointError
from sim.compiler.float_model import LlamaConfig
from sim.compiler.gguf_checkpoint import GgufCheckpoint
from sim.compiler.safetensors_file import SafetensorsFile
from sim.compiler.tokenizer import Tokenizer

__all__ = [
    "ARCHITECTURES",
    "Checkpoint",
    "CheckpointError",
    "checkpoint_files",
    "read_checkpoint",
    "read_tokenizer",
]

#: Values of ``architectures`` that can be compiled.
ARCHITECTURES = ("LlamaForCausalLM",)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
#: Options of ``config.json`` that would change what the model computes, and what they may be.
OPTIONS = {
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "rope_scaling": (),
    "rope_interleaved": (False,),
    "partial_rotary_factor": (1.0,),
    "sliding_window": (),
    "quantization_config": (),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "num_local_experts": (),
    "num_experts": (),
    "use_qk_norm": (False,),
    "residual_multiplier": (1.0,),
    "embedding_multiplier": (1.0,),
    "logits_scaling": (1.0,),
}
#: Tensors that may be there and are not needed: they follow from the configuration.
NOT_NEEDED = ("rotary_emb.inv_freq", "lm_head.weight")
#: Smallest share of a model's vocabulary that its tokenizer must use; the rest is padding.
LEAST_USE = 7 / 8


class Checkpoint(NamedTuple):
    """What a folder or file holds; tensors are float32, by Hugging Face's names."""

    config: dict
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
        _check_vocab(path, file.tokenizer, file.config["vocab_size"])
        return Checkpoint(file.config, file.read_tensors(), file.tokenizer)
    _check_folder(path)
    config = _read_config(path / "config.json")
    llama = _llama(path / "config.json", config)
    tokenizer = _read_tokenizer(path)
    _check_vocab(path / "tokenizer.json", tokenizer, llama.vocab)
    return Checkpoint(config, _read_tensors(path, llama), tokenizer)


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
    config = _read_json(path)
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1:
        raise CheckpointError(f"{path}: architectures must name one, not {architectures!r}")
    if architectures[0] not in ARCHITECTURES:
        raise CheckpointError(
            f"{path}: architecture must be {', '.join(ARCHITECTURES)}, not {architectures[0]}"
        )
    for option, allowed in OPTIONS.items():
        value = config.get(option)
        if value is None or any(value == one for one in allowed):
            continue
        if option == "rope_scaling" and _is_plain_rope(value):
            continue
        allowed = " or ".join(json.dumps(one) for one in allowed or (None,))
        raise CheckpointError(f"{path}: {option} must be {allowed}, not {value!r}")
    return config


def _is_plain_rope(value):
    return isinstance(value, dict) and value.get("rope_type", value.get("type")) == "default"


def _llama(path, config):
    try:
        return LlamaConfig.from_json(config)
    except (ValueError, TypeError, AttributeError) as error:
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


def _read_tensors(folder, llama):
    files = _shards(folder)
    where = {name: file for file in files for name in file.names}
    expected = llama.tensor_shapes()
    for name in where:
        if name not in expected and not name.endswith(NOT_NEEDED):
            raise CheckpointError(
                f"{where[name].path}: tensor {name} is none of {ARCHITECTURES[0]}'s"
            )
    tensors = {}
    for name, shape in expected.items():
        if name not in where:
            paths = ", ".join(str(file.path) for file in files)
            raise CheckpointError(f"{paths}: tensor {name} is missing")
        if where[name].shape(name) != shape:
            raise CheckpointError(
                f"{where[name].path}: tensor {name} must have shape {shape}, "
                f"not {where[name].shape(name)}"
            )
        tensors[name] = where[name].read(name)
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
