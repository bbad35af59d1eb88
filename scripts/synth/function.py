"""Boolean functions as Liberty writes them."""

import itertools
import re

__all__ = ["truth"]

_TOKEN = re.compile(r"\s*([A-Za-z_]\w*(?:\[\d+\])?|[01()!'^*&+|])")


def _tokens(text):
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            return None
        tokens.append(match[1])
        at = match.end()
    return tokens


class _Parser:
    """Strongest first: ``!`` and ``'``, ``^``, then and (also by blanks), then or."""

    def __init__(self, tokens, values):
        self.tokens, self.values, self.at = tokens, values, 0

    def next(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self):
        token = self.next()
        self.at += 1
        return token

    def either(self):
        value = self.both()
        while self.next() in ("+", "|"):
            self.take()
            value |= self.both()
        return value

    def both(self):
        value = self.differ()
        while self.next() and self.next() not in (")", "+", "|"):
            if self.next() in ("*", "&"):
                self.take()
            value &= self.differ()
        return value

    def differ(self):
        value = self.factor()
        while self.next() == "^":
            self.take()
            value ^= self.factor()
        return value

    def factor(self):
        token = self.take()
        if token == "!":
            return 1 - self.factor()
        if token == "(":
            value = self.either()
            if self.take() != ")":
                raise ValueError("a bracket is not closed")
        elif token in ("0", "1"):
            value = int(token)
        elif token in self.values:
            value = self.values[token]
        else:
            raise ValueError(f"{token!r} where a pin should be")
        while self.next() == "'":
            self.take()
            value = 1 - value
        return value


def truth(text, inputs):
    """Return a function's values, a tuple of 0 and 1, the last of ``inputs`` changing fastest.

    None if it is not a function of these inputs alone.
    """
    tokens, values = _tokens(text), []
    if tokens is None:
        return None
    for bits in itertools.product((0, 1), repeat=len(inputs)):
        parser = _Parser(tokens, dict(zip(inputs, bits, strict=True)))
        try:
            values.append(parser.either())
        except ValueError:
            return None
        if parser.next():
            return None
    return tuple(values)
