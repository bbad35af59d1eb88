"""The choice of a token in plain Python integers, one number at a time, from its recipe alone."""

from fractions import Fraction
from math import floor

from tests.sim.slow_model import EXP

FACTORS = (0x85EBCA6B, 0xC2B2AE35)
OFFSET = 0x9E3779B9


def mix(h):
    h = h ^ (h >> 16)
    h = (h * FACTORS[0]) % 2**32
    h = h ^ (h >> 13)
    h = (h * FACTORS[1]) % 2**32
    return h ^ (h >> 16)


def number_of(seed, position):
    return mix(seed ^ mix((position + OFFSET) % 2**32))


def seed_of(number, position):
    """Return the seed that gives a number at a position: the mix can be undone."""
    h = number ^ (number >> 16)
    h = (h * pow(FACTORS[1], -1, 2**32)) % 2**32
    h = h ^ (h >> 13) ^ (h >> 26)
    h = (h * pow(FACTORS[0], -1, 2**32)) % 2**32
    return h ^ (h >> 16) ^ mix((position + OFFSET) % 2**32)


def number_at(threshold, total):
    """Return the smallest number whose threshold is the one given."""
    return -(-threshold * 2**32 // total)


def order_of(logits, count):
    return sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:count]


def probabilities(values, multiplier, shift):
    result = []
    for value in values:
        z = floor(Fraction((values[0] - value) * multiplier, 2**shift) + Fraction(1, 2))
        octave = z // 256
        p = floor(Fraction(EXP[z % 256], 2**octave) + Fraction(1, 2)) if octave < 15 else 0
        result.append(p)
    return result


def sample(logits, *, top_k, multiplier, shift, seed, position):
    order = order_of(logits, top_k)
    probs = probabilities([logits[i] for i in order], multiplier, shift)
    threshold = number_of(seed, position) * sum(probs) // 2**32
    below = 0
    for i, p in zip(order, probs, strict=True):
        below += p
        if below > threshold:
            return i
    raise AssertionError("the threshold is not below the sum")


def edge_seed(rng, logits, *, top_k, multiplier, shift, position):
    """Return a seed whose threshold is where the choice changes, or one below."""
    order = order_of(logits, top_k)
    probs = probabilities([logits[i] for i in order], multiplier, shift)
    edge = sum(probs[: rng.randrange(len(probs))]) - rng.randrange(2)
    edge = min(max(edge, 0), sum(probs) - 1)
    return seed_of(number_at(edge, sum(probs)), position)
