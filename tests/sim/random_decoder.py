"""Small decoders of every family with random weights, as tests need them."""

from math import sqrt

from sim.compiler.decoder import DecoderConfig
from sim.compiler.random_tensors import random_tensors, random_tokens
from sim.compiler.rope_frequencies import llama3_frequencies, plain_frequencies

__all__ = ["FAMILIES", "random_tensors", "random_tokens"]

LLAMA3_ROPE = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "context": 32}


def _config(*, head_dim, theta=10000.0, **options):
    sizes = {
        "layers": 2, "dim": 64, "heads": 4, "kv_heads": 2, "ffn": 96, "vocab": 96, "context": 64,
    }  # fmt: skip
    options = {
        "epsilon": 1e-5,
        "windows": (0, 0),
        "rope_frequencies": plain_frequencies(head_dim, theta),
        "score_scale": 1 / sqrt(head_dim),
    } | options
    return DecoderConfig(head_dim=head_dim, **(sizes | options))


FAMILIES = {
    "llama": _config(head_dim=32, tied=True),
    # One pair turns fast enough to stay as it is, one is in between, the others are slowed down.
    "llama3": _config(
        head_dim=32,
        heads=2,
        rope_frequencies=llama3_frequencies(plain_frequencies(32, 5e5), **LLAMA3_ROPE),
    ),
    "mistral": _config(head_dim=16, windows=(20, 20)),
    "qwen2": _config(head_dim=16, theta=1e6, biases=("q", "k", "v"), epsilon=1e-6, tied=True),
    "qwen3": _config(head_dim=32, theta=1e6, qk_norm=True, epsilon=1e-6, tied=True),
    "gemma": _config(
        head_dim=64,
        heads=2,
        kv_heads=1,
        activation="gelu_tanh",
        embedding_scale=8.0,
        epsilon=1e-6,
        tied=True,
    ),
    "gpt2": _config(
        head_dim=16,
        kv_heads=4,
        ffn=128,
        norm="layer",
        activation="gelu_tanh",
        gated=False,
        biases=("q", "k", "v", "o", "gate", "down"),
        rope_frequencies=None,
        tied=True,
    ),
    # Nothing is a multiple of 32, two blocks in a head, three heads share one of K and V.
    "ragged": _config(head_dim=36, dim=40, heads=3, kv_heads=1, ffn=50, vocab=101),
}
