"""Reads safetensors files into float32, with an error that says what is wrong with them."""

import json
import math

import numpy as np

from sim.compiler.error import CheckpointError

__all__ = ["SafetensorsFile"]

LENGTH_BYTES = 8  # in front of the header: its length
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
#: Storage of a number on disk, by the names of the format.
DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


class SafetensorsFile:
    """One safetensors file, mapped.

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
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(LENGTH_BYTES)
            if len(start) < LENGTH_BYTES:
                raise CheckpointError(f"{path} is truncated: {size} bytes, no header")
            length = int.from_bytes(start, "little")
            if length > MAX_HEADER_BYTES:
                raise CheckpointError(
                    f"{path} is corrupt, or no safetensors file: its header must have "
                    f"{MAX_HEADER_BYTES} bytes at most, not {length}"
                )
            header = file.read(length)
        if len(header) < length:
            raise CheckpointError(
                f"{path} is truncated: its header has {len(header)} of {length} bytes"
            )
        self._data_start = LENGTH_BYTES + length
        self._entries = self._parse(header)
        end = max((entry["data_offsets"][1] for entry in self._entries.values()), default=0)
        if size - self._data_start < end:
            raise CheckpointError(
                f"{path} is truncated: {size} bytes, and its tensors end at "
                f"{self._data_start + end}"
            )
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
        if entry["dtype"] not in DTYPES:
            raise CheckpointError(
                f"{self.path}: tensor {name} must be of type {', '.join(DTYPES)}, "
                f"not {entry['dtype']}"
            )
        begin, end = entry["data_offsets"]
        dtype = np.dtype(DTYPES[entry["dtype"]])
        stored = np.fromfile(
            self.path, dtype, (end - begin) // dtype.itemsize, offset=self._data_start + begin
        )
        if entry["dtype"] == "BF16":  # the upper half of a float32
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            values = stored.astype(np.float32, copy=False)
        finite = np.isfinite(values)
        if not finite.all():
            at = np.unravel_index(int(np.argmin(finite)), entry["shape"])
            raise CheckpointError(
                f"{self.path}: tensor {name} must be finite, not "
                f"{values[np.argmin(finite)]} at {[int(i) for i in at]}"
            )
        return values.reshape(entry["shape"])

    def _parse(self, header):
        try:
            entries = json.loads(header)
            entries.pop("__metadata__", None)
            for entry in entries.values():
                begin, end = entry["data_offsets"]
                numbers = (begin, end, *entry["shape"])
                if not all(type(number) is int and number >= 0 for number in numbers):
                    raise ValueError
                size = math.prod(entry["shape"])
                if entry["dtype"] in DTYPES:
                    size *= np.dtype(DTYPES[entry["dtype"]]).itemsize
                    if end - begin != size:
                        raise ValueError
            spans = sorted(entry["data_offsets"] for entry in entries.values())
            if [0, *(end for _, end in spans)][:-1] != [begin for begin, _ in spans]:
                raise ValueError  # the format has neither gaps nor overlaps
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise CheckpointError(
                f"{self.path} is corrupt, or no safetensors file: its header is not readable"
            ) from None
        return entries
