"""Takes what the RTL does now as references, and says what that changes."""

from scripts.synth.design import write_whole
from scripts.waves import reference as references

__all__ = ["accept", "stale", "summary"]


def stale(names):
    """Return the paths of references whose scenarios are not among the names."""
    return sorted(p for p in references.FOLDER.glob("*.txt") if p.stem not in names)


def accept(outcomes, gone=()):
    """Write the references of outcomes that have none or differ, and remove those in ``gone``.

    Outcomes whose run failed are left as they are. Returns those that were taken.
    """
    taken = []
    for outcome in outcomes:
        if outcome.problems:
            continue
        if outcome.verdict is None or outcome.verdict.differences:
            write_whole(references.path_of(outcome.scenario.name), references.dump(outcome.trace))
            taken.append(outcome)
    for path in gone:
        path.unlink()
    return taken


def summary(taken, gone=()):
    """Return lines that say what was accepted, fit for a commit message."""
    kinds = {"values": [], "timing": [], "new": []}
    for outcome in taken:
        kinds[outcome.verdict.kind if outcome.verdict else "new"].append(outcome)
    counts = [f"{len(found)} {kind}" for kind, found in kinds.items() if found]
    counts += [f"{len(gone)} removed"] if gone else []
    lines = [f"tests.waves: references accepted ({', '.join(counts) or 'none differs'})"]
    for kind in ("values", "timing"):
        for outcome in kinds[kind]:
            differences = outcome.verdict.differences
            more = f"; and {len(differences) - 1} more signals" if len(differences) > 1 else ""
            lines += ["", f"{outcome.scenario.name}: {differences[0]}{more}"]
    if kinds["new"]:
        lines += ["", "New: " + ", ".join(outcome.scenario.name for outcome in kinds["new"])]
    if gone:
        lines += ["", "Removed: " + ", ".join(path.stem for path in gone)]
    return lines
