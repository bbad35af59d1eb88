"""Small Llamas with random weights, as tests need them."""

import numpy as np

from sim.compiler.float_model import LlamaConfig
from sim.compiler.quantise import quantise

SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 96,
    "vocab_size": 96,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}

#: Nothing is a multiple of 32, two blocks in a head, untied, three heads share one of K and V.
RAGGED = SMALL | {
    "hidden_size": 40,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 36,
    "intermediate_size": 50,
    "tie_word_embeddings": False,
}


def random_tensors(config, seed, gain=1.0):
    """Tensors whose activations are of order 1, with a few channels that stand out."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in LlamaConfig.from_json(config).tensor_shapes().items():
        if len(shape) == 1:
            tensors[name] = np.exp(0.4 * rng.standard_normal(shape))
            tensors[name][rng.integers(shape[0])] *= 6
        else:
            tensors[name] = gain * rng.standard_normal(shape) / np.sqrt(shape[1])
    tensors["model.embed_tokens.weight"] *= 4
    return tensors


def random_model(config, seed, *, gain=1.0, **options):
    """Return (quantised model, float tensors, calibration tokens)."""
    tensors = random_tensors(config, seed, gain)
    tokens = np.random.default_rng(seed + 1).integers(0, config["vocab_size"], 48)
    return quantise(config, tensors, tokens, **options), tensors, tokens
