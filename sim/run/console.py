"""What a run shows: progress bars and streaming text on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from contextlib import contextmanager

from rich.console import Console as RichConsole
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

__all__ = ["Console"]

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 3  # before a build is worth a line
#: Object files of Verilator's own runtime and cocotb's main, beside those of the design.
RUNTIME_OBJECTS = 8


def _progress(console):
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _built(folder):
    """Return (made, wanted) object files of a build under way."""
    wanted = sum(1 for _ in folder.glob("Vtop*.cpp"))
    made = sum(1 for _ in folder.glob("*.o"))
    return made, wanted + RUNTIME_OBJECTS if wanted else 0


def _write(text):
    sys.stdout.write(text)
    sys.stdout.flush()


class Console:
    """Shows a run on standard output."""

    def __init__(self):
        self._rich = RichConsole(highlight=False)
        self.is_terminal = self._rich.is_terminal

    def line(self, text=""):
        """Print a line."""
        _write(text + "\n")

    @contextmanager
    def building(self):
        """Show a build; yields what `build_chip` takes as ``on_step``."""
        started = time.monotonic()
        if not self.is_terminal:
            notice = "Building the chip's simulator (minutes, and only once) ..."
            timer = threading.Timer(PATIENCE_SECONDS, self.line, [notice])
            timer.start()
            try:
                yield lambda step, folder: None
            finally:
                timer.cancel()
            if time.monotonic() - started > PATIENCE_SECONDS:
                self.line(f"Built in {time.monotonic() - started:.0f} s.")
            return
        with _progress(self._rich) as progress:
            task = progress.add_task("", total=None, note="")
            place, over = [], threading.Event()

            def on_step(step, folder):
                place[:] = [folder]
                progress.update(task, description=step)

            def watch():
                while not over.wait(POLL_SECONDS):
                    made, wanted = _built(place[0]) if place else (0, 0)
                    if wanted:
                        progress.update(
                            task,
                            total=wanted,
                            completed=min(made, wanted),
                            note=f"{min(made, wanted)} of {wanted} files",
                        )

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                yield on_step
            finally:
                over.set()
                watcher.join()

    @contextmanager
    def running(self, prompt, count):
        """Show text as it grows; yields a `_Text` for ``count`` tokens after ``prompt``."""
        shown = _Text(prompt, count, self._rich)
        if not self.is_terminal:
            shown.live = None
            _write(prompt)
            yield shown
            _write("\n")
            return
        with Live(shown, console=self._rich, refresh_per_second=8, transient=True):
            yield shown
        self._rich.print(shown.styled())


class _Text:
    """Prompt, text so far, and a bar."""

    def __init__(self, prompt, count, console):
        self._prompt, self._text, self._count = prompt, "", count
        self._bar = _progress(console)
        self._task = self._bar.add_task("running", total=count, note="")
        self._done = 0
        self._began = time.monotonic()
        self.live = True

    def push(self, text):
        """Show a token's text, which may be empty."""
        self._done += 1
        self._text += text
        if self.live is None:
            _write(text)

    def cycle(self, cycle, golden):
        """Show how far the chip is, and the golden model."""
        rate = cycle / max(time.monotonic() - self._began, 1e-3)
        self._bar.update(
            self._task,
            completed=self._done,
            note=f"{self._done} of {self._count} tokens, golden {golden}, "
            f"{cycle / 1e6:.2f} M cycles, {rate / 1e3:.0f} k/s",
        )

    def styled(self):
        """Return the text, the prompt in bold."""
        return Text.assemble((self._prompt, "bold"), self._text)

    def __rich__(self):
        return Group(self.styled(), self._bar)
