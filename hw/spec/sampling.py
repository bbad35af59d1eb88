"""Constants of the choice of a token: the temperature's scale and the random numbers."""

__all__ = [
    "MIX_FACTORS",
    "MIX_SHIFTS",
    "POSITION_OFFSET",
    "RANDOM_WIDTH",
    "TEMPERATURE_MULTIPLIER_WIDTH",
    "TEMPERATURE_SHIFT_WIDTH",
]

TEMPERATURE_MULTIPLIER_WIDTH = 16  #: unsigned
TEMPERATURE_SHIFT_WIDTH = 5  #: unsigned

RANDOM_WIDTH = 32  #: a random number, a seed, a position

#: The mix of a number: each round is x ^= x >> shift, then, but for the last, x *= factor.
MIX_SHIFTS = (16, 13, 16)
MIX_FACTORS = (0x85EBCA6B, 0xC2B2AE35)

#: Added to a position before it is mixed: without it, position 0 would mix to 0.
POSITION_OFFSET = 0x9E3779B9
