"""Make the texts for measurements and calibration, out of Debian packages of public-domain texts.

Writes ``prose.txt``, ``technical.txt`` and ``manual.txt``; the others are written with the default
model.
"""

import argparse
import re
import struct
import subprocess
import tempfile
import zlib
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

__all__ = ["austen_books", "chapters", "excerpt", "split_books"]

TEXTS = Path(__file__).resolve().parent.parent / "sim/models/texts"
AUSTEN, SQLITE = "r-cran-janeaustenr", "sqlite3-doc"
HEADING = re.compile(r"\s*(chapter|volume) [ivxlc\d]+|the end$|finis$|a note on the text", re.I)
SHORTEST_CHAPTER = 2000  # characters; shorter pieces are title pages and notes
HELD_OUT_EVERY, HELD_OUT_FIRST = 20, 10  # chapters 10, 30, ... of each book, counted from 0
TECHNICAL_PAGES = ("about", "whentouse", "howtocorrupt", "atomiccommit")
MANUAL_PAGES = ("wal", "isolation", "quirks")  # for calibration
SHORTEST_PARAGRAPH = 200  # characters; shorter ones are captions and code


def r_strings(blob):
    """The character vector in one uncompressed R serialisation (version 3, big endian)."""
    (native,) = struct.unpack_from(">I", blob, 14)
    at = 18 + native + 8
    (count,) = struct.unpack_from(">I", blob, at - 4)
    strings = []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", blob, at + 4)
        size = max(size, 0)
        strings.append(blob[at + 8 : at + 8 + size].decode())
        at += 8 + size
    return strings


@contextmanager
def debian_package(name):
    """The folder of a Debian package's files."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg", "-x", package, folder], check=True)
        yield Path(folder)


def austen_books():
    """The six novels of Jane Austen, each as a list of lines."""
    with debian_package(AUSTEN) as folder:
        (database,) = folder.glob("usr/lib/R/site-library/*/data/Rdata.rdb")
        rest = database.read_bytes()
    books = []
    while rest:
        inflate = zlib.decompressobj()
        books.append(r_strings(inflate.decompress(rest[4:])))
        rest = inflate.unused_data
    return books


def unwrap(lines):
    """Join wrapped lines: one paragraph per line, single spaces, no emphasis marks."""
    paragraphs = "\n".join(lines).replace("_", "").split("\n\n")
    return "\n".join(" ".join(p.split()) for p in paragraphs if p.strip())


def chapters(lines):
    """Split a book at its headings, which are left out."""
    pieces = [[]]
    for line in lines:
        if HEADING.match(line):
            pieces.append([])
        else:
            pieces[-1].append(line.rstrip())
    texts = [unwrap(piece) for piece in pieces]
    return [text for text in texts if len(text) >= SHORTEST_CHAPTER]


def split_books(books):
    """Training chapters and held-out chapters, each a list with one list per book."""
    train, held = [], []
    for book in books:
        if len(book) < 2:
            raise ValueError("text must have two chapters or more under headings")
        train.append([c for i, c in enumerate(book) if i % HELD_OUT_EVERY != HELD_OUT_FIRST])
        held.append(book[HELD_OUT_FIRST::HELD_OUT_EVERY] or [train[-1].pop()])
    return train, held


def excerpt(groups, size):
    """Whole paragraphs from the first chapter of every group, at most `size` bytes in all."""
    share = size // len(groups)
    kept = []
    for group in groups:
        used = 0
        for paragraph in group[0].split("\n"):
            used += len(paragraph.encode()) + 1
            if used > share:
                break
            kept.append(paragraph)
    return "\n".join(kept) + "\n"


class _Paragraphs(HTMLParser):
    """Collects the paragraphs of a page that are sentences; lists, tables and code end one."""

    ENDING = frozenset("blockquote body center div dl h1 h2 h3 h4 li ol p pre table td ul".split())

    def __init__(self):
        super().__init__()
        self.paragraphs, self._open = [], None

    def handle_starttag(self, tag, attrs):
        if tag in self.ENDING:
            self._end()
        if tag == "p":
            self._open = []

    def handle_endtag(self, tag):
        if tag in self.ENDING:
            self._end()

    def handle_data(self, data):
        if self._open is not None:
            self._open.append(data)

    def _end(self):
        text = " ".join("".join(self._open or ()).split())
        if len(text) >= SHORTEST_PARAGRAPH and text.isascii():
            self.paragraphs.append(text)
        self._open = None


def held_out_prose():
    """The held-out chapters of the novels but for the first of each, of which heldout.txt is."""
    _, held = split_books([chapters(book) for book in austen_books()])
    return [chapter for book in held for chapter in book[1:]]


def manual_prose(folder, pages):
    """Paragraphs of pages of SQLite's manual."""
    paragraphs = []
    for page in pages:
        reader = _Paragraphs()
        reader.feed((folder / f"usr/share/doc/sqlite3/{page}.html").read_text("utf-8"))
        reader.close()
        paragraphs += reader.paragraphs
    return paragraphs


def main():
    """Write the texts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, default=TEXTS)
    folder = parser.parse_args().texts
    texts = {"prose": held_out_prose()}
    with debian_package(SQLITE) as manual:
        texts["technical"] = manual_prose(manual, TECHNICAL_PAGES)
        texts["manual"] = manual_prose(manual, MANUAL_PAGES)
    for name, paragraphs in texts.items():
        (folder / f"{name}.txt").write_text("\n".join(paragraphs) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
