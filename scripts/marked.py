"""Blocks of a document that commands write, between two comments that stay."""

from scripts.synth.design import write_whole

__all__ = ["put", "split", "updated"]


def split(document, begin, end):
    """Return a document in three: up to its line ``begin``, the block, and from ``end`` on.

    Raises
    ------
    ValueError
        One of the two is not there exactly once.
    """
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document must have {begin.strip()} and {end} once each")
    head, rest = document.split(begin)
    block, tail = rest.split(end)
    return head + begin, block, end + tail


def updated(document, marker, text):
    """Return a document with new text between ``<!-- marker -->`` and ``<!-- end of ... -->``."""
    head, _, tail = split(document, f"<!-- {marker} -->\n", f"<!-- end of {marker} -->")
    return head + text + tail


def put(path, marker, end, text):
    """Put text between ``<!-- marker -->`` and ``<!-- end of ... -->`` of a file.

    Both come behind everything else if they are not there yet.
    """
    begin, end = f"<!-- {marker} -->\n", f"<!-- end of {end} -->"
    whole = path.read_text()
    if begin not in whole:
        whole = f"{whole.rstrip()}\n\n{begin}{end}\n"
    head, _, tail = split(whole, begin, end)
    write_whole(path, head + text + tail)
