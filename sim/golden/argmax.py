"""Greedy choice of a token."""

import numpy as np

__all__ = ["argmax"]


def argmax(logits):
    """Return the index of the largest logit along the last axis; of equal ones the lowest."""
    return np.argmax(logits, axis=-1)
