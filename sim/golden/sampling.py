"""How the tokens of a request are drawn."""

from dataclasses import dataclass

from hw.spec.sampling import RANDOM_WIDTH

from .argmax import argmax
from .sampler import sample, temperature_scale

__all__ = ["GREEDY", "Sampling", "sampling_of"]


@dataclass(frozen=True)
class Sampling:
    """What `sample` needs beside logits and position; with a ``top_k`` of 1 nothing else counts."""

    top_k: int = 1
    multiplier: int = 0
    shift: int = 0
    seed: int = 0

    def draw(self, logits, position):
        """Return the token at ``position`` that follows from the logits (vocab,) before it."""
        if self.top_k == 1:
            return int(argmax(logits))
        return sample(
            logits,
            top_k=self.top_k,
            multiplier=self.multiplier,
            shift=self.shift,
            seed=self.seed,
            position=position,
        )


GREEDY = Sampling()  #: the likeliest token


def sampling_of(*, temperature=0.0, top_k=None, seed=0, most):
    """Return the `Sampling` of a temperature.

    Parameters
    ----------
    temperature : float
        0: always the likeliest token, whatever the others are. Else 1/128 to 128.
    top_k : int
        Likeliest tokens that are drawn from, 1 to ``most``; by default ``most``.
    seed : int
        32 bits. The same seed, prompt and options give the same tokens.
    most : int
        Candidates that the chip keeps: its ``list_len``.

    Raises
    ------
    ValueError
        For a number that is not as above.
    """
    if top_k is not None and not 1 <= top_k <= most:
        raise ValueError(f"top_k must be 1 to {most} (what the chip keeps), not {top_k!r}")
    if not 0 <= seed < 1 << RANDOM_WIDTH:
        raise ValueError(f"seed must be 0 to {(1 << RANDOM_WIDTH) - 1}, not {seed!r}")
    if temperature == 0:
        return GREEDY
    multiplier, shift = temperature_scale(temperature)
    return Sampling(most if top_k is None else top_k, multiplier, shift, seed)
