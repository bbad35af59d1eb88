"""Quantised models of `tests.sim.random_decoder`'s small decoders."""

from sim.compiler.quantise import quantise
from tests.sim.random_decoder import random_tensors, random_tokens

__all__ = ["quantised_decoder"]


def quantised_decoder(config, seed, *, gain=1.0, **options):
    """Return (QuantisedModel, float tensors, calibration tokens)."""
    tensors, tokens = random_tensors(config, seed, gain), random_tokens(config, seed + 1)
    return quantise(config, tensors, tokens, **options), tensors, tokens
