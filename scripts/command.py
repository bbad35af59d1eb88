"""What the commands share: exit statuses, one-line complaints, lines with the time."""

import argparse
import time

__all__ = ["BAD_INPUT", "FAILED", "Parser", "say"]

#: Exit statuses: what was asked for makes no sense; what was looked at is not as it should be.
BAD_INPUT, FAILED = 2, 1


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong with its arguments in one line, without the usage."""

    def error(self, message):
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def say(text):
    """Print a line with the time of day, at once."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)
