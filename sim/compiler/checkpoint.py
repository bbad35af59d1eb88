"""Reads a Hugging Face folder: configuration, weights and tokenizer."""

import json
from pathlib import Path
from typing import NamedTuple

from sim.compiler.error import CheckpointError
from sim.compiler.float_model import LlamaConfig
from sim.compiler.safetensors_file import SafetensorsFile
from sim.compiler.tokenizer import Tokenizer

__all__ = ["ARCHITECTURES", "Checkpoint", "CheckpointError", "read_checkpoint"]

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
    """What a folder holds; tensors are float32, by Hugging Face's names."""

    config: dict
    tensors: dict
    tokenizer: Tokenizer


def read_checkpoint(folder):
    """Read a folder with config.json, tokenizer.json and safetensors, whole or in shards.

    Parameters
    ----------
    folder : Path or str
        A folder as Hugging Face publishes them.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        Anything that is missing, damaged, or not supported; it names file, and tensor or option.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    config = _read_config(folder / "config.json")
    llama = _llama(folder / "config.json", config)
    tokenizer = _read_tokenizer(folder / "tokenizer.json", llama)
    return Checkpoint(config, _read_tensors(folder, llama), tokenizer)


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


def _read_tokenizer(path, llama):
    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        tokenizer = Tokenizer(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    least = int(llama.vocab * LEAST_USE)
    if not least < tokenizer.vocab_size <= llama.vocab:
        raise CheckpointError(
            f"{path} must have {llama.vocab} tokens, the vocab_size of config.json (or, where "
            f"that is padded, a few less), not {tokenizer.vocab_size}"
        )
    return tokenizer


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
