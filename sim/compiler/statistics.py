"""Largest magnitudes of a model's activations: what a quantiser chooses its formats by."""

import numpy as np

__all__ = ["Statistics"]


class Statistics:
    """Largest magnitudes seen, by name: of a whole tensor, or for each of its channels."""

    def __init__(self):
        self.largest = {}

    def add(self, name, x, per_channel=False):
        """Take in a tensor whose last axis are its channels."""
        seen = np.abs(x).reshape(-1, x.shape[-1]).max(axis=0) if per_channel else np.abs(x).max()
        self.largest[name] = np.maximum(self.largest.get(name, 0.0), seen)

    def __getitem__(self, name):
        return self.largest[name]
