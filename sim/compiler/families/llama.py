"""Llama 2 and 3, and what was made in their form: SmolLM, TinyLlama."""

from sim.compiler.families.common import IGNORED, common_sources, read_common_config
from sim.compiler.families.family import Family

__all__ = ["LLAMA"]


def _read_config(options):
    options.refuse_unsupported()
    attention = ("q", "k", "v", "o") if options.flag("attention_bias", False) else ()
    network = ("gate", "up", "down") if options.flag("mlp_bias", False) else ()
    return read_common_config(options, context=2048, biases=attention + network)


LLAMA = Family(
    model_type="llama", read_config=_read_config, sources=common_sources, ignored=IGNORED
)
