"""The tokenizer that a GGUF file describes."""

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.error import CheckpointError
from sim.compiler.tokenizer import Tokenizer

__all__ = ["PRE_TOKENIZERS", "gguf_tokenizer"]

CONTROL, USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type


def _digits_apart():
    return pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])


def _gpt2():
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


#: How text is cut before pairs are merged, by tokenizer.ggml.pre.
PRE_TOKENIZERS = {"smollm": _digits_apart, "gpt-2": _gpt2, "default": _gpt2}


def gguf_tokenizer(path, metadata):
    """Return the `Tokenizer` of a file's metadata.

    Raises
    ------
    CheckpointError
        Metadata that lack, do not fit each other, or ask for a tokenizer that is not supported.
    """

    def refuse(key, what):
        raise CheckpointError(f"{path}: tokenizer.{key} must be {what}")

    def strings(key):
        value = metadata.get(f"tokenizer.{key}")
        if not isinstance(value, list) or not value or not isinstance(value[0], str):
            refuse(key, "a list of strings")
        return value

    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        refuse("ggml.model", f"'gpt2' (byte-level pairs), not {kind!r}")
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        refuse("ggml.pre", f"{', '.join(PRE_TOKENIZERS)}, not {pre!r}")
    tokens, merges = strings("ggml.tokens"), strings("ggml.merges")
    types = metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    if len(set(tokens)) != len(tokens):
        refuse("ggml.tokens", "all different")
    if not isinstance(types, list) or len(types) != len(tokens):
        refuse("ggml.token_type", f"a list of {len(tokens)} numbers, one for each token")

    vocab = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    for pair in pairs:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocab.keys():
            refuse("ggml.merges", f"pairs of tokens that make a token, not {' '.join(pair)!r}")
    result = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    result.pre_tokenizer = PRE_TOKENIZERS[pre]()
    result.decoder = decoders.ByteLevel()
    result.add_special_tokens(_added(tokens, types, CONTROL))
    result.add_tokens(_added(tokens, types, USER_DEFINED))

    special = _special(metadata, tokens, refuse)
    if metadata.get("tokenizer.ggml.add_bos_token") and "bos_token" in special:
        bos = special["bos_token"]
        result.post_processor = processors.TemplateProcessing(
            single=[bos, "$A"], special_tokens=[(bos, vocab[bos])]
        )
    source = metadata.get("tokenizer.chat_template")
    try:
        return Tokenizer(result, chat_template=source and ChatTemplate(source, special))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _added(tokens, types, kind):
    return [
        AddedToken(token, special=kind == CONTROL, normalized=False)
        for token, its in zip(tokens, types, strict=True)
        if its == kind
    ]


def _special(metadata, tokens, refuse):
    """Return the texts of the special tokens, by their names in chat templates."""
    special = {}
    for key, name in (
        ("bos", "bos_token"),
        ("eos", "eos_token"),
        ("unknown", "unk_token"),
        ("padding", "pad_token"),
    ):
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        if number is None:
            continue
        if type(number) is not int or not 0 <= number < len(tokens):
            refuse(f"ggml.{key}_token_id", f"0 to {len(tokens) - 1}, not {number!r}")
        special[name] = tokens[number]
    return special
