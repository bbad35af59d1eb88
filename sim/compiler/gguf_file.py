"""Reads GGUF files: metadata and tensors, with an error that says what is wrong with them."""

import math
import struct

import gguf
import numpy as np

from sim.compiler.error import CheckpointError

__all__ = ["QUANTISATIONS", "GgufFile"]

#: Types of tensors that are read; the ``gguf`` package turns them into numbers.
QUANTISATIONS = (
    "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K",
)  # fmt: skip

MAGIC, VERSIONS = b"GGUF", (2, 3)
ALIGN_BYTES = 32  # of tensors, unless the metadata says otherwise
MAX_DIMENSIONS = 4
#: Numbers of the format's scalar types, as `struct` calls them.
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
STRING, ARRAY = 8, 9


class GgufFile:
    """One GGUF file, mapped.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    metadata : dict
        Everything but the tensors: numbers, strings and lists of them.
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
        self._size = path.stat().st_size
        data = np.memmap(path, np.uint8, "r") if self._size else np.zeros(0, np.uint8)
        header = _Header(memoryview(data))
        try:
            self._read_header(header)
        except _Truncated:
            raise CheckpointError(
                f"{path} is truncated: {self._size} bytes, and its header goes on"
            ) from None
        except (ValueError, struct.error, OverflowError, RecursionError) as error:
            raise CheckpointError(f"{path} is corrupt, or no GGUF file: {error}") from None
        self._data = data
        end = max((self._start + o + s for _, _, o, s in self._entries.values()), default=0)
        if self._size < end:
            raise CheckpointError(
                f"{path} is truncated: {self._size} bytes, and its tensors end at {end}"
            )
        self.names = tuple(self._entries)

    def shape(self, name):
        """Return the shape of a tensor as numpy counts: the longest stride first."""
        return self._entries[name][1]

    def read(self, name):
        """Return a tensor as float32.

        Raises
        ------
        CheckpointError
            A type that is not of `QUANTISATIONS`, or a number that is not finite.
        """
        kind, shape, offset, size = self._entries[name]
        if kind not in QUANTISATIONS:
            raise CheckpointError(
                f"{self.path}: tensor {name} must be of type {', '.join(QUANTISATIONS)}, not {kind}"
            )
        stored = self._data[self._start + offset :][:size]
        row_bytes = size // math.prod(shape[:-1])
        with np.errstate(all="ignore"):  # what is not finite is refused below
            values = gguf.quants.dequantize(
                np.ascontiguousarray(stored).reshape(*shape[:-1], row_bytes),
                gguf.GGMLQuantizationType[kind],
            ).reshape(shape)
        finite = np.isfinite(values)
        if not finite.all():
            at = np.unravel_index(int(np.argmin(finite)), shape)
            raise CheckpointError(
                f"{self.path}: tensor {name} must be finite, not {values[at]} at "
                f"{[int(i) for i in at]}"
            )
        return np.array(values, dtype=np.float32)

    def _read_header(self, header):
        if header.take(len(MAGIC)) != MAGIC:
            raise ValueError(f"it must begin with {MAGIC.decode()}")
        version = header.scalar("I")
        if version not in VERSIONS:
            raise ValueError(f"its version must be 2 or 3 (little-endian), not {version}")
        tensor_count, key_count = header.scalar("Q"), header.scalar("Q")
        self.metadata = {}
        for _ in range(key_count):
            key = header.string()
            if key in self.metadata:
                raise ValueError(f"{key} is there twice")
            self.metadata[key] = header.value(header.scalar("I"))
        self._entries = {}
        for _ in range(tensor_count):
            name, entry = _entry(header)
            if name in self._entries:
                raise ValueError(f"tensor {name} is there twice")
            self._entries[name] = entry
        align = self.metadata.get("general.alignment", ALIGN_BYTES)
        if type(align) is not int or align < 1 or align & (align - 1):
            raise ValueError(f"general.alignment must be a power of two, not {align!r}")
        self._start = -(-header.at // align) * align


def _entry(header):
    """Read (name, (type, shape, offset, bytes)) of a tensor."""
    name = header.string()
    dimensions = header.scalar("I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise ValueError(f"tensor {name} must have 1 to {MAX_DIMENSIONS} axes, not {dimensions}")
    shape = tuple(header.scalar("Q") for _ in range(dimensions))[::-1]
    number, offset = header.scalar("I"), header.scalar("Q")
    try:
        kind = gguf.GGMLQuantizationType(number)
    except ValueError:
        raise ValueError(f"tensor {name} has the unknown type {number}") from None
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    if not all(shape) or shape[-1] % block_len:
        raise ValueError(f"tensor {name} of type {kind.name} cannot have shape {shape}")
    return name, (kind.name, shape, offset, math.prod(shape) // block_len * block_bytes)


class _Truncated(Exception):
    pass


class _Header:
    """Reads the format's values one after the other."""

    def __init__(self, data):
        self._data = data
        self.at = 0

    def take(self, size):
        if size > len(self._data) - self.at:
            raise _Truncated
        self.at += size
        return self._data[self.at - size : self.at].tobytes()

    def scalar(self, kind):
        return struct.unpack("<" + kind, self.take(struct.calcsize(kind)))[0]

    def string(self):
        return self.take(self.scalar("Q")).decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            return self._array()
        if kind not in SCALARS:
            raise ValueError(f"the metadata has a value of the unknown type {kind}")
        return self.scalar(SCALARS[kind])

    def _array(self):
        kind, count = self.scalar("I"), self.scalar("Q")
        if kind in SCALARS:
            code = f"{count}{SCALARS[kind]}"
            size = count * struct.calcsize(SCALARS[kind])
            return list(struct.unpack("<" + code, self.take(size)))
        return [self.value(kind) for _ in range(count)]
