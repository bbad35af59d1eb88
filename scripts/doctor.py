"""Check what `make` cannot install by itself, and say in one line what is missing."""

import importlib.util
import shutil
import sys

MIN_PYTHON = (3, 11)


def missing():
    """Name the first missing prerequisite and how to get it, or return None.

    Written for any Python 3, because the first thing it checks is the version.
    """
    if sys.version_info < MIN_PYTHON:
        return (
            "Python {}.{} is too old: install Python 3.11 or later, "
            "or name one with `make PYTHON=/path/to/python3`".format(*sys.version_info[:2])
        )
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            return (
                f"this Python has no {module} module: install it "
                "(Debian, Ubuntu: apt install python3-venv)"
            )
    if not (shutil.which("g++") or shutil.which("clang++")):
        return (
            "no C++ compiler: install g++ or clang++ "
            "(Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
            "macOS: xcode-select --install)"
        )
    for tool in ("make", "perl"):
        if not shutil.which(tool):
            return f"no {tool}: install it (Debian, Ubuntu: apt install {tool})"
    return None


def main():
    """Exit with the missing prerequisite as the message."""
    problem = missing()
    if problem:
        sys.exit(f"Missing prerequisite: {problem}")


if __name__ == "__main__":
    main()
