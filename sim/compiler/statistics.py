"""What a model's activations are like: what a quantiser chooses its formats by."""

import numpy as np

__all__ = ["Statistics"]


class Statistics:
    """Largest magnitudes seen, by name: of a whole tensor, or for each of its channels.

    Of channels it also knows the mean squares.

    Parameters
    ----------
    products : bool
        Also keep the mean products of each two channels.
    """

    def __init__(self, products=False):
        self.largest = {}
        self._products = products
        self._rows, self._sums = {}, {}

    def add(self, name, x, per_channel=False):
        """Take in a tensor whose last axis are its channels."""
        if not per_channel:
            self.largest[name] = np.maximum(self.largest.get(name, 0.0), np.abs(x).max())
            return
        x = x.reshape(-1, x.shape[-1])
        self.largest[name] = np.maximum(self.largest.get(name, 0.0), np.abs(x).max(axis=0))
        self._rows[name] = self._rows.get(name, 0) + len(x)
        new = x.T @ x if self._products else np.square(x, dtype=np.float64).sum(axis=0)
        self._sums[name] = self._sums.get(name, 0.0) + new

    def __getitem__(self, name):
        return self.largest[name]

    def mean_square(self, name):
        """Return the mean square of each channel."""
        sums = self._sums[name]
        return (sums.diagonal() if self._products else sums) / self._rows[name]

    def mean_products(self, name):
        """Return the mean product of each two channels (length, length), if these are kept."""
        return self._sums[name] / self._rows[name]
