"""Text to tokens and back, also one token at a time."""

import tokenizers

__all__ = ["TextStream", "Tokenizer"]

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what a decoder makes of half a character


class Tokenizer:
    """A tokenizer of the ``tokenizers`` library.

    Parameters
    ----------
    source : Path or tokenizers.Tokenizer
        Its ``tokenizer.json``, or the library's object itself.
    chat_template : ChatTemplate
        How its model wants to see a conversation; None for a model that only goes on with text.

    Raises
    ------
    ValueError
        A file that the library cannot read.
    """

    def __init__(self, source, chat_template=None):
        self.chat_template = chat_template
        if isinstance(source, tokenizers.Tokenizer):
            self._tokenizer = source
        else:
            try:
                self._tokenizer = tokenizers.Tokenizer.from_file(str(source))
            except Exception as error:  # the library raises nothing more specific
                raise ValueError(f"{source} is not a tokenizer: {error}") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def vocab_size(self):
        """One more than the largest token: what a model's vocabulary must have room for."""
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    def encode(self, text):
        """Return the tokens of a text, with those that the model wants around every text."""
        return self._tokenizer.encode(text).ids

    def encode_chat(self, prompt):
        """Return the tokens of a conversation in which the user has said ``prompt``.

        Without a chat template that is the text alone.

        Raises
        ------
        ValueError
            A chat template that does not work.
        """
        if self.chat_template is None:
            return self.encode(prompt)
        text = self.chat_template.render([{"role": "user", "content": prompt}])
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens):
        """Return the text of tokens, without special tokens."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def token(self, text):
        """Return the token that is exactly ``text``, or None."""
        return self._tokenizer.token_to_id(text)

    def stream(self):
        """Return a new `TextStream`."""
        return TextStream(self)


class TextStream:
    """Decodes a growing sequence of tokens.

    Never returns half of a character: its bytes wait for the tokens that complete it.

    Parameters
    ----------
    tokenizer : Tokenizer
        What decodes.
    """

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        self._shown = []  # tokens already returned, which decoders want to see in front of new ones
        self._pending = []

    def push(self, token):
        """Take one token; return the text that it completes, which may be empty."""
        self._pending.append(token)
        text = self._new_text()
        if not text or text.endswith(UNFINISHED):
            return ""
        self._shown, self._pending = self._pending, []
        return text

    def finish(self):
        """Return what still waits, with a mark in the place of half a character."""
        text = self._new_text()
        self._shown, self._pending = [], []
        return text

    def _new_text(self):
        before = self._tokenizer.decode(self._shown)
        return self._tokenizer.decode(self._shown + self._pending)[len(before) :]
