"""Reads the file that the probes write (`sim/harness/probe.cpp` tells its format)."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Segment", "read_trace"]

WORD_BYTES = 8
HEADER_WORDS = 2


@dataclass(frozen=True)
class Segment:
    """Records of one kind and operator that follow each other.

    Members
    -------
    kind, op : int
        Their probe, and op_id.
    row, index : uint16 (records,)
        Place, as `hw.core.probe_signature` says.
    cycle : uint64 (records,)
        When.
    data : uint8 (records, bytes)
        Payload, little-endian.
    """

    kind: int
    op: int
    row: np.ndarray
    index: np.ndarray
    cycle: np.ndarray
    data: np.ndarray


def read_trace(path, widths):
    """Return the list of `Segment` of a trace file.

    Parameters
    ----------
    path : Path
        The file.
    widths : dict
        Number of each kind to the width of its payload in bits.

    Raises
    ------
    ValueError
        A file that no probes wrote.
    """
    words = np.fromfile(path, dtype="<u8")
    sizes = {kind: HEADER_WORDS + -(-width // 64) for kind, width in widths.items()}
    segments, at = [], 0
    while at < len(words):
        kind = int(words[at]) & 0xFFFF
        if kind not in sizes or at + sizes[kind] > len(words):
            raise ValueError(f"{path} has no whole record at byte {at * WORD_BYTES}")
        count = _run_length(words, at, sizes[kind])
        records = words[at : at + count * sizes[kind]].reshape(count, sizes[kind])
        header = records[:, :1].copy().view("<u2")
        segments.append(
            Segment(
                kind=kind,
                op=int(header[0, 1]),
                row=header[:, 2],
                index=header[:, 3],
                cycle=records[:, 1],
                data=records[:, HEADER_WORDS:].copy().view(np.uint8),
            )
        )
        at += count * sizes[kind]
    return segments


def _run_length(words, at, size):
    """Count the records from ``at`` that have the same kind and op.

    The first word in this distance that begins otherwise is the next record's, as all before it
    are records of that size.
    """
    mask = np.uint64(0xFFFF_FFFF)
    first = words[at] & mask
    count, window = 1, 16
    whole = (len(words) - at) // size
    while count < whole:
        stop = min(whole, count + window)
        same = (words[at + count * size : at + stop * size : size] & mask) == first
        if not same.all():
            return count + int(np.argmin(same))
        count, window = stop, 2 * window
    return count
