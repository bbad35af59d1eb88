"""Benches as RTLIL, with the RTL as it is or with a bug planted in it."""

import importlib
import importlib.util
import re
import sys
import threading
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader

from scripts.synth.design import ROOT, without_sources
from scripts.verify.formal_property import PACKAGE, PropertyError, properties

__all__ = ["planted", "source"]

_CHECK = re.compile(r'cell \$check \S+\n(    parameter \\FORMAT "(\w+)")')
_LOCK = threading.Lock()


def _ours(name):
    return any(name == top or name.startswith(f"{top}.") for top in ("hw", PACKAGE))


class _Planted(SourceFileLoader):
    """Loads a module from its file with one place written otherwise."""

    def __init__(self, name, path, text):
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname):
        return compile(self._text, self.path, "exec", dont_inherit=True)


class _Finder:
    def __init__(self, module, path, text):
        self._module, self._path, self._text = module, path, text

    def find_spec(self, name, path=None, target=None):
        if name != self._module:
            return None
        loader = _Planted(name, str(self._path), self._text)
        return importlib.util.spec_from_loader(name, loader, origin=str(self._path))


def _changed(bug):
    """Return the text of the bug's file with the bug in it."""
    path = ROOT / bug.file
    text = path.read_text() if path.exists() else ""
    found = text.count(bug.old)
    if found != 1:
        raise PropertyError(
            f"the bug {bug.what!r} cannot be planted: {bug.file} holds its text {found} times, "
            f"not once: {bug.old!r}"
        )
    return text.replace(bug.old, bug.new)


@contextmanager
def planted(bug):
    """Import ``hw`` and the benches anew, with a bug in a file; afterwards all is as it was.

    Raises
    ------
    PropertyError
        The file does not hold the text exactly once: the RTL has changed.
    """
    text = _changed(bug)
    before = {name: module for name, module in sys.modules.items() if _ours(name)}
    parent, _, last = PACKAGE.rpartition(".")
    attribute = getattr(sys.modules.get(parent), last, None)
    name = bug.file.removesuffix(".py").replace("/", ".")
    finder = _Finder(name, ROOT / bug.file, text)
    for old in before:
        del sys.modules[old]
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for new in [name for name in sys.modules if _ours(name)]:
            del sys.modules[new]
        sys.modules.update(before)
        if attribute is not None:
            setattr(sys.modules[parent], last, attribute)


def _built(item, bug):
    if bug is None or bug.arguments:
        return item.bench(**(bug.arguments if bug else {})).rtlil()
    with planted(bug):
        return properties()[item.name].bench().rtlil()


def source(item, bug=None):
    """Return the bench of a property as RTLIL, without what tells where it was written.

    Raises
    ------
    PropertyError
        The bench cannot be built, or the bug not be planted.
    """
    with _LOCK:
        try:
            text = _built(item, bug)
        except PropertyError:
            raise
        except Exception as error:  # RTL and benches are Python: there is no end of what they raise
            what = f"the bug {bug.what!r}" if bug else "the bench"
            raise PropertyError(
                f"{what} of {item.name} cannot be built: {type(error).__name__}: {error}"
            ) from error
    # A statement is called what the bench calls it, so that a failure can name it.
    return without_sources(_CHECK.sub(r"cell $check \\property.\2\n\1", text))
