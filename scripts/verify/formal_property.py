"""What is proved: properties of the RTL, the bugs that they must find, and where they are kept."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Bug", "Property", "PropertyError", "matching", "properties"]

#: Package whose modules ``prop_*`` each hold a list `PROPERTIES`.
PACKAGE = "tests.formal"


class PropertyError(ValueError):
    """A property that does not exist, or is not what it must be."""


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A fault to plant, which the property must find.

    Either a line of the RTL is written otherwise (``file``, ``old``, ``new``), or the bench does
    something to the unit's ports (``arguments`` of `Property.bench`).

    Parameters
    ----------
    what : str
        The fault in a few words.
    file : str
        A Python file of ``hw``, relative to the root.
    old, new : str
        Text that the file holds exactly once, and what stands there instead.
    arguments : dict
        Passed to the property's bench.
    depth : int
        Cycles within which it must be found. By default, and at most, those of a bounded proof.
    """

    what: str
    file: str = ""
    old: str = ""
    new: str = ""
    arguments: dict = field(default_factory=dict)
    depth: int = 0

    def __post_init__(self):
        if bool(self.file) == bool(self.arguments):
            raise PropertyError(f"a bug changes a file or a bench: {self.what}")


@dataclass(frozen=True, kw_only=True)
class Property:
    """Something that the RTL always does.

    Parameters
    ----------
    name : str
        Unit and fact: ``queue.order``.
    says : str
        The fact in a sentence.
    bench : callable
        Returns a `scripts.verify.formal_bench.Bench` around the unit.
    depth : int
        Cycles from reset that are checked; with ``induction`` also the steps that the induction
        assumes.
    induction : bool
        Whether it is proved for all time; else only for ``depth`` cycles.
    cover : int
        Cycles within which every cover point of the bench must be reached.
    bugs : tuple of Bug
        At least one.
    solver : str
        ``yices`` for control, ``boolector`` for arithmetic.
    quick : bool
        Whether CI proves it.
    """

    name: str
    says: str
    bench: Callable
    depth: int
    induction: bool = True
    cover: int
    bugs: tuple
    solver: str = "yices"
    quick: bool = False

    def __post_init__(self):
        if not self.bugs:
            raise PropertyError(f"{self.name} has no planted bug: how is it known to notice any?")
        if not self.induction and max(bug.depth for bug in self.bugs) > self.depth:
            raise PropertyError(
                f"{self.name} has a planted bug deeper than its {self.depth} cycles"
            )

    @property
    def mode(self):
        """How it is proved, in words."""
        return f"induction k={self.depth}" if self.induction else f"bounded {self.depth} cycles"


def properties():
    """Return all properties by name, in the order of their files.

    Raises
    ------
    PropertyError
        Two have the same name.
    """
    found = {}
    package = importlib.import_module(PACKAGE)
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        if not info.name.startswith("prop_"):
            continue
        for item in importlib.import_module(f"{PACKAGE}.{info.name}").PROPERTIES:
            if item.name in found:
                raise PropertyError(f"two properties are called {item.name}")
            found[item.name] = item
    return found


def matching(part):
    """Return the properties in whose names ``part`` occurs; all of them for None.

    Raises
    ------
    PropertyError
        None does.
    """
    found = list(properties().values())
    if part is None:
        return found
    chosen = [item for item in found if part in item.name]
    if not chosen:
        groups = ", ".join(dict.fromkeys(item.name.split(".")[0] for item in found))
        raise PropertyError(f"no property has {part!r} in its name; they are of: {groups}")
    return chosen
