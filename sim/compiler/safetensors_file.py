"""Reads safetensors files into float32, with an error that says what is wrong with them."""

import numpy as np
import safetensors

from sim.compiler.error import CheckpointError

__all__ = ["SafetensorsFile"]

#: Storage of a number on disk, by the names of the format.
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class SafetensorsFile:
    """One safetensors file.

    The library checks its form; numbers are converted here, because numpy has no bfloat16.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    names : tuple of str
        Tensors of the file.

    Raises
    ------
    CheckpointError
        No such file, or one that is truncated or corrupt.
    """

    def __init__(self, path):
        self.path = path
        if not path.is_file():
            raise CheckpointError(f"{path} is missing")
        try:
            self._entries = dict(safetensors.deserialize(path.read_bytes()))
        except safetensors.SafetensorError as error:
            raise CheckpointError(
                f"{path} is truncated, corrupt or no safetensors file: {error}"
            ) from None
        self.names = tuple(self._entries)

    def shape(self, name):
        """Return the shape of a tensor, as a tuple."""
        return tuple(self._entries[name]["shape"])

    def read(self, name):
        """Return a tensor as float32.

        Raises
        ------
        CheckpointError
            A type other than F32, F16 and BF16, or a number that is not finite.
        """
        entry = self._entries[name]
        kind = entry["dtype"]
        if kind not in DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {name} must be of type {', '.join(DTYPES)}, not {kind}"
            )
        stored = np.frombuffer(entry["data"], DTYPES[kind])
        if kind == "BF16":  # the upper half of a float32
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            values = stored.astype(np.float32)
        values = values.reshape(entry["shape"])
        finite = np.isfinite(values)
        if not finite.all():
            at = np.unravel_index(int(np.argmin(finite)), values.shape)
            raise CheckpointError(
                f"{self.path}: tensor {name} must be finite, not "
                f"{values[at]} at {[int(i) for i in at]}"
            )
        return values
