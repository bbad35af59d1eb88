"""Chat templates: how a model wants to see a conversation."""

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["ChatTemplate"]


class ChatTemplate:
    """The template that comes with a checkpoint, run in a sandbox: a checkpoint is only data.

    Parameters
    ----------
    source : str
        In Jinja's language.
    special : dict
        Texts of special tokens that it may use, such as ``bos_token``.

    Raises
    ------
    ValueError
        Not a template.
    """

    def __init__(self, source, special=None):
        if not isinstance(source, str):
            raise ValueError(f"the chat template must be a text, not {type(source).__name__}")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise ValueError(f"the chat template is not one: {error}") from None
        self._special = dict(special or {})

    def render(self, messages, *, answer=True):
        """Return the text of a conversation.

        Parameters
        ----------
        messages : list of dict
            Each with ``role`` and ``content``.
        answer : bool
            Whether the text ends with the beginning of the model's answer.

        Raises
        ------
        ValueError
            A conversation that the template refuses, or a template that does not work.
        """
        try:
            return self._template.render(
                messages=messages, add_generation_prompt=answer, **self._special
            )
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError) as error:
            raise ValueError(f"the chat template does not work: {error}") from None


def _refuse(message):
    raise jinja2.TemplateError(message)
