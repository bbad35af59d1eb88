"""Random models, under the name that the tests know."""

from sim.golden.random_model import random_model, small_shape

__all__ = ["random_model", "small_shape"]
