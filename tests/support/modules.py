"""The modules of the chip and the boards, by the names of their files."""

from pathlib import Path

__all__ = ["modules"]


def modules():
    """Return the files of ``hw`` that define a component, without folder and ending."""
    return {
        path.stem for path in Path("hw").rglob("*.py") if "wiring.Component)" in path.read_text()
    }
