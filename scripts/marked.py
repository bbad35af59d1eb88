"""Blocks of a document that a command writes."""

__all__ = ["updated"]


def updated(document, marker, text):
    """Return a document with new text between ``<!-- marker -->`` and ``<!-- end of ... -->``."""
    begin, end = f"<!-- {marker} -->\n", f"<!-- end of {marker} -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document must have {begin.strip()} and {end} once each")
    head, rest = document.split(begin)
    return head + begin + text + end + rest.split(end)[1]
