"""The tokenizer that a GGUF file describes."""

from math import isfinite

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

from sim.compiler.chat_template import ChatTemplate
from sim.compiler.error import CheckpointError
from sim.compiler.tokenizer import Tokenizer

__all__ = ["PRE_TOKENIZERS", "gguf_tokenizer", "special_token"]

UNDEFINED, NORMAL, UNKNOWN, CONTROL, USER_DEFINED = range(5)  # of tokenizer.ggml.token_type
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # what SentencePiece writes for a space
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # its tokens of single bytes
#: Special tokens by the key of their number: their name in chat templates.
SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
SCORED_NUMBERS = {"bos": 1, "eos": 2, "unknown": 0}  # SentencePiece's, where a file has none

GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
#: The same with capitals, other characters than a space in front, and ``digits`` in a number.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%(digits)d}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(*patterns):
    """Cut at what each pattern finds, what lies between included."""
    cuts = [Split(Regex(pattern), "isolated") for pattern in patterns]
    return Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=False)])


def _gpt2():
    return _split(GPT2_WORDS)


def _digits_apart():
    return Sequence([Digits(individual_digits=True), _gpt2()])


def _llama3():
    return _split(WORDS % {"digits": 3})


def _qwen2():
    return _split(WORDS % {"digits": 1})


def _default():
    return _split(r"[\p{P}\$\+<=>\^~\|]+", GPT2_WORDS, r"\p{N}+", "[0-9][0-9][0-9]")


#: How text is cut before pairs are merged, by tokenizer.ggml.pre.
PRE_TOKENIZERS = {
    "smollm": _digits_apart,
    "gpt-2": _gpt2,
    "llama-bpe": _llama3,
    "llama-v3": _llama3,
    "llama3": _llama3,
    "qwen2": _qwen2,
    "deepseek-r1-qwen": _qwen2,
    "default": _default,
}
LLAMA3 = ("llama-bpe", "llama-v3", "llama3")
COMPOSED = ("qwen2",)  # whose models see characters with their accents in one


def gguf_tokenizer(path, metadata):
    """Return the `Tokenizer` of a file's metadata.

    Raises
    ------
    CheckpointError
        Metadata that are missing, do not fit each other, or ask for a tokenizer that is not
        supported.
    """
    fields = _Fields(path, metadata)
    kind = fields.get("model")
    if kind not in KINDS:
        fields.refuse(
            "model", f"'gpt2' (byte-level pairs) or 'llama' (SentencePiece pairs), not {kind!r}"
        )
    tokens = fields.list("tokens", str)
    types = fields.list("token_type", int, len(tokens), [NORMAL] * len(tokens))
    if len(set(tokens)) != len(tokens):
        fields.refuse("tokens", "all different")
    special = _special(fields, metadata, tokens)
    result, begins = KINDS[kind](fields, tokens, types)
    result.add_special_tokens(_added(tokens, types, (CONTROL, UNKNOWN)))
    result.add_tokens(_added(tokens, types, (USER_DEFINED,)))
    begin, end = _ends(fields, special, "bos", begins), _ends(fields, special, "eos", False)
    if begin or end:
        result.post_processor = processors.TemplateProcessing(
            single=[*begin, "$A", *end],
            special_tokens=[(token, result.token_to_id(token)) for token in {*begin, *end}],
        )
    source = metadata.get("tokenizer.chat_template")
    try:
        return Tokenizer(result, chat_template=source and ChatTemplate(source, special))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def special_token(metadata, key):
    """Return the number of a special token of `SPECIAL`, or None where there is none."""
    scored = metadata.get("tokenizer.ggml.model") == "llama"
    default = SCORED_NUMBERS.get(key) if scored else None
    return metadata.get(f"tokenizer.ggml.{key}_token_id", default)


class _Fields:
    """The metadata that begin with tokenizer.ggml."""

    def __init__(self, path, metadata):
        self._path, self._metadata = path, metadata

    def refuse(self, key, what):
        raise CheckpointError(f"{self._path}: tokenizer.ggml.{key} must be {what}")

    def get(self, key, default=None):
        return self._metadata.get(f"tokenizer.ggml.{key}", default)

    def flag(self, key, default):
        value = self.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, f"true or false, not {value!r}")
        return value

    def list(self, key, kind, count=None, default=None):
        """Return a list of one kind, of ``count`` or else of at least one."""
        value = self.get(key, default)
        fits = isinstance(value, list) and value and type(value[0]) is kind
        if not fits or count not in (None, len(value)):
            name = {str: "strings", int: "integers", float: "real numbers"}[kind]
            many = "" if count is None else f"{count} "
            self.refuse(key, f"a list of {many}{name}" + (count is not None) * ", one a token")
        return value


def _byte_pairs(fields, tokens, _types):
    """Byte-level pairs, as GPT-2 made them: return (tokenizer, whether texts get a begin token)."""
    pre, merges = fields.get("pre", "default"), fields.list("merges", str)
    if pre not in PRE_TOKENIZERS:
        fields.refuse("pre", f"{', '.join(PRE_TOKENIZERS)}, not {pre!r}")
    vocab = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    for pair in pairs:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocab.keys():
            fields.refuse("merges", f"pairs of tokens that make a token, not {' '.join(pair)!r}")
    model = models.BPE(vocab=vocab, merges=pairs, ignore_merges=pre in LLAMA3)
    result = tokenizers.Tokenizer(model)
    if pre in COMPOSED:
        result.normalizer = normalizers.NFC()
    result.pre_tokenizer = PRE_TOKENIZERS[pre]()
    result.decoder = decoders.ByteLevel()
    return result, pre in LLAMA3


def _scored_pairs(fields, tokens, types):
    """SentencePiece's pairs: return (tokenizer, whether texts get a begin token)."""
    scores = fields.list("scores", float, len(tokens))
    if not all(map(isfinite, scores)):
        fields.refuse("scores", "finite")
    vocab = {token: number for number, token in enumerate(tokens)}
    absent = next((byte for byte in BYTES if byte not in vocab), None)
    if absent:
        fields.refuse("tokens", f"a list with {BYTES[0]} to {BYTES[-1]}, not without {absent}")
    pairs = _pairs(tokens, scores, types)
    made = {scores[vocab["".join(pair)]] for pair in pairs}
    if len(pairs) > 1 and len(made) == 1:  # what converters write that do not know the scores
        fields.refuse("scores", f"the order of the merges, not all {made.pop()}")
    result = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=pairs, byte_fallback=True))
    in_front = fields.flag("add_space_prefix", True)
    spaces = normalizers.Replace(" ", SPACE)
    result.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if in_front else spaces
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    result.decoder = decoders.Sequence(steps + in_front * [decoders.Strip(" ", 1, 0)])
    return result, True


KINDS = {"gpt2": _byte_pairs, "llama": _scored_pairs}


def _pairs(tokens, scores, types):
    """Return the pairs of tokens that make a token, those with the best score first."""
    plain = (UNDEFINED, NORMAL, USER_DEFINED)
    parts = {token for token, its in zip(tokens, types, strict=True) if its in plain}
    found = []
    for number, (token, score) in enumerate(zip(tokens, scores, strict=True)):
        if token in parts:
            for cut in range(1, len(token)):
                if token[:cut] in parts and token[cut:] in parts:
                    found.append((-score, number, cut))
    return [(tokens[number][:cut], tokens[number][cut:]) for _, number, cut in sorted(found)]


def _added(tokens, types, kinds):
    return [
        AddedToken(token, special=its != USER_DEFINED, normalized=False)
        for token, its in zip(tokens, types, strict=True)
        if its in kinds
    ]


def _ends(fields, special, key, default):
    """Return [the token that every text gets], or []: as the file or its kind of tokenizer says."""
    if not fields.flag(f"add_{key}_token", default):
        return []
    if SPECIAL[key] not in special:
        fields.refuse(f"{key}_token_id", f"there, as add_{key}_token is true")
    return [special[SPECIAL[key]]]


def _special(fields, metadata, tokens):
    """Return the texts of the special tokens, by their names in chat templates."""
    special = {}
    for key, name in SPECIAL.items():
        number = special_token(metadata, key)
        if number is None:
            continue
        if type(number) is not int or not 0 <= number < len(tokens):
            fields.refuse(f"{key}_token_id", f"0 to {len(tokens) - 1}, not {number!r}")
        special[name] = tokens[number]
    return special
