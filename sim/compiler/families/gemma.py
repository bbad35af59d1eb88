"""Gemma, the first: a scaled embedding, gains stored less one, GeGLU."""

from dataclasses import replace
from math import sqrt

from sim.compiler.families.common import IGNORED, common_sources, read_common_config
from sim.compiler.families.family import Family

__all__ = ["GEMMA"]


def _read_config(options):
    options.refuse_unsupported()
    return read_common_config(
        options,
        kv_heads=16,
        head_dim=256,
        context=8192,
        activation=_read_activation(options),
        biases=("q", "k", "v", "o") if options.flag("attention_bias", False) else (),
        embedding_scale=sqrt(options.size("hidden_size")),
        tied=options.flag("tie_word_embeddings", True),
    )


def _read_activation(options):
    if options.get("hidden_activation") is not None:
        return options.activation("hidden_activation", None)
    # The first files said gelu, and meant its approximation.
    activation = options.activation("hidden_act", "gelu_pytorch_tanh")
    return "gelu_tanh" if activation == "gelu" else activation


def _sources(config):
    sources = common_sources(config)
    return {
        name: replace(source, take=lambda stored: stored + 1) if name.endswith(".gain") else source
        for name, source in sources.items()
    }


GEMMA = Family(model_type="gemma", read_config=_read_config, sources=_sources, ignored=IGNORED)
