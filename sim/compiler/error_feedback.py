"""Rounding of weights with error feedback: a row's later weights make good its earlier errors."""

import numpy as np

from .integers import WEIGHT_LIMIT

__all__ = ["ErrorFeedback"]

DAMPING = 0.01  # of the mean square of the inputs, as if each had so much noise of its own
STEP = 64  # inputs after which the weights of all others are corrected
ROWS = 4096  # at a time: that many fit the memory of a small machine, whatever the vocabulary


class ErrorFeedback:
    """Rounds the rows of the matrices that share an input.

    Of all that a row could be rounded to, what matters is how much its output changes on the inputs
    of the calibration, which have much in common with each other. So inputs are taken one by
    one, the largest first, and what is lost by rounding its weight is given to the weights that
    are still to be rounded, as the inputs' mean products say.

    Parameters
    ----------
    moments : (length, length)
        Mean product of each two inputs.
    """

    def __init__(self, moments):
        moments = np.array(moments, dtype=np.float64)
        square = moments.diagonal().copy()
        self._order = np.argsort(-square, kind="stable")
        moments[np.diag_indices_from(moments)] += DAMPING * square.mean() or 1.0
        moments = moments[np.ix_(self._order, self._order)]
        # Row i: how an error of weight i is made good by those after it, given those before it.
        factor = np.linalg.cholesky(np.linalg.inv(moments)).T
        self._share = factor / factor.diagonal()[:, None]

    def round(self, weights):
        """Return INT8 rows of ``weights`` (rows, length), given in units of each row's scale."""
        rounded = np.empty(weights.shape, dtype=np.int8)
        for start in range(0, len(weights), ROWS):
            rounded[start : start + ROWS] = self._round(weights[start : start + ROWS])
        return rounded

    def _round(self, weights):
        left = np.array(weights.T[self._order], dtype=np.float64)
        rounded = np.empty(left.shape, dtype=np.int8)
        for start in range(0, len(left), STEP):
            part = slice(start, start + STEP)
            errors = np.empty_like(left[part])
            for at, row in enumerate(left[part]):
                whole = np.clip(np.rint(row), -WEIGHT_LIMIT, WEIGHT_LIMIT)
                rounded[start + at] = whole
                errors[at] = row - whole
                share = self._share[start + at, start + at + 1 : start + STEP, None]
                left[start + at + 1 : start + STEP] -= share * errors[at]
            left[start + STEP :] -= self._share[part, start + STEP :].T @ errors
        result = np.empty_like(rounded)
        result[self._order] = rounded
        return result.T
