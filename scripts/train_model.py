"""Train the repository's default model: a Llama of 1 M parameters that writes plain English."""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional

from scripts.texts import austen_books, chapters, excerpt, split_books

ROOT = Path(__file__).resolve().parent.parent

END_OF_TEXT = "<|endoftext|>"
TEXT_BYTES = 60_000  # size of each of the two text files
SAMPLE_PROMPT = "She was"
SAMPLE_TOKENS = 120
SAMPLE_SEED = 1
CONFIG = json.loads((ROOT / "sim/models/default/config.json").read_text())


def train_tokenizer(texts):
    """A byte-level BPE tokenizer: every UTF-8 text is encoded and decoded without loss."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != CONFIG["vocab_size"]:
        msg = f"text must yield {CONFIG['vocab_size']} tokens, not {tokenizer.get_vocab_size()}"
        raise ValueError(msg)
    return tokenizer


def rotate(x, cos, sin):
    """Rotary embedding, half-split convention."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


# The attributes of the modules below yield the tensor names of Hugging Face.


class Attention(nn.Module):
    """Grouped-query attention, causal."""

    def __init__(self):
        super().__init__()
        hidden, self.head_dim = CONFIG["hidden_size"], CONFIG["head_dim"]
        queries = CONFIG["num_attention_heads"] * self.head_dim
        keys = CONFIG["num_key_value_heads"] * self.head_dim
        self.q_proj = nn.Linear(hidden, queries, bias=False)
        self.k_proj = nn.Linear(hidden, keys, bias=False)
        self.v_proj = nn.Linear(hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, hidden, bias=False)

    def forward(self, x, cos, sin):
        q, k, v = (
            proj(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(group, dim=1) for t in (k, v))
        out = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).flatten(-2))


class Mlp(nn.Module):
    """SwiGLU feed-forward."""

    def __init__(self):
        super().__init__()
        hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    """One decoder layer."""

    def __init__(self):
        super().__init__()
        hidden, eps = CONFIG["hidden_size"], CONFIG["rms_norm_eps"]
        self.input_layernorm = nn.RMSNorm(hidden, eps)
        self.self_attn = Attention()
        self.post_attention_layernorm = nn.RMSNorm(hidden, eps)
        self.mlp = Mlp()

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    """Embedding, layers and final norm."""

    def __init__(self):
        super().__init__()
        hidden = CONFIG["hidden_size"]
        self.embed_tokens = nn.Embedding(CONFIG["vocab_size"], hidden)
        self.layers = nn.ModuleList(Layer() for _ in range(CONFIG["num_hidden_layers"]))
        self.norm = nn.RMSNorm(hidden, CONFIG["rms_norm_eps"])
        half = CONFIG["head_dim"] // 2
        turns = CONFIG["rope_theta"] ** (-torch.arange(half) / half)
        angles = torch.arange(CONFIG["max_position_embeddings"])[:, None] * turns
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return self.norm(x)


class Llama(nn.Module):
    """The decoder and its tied head."""

    def __init__(self):
        super().__init__()
        self.model = Decoder()
        depth = (2 * CONFIG["num_hidden_layers"]) ** -0.5
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                std = 0.05 if "embed" in name else weight.shape[1] ** -0.5
                scale = depth if "o_proj" in name or "down_proj" in name else 1.0
                nn.init.normal_(weight, std=std * scale)

    def forward(self, ids):
        return functional.linear(self.model(ids), self.model.embed_tokens.weight)


class Batches:
    """Random windows of the training text.

    Half of the windows begin anywhere. The other half begin at a paragraph, with the end-of-text
    token before it, so that the token serves as a beginning for any text. Every fourth batch has
    windows of the whole context and is as large in tokens, so that all positions are trained.
    """

    def __init__(self, tokenizer, texts, args):
        newline = tokenizer.encode("\n").ids[0]
        ids = [i for text in texts for i in (0, *tokenizer.encode(text).ids)]
        self.ids = torch.tensor(ids)
        self.paragraphs = ((self.ids == 0) | (self.ids == newline)).nonzero().flatten()
        self.batch, self.length = args.batch, args.length
        self.random = torch.Generator().manual_seed(args.seed)

    def draw(self, step):
        """Inputs and targets of one step."""
        factor = CONFIG["max_position_embeddings"] // self.length if step % 4 == 3 else 1
        length, rows = self.length * factor, max(1, self.batch // factor)
        last = len(self.ids) - length - 1
        starts = torch.randint(last, (rows,), generator=self.random)
        picks = torch.randint(len(self.paragraphs), (rows // 2,), generator=self.random)
        starts[: rows // 2] = self.paragraphs[picks].clamp(max=last)
        windows = self.ids[starts[:, None] + torch.arange(length + 1)]
        windows[: rows // 2, 0] = 0
        return windows[:, :-1], windows[:, 1:]


def cross_entropy(model, inputs, targets, reduction="mean"):
    """Cross entropy in nats."""
    logits = model(inputs).float().flatten(0, 1)
    return functional.cross_entropy(logits, targets.flatten(), reduction=reduction)


def learning_rate(step, done, args):
    """Linear warm-up, then a cosine over the fraction `done`, down to a hundredth."""
    cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
    return args.lr * min(cosine, (step + 1) / args.warmup)


def make_optimizer(model, args):
    """AdamW; norms and embedding do not decay."""
    groups = [
        {"params": [weight], "weight_decay": 0.1 if name.endswith("_proj.weight") else 0.0}
        for name, weight in model.named_parameters()
    ]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), fused=True)


@torch.no_grad()
def held_out_loss(model, tokenizer, text, length=256):
    """Nats per token and per byte over consecutive windows, each with only its own context."""
    ids = torch.tensor(tokenizer.encode(text).ids)
    count = (len(ids) - 1) // length
    inputs = ids[: count * length].view(count, length)
    targets = ids[1 : count * length + 1].view(count, length)
    total = sum(
        cross_entropy(model, i, t, "sum").item()
        for i, t in zip(inputs.split(8), targets.split(8), strict=True)
    )
    size = len(tokenizer.decode(targets.flatten().tolist()).encode())
    return total / targets.numel(), total / size


@torch.no_grad()
def sample(model, tokenizer, temperature):
    """Continue the sample prompt, greedily at temperature 0."""
    random = torch.Generator().manual_seed(SAMPLE_SEED)
    ids = [CONFIG["bos_token_id"], *tokenizer.encode(SAMPLE_PROMPT).ids]
    for _ in range(SAMPLE_TOKENS):
        logits = model(torch.tensor([ids]))[0, -1]
        odds = torch.softmax(logits / temperature, -1) if temperature else logits == logits.max()
        ids.append(torch.multinomial(odds.float(), 1, generator=random).item())
    return tokenizer.decode(ids)


def save(model, tokenizer, held_text, step, args):
    """Write the weights, and the figures for the model card, measured with what was written."""
    weights = {name: t.half().contiguous() for name, t in model.state_dict().items()}
    (args.out / "model.safetensors").write_bytes(to_safetensors(weights, {"format": "pt"}))
    stored = copy.deepcopy(model)
    stored.load_state_dict(weights)
    per_token, per_byte = held_out_loss(stored, tokenizer, held_text)
    figures = {
        "steps": step,
        "parameters": sum(p.numel() for p in model.parameters()),
        "held_out_nats_per_token": round(per_token, 4),
        "held_out_nats_per_byte": round(per_byte, 4),
        "sample_prompt": SAMPLE_PROMPT,
        "sample_temperature_0": sample(stored, tokenizer, 0.0),
        "sample_temperature_0.8": sample(stored, tokenizer, 0.8),
        "sample_seed": SAMPLE_SEED,
    }
    (args.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2), flush=True)


def prepare(args):
    """Read the text, write tokenizer, config and text files; returns what training needs."""
    books = [path.read_text().splitlines() for path in args.text] or austen_books()
    train, held = split_books([chapters(book) for book in books])
    args.out.mkdir(parents=True, exist_ok=True)
    args.texts.mkdir(parents=True, exist_ok=True)
    held_text = excerpt(held, TEXT_BYTES)
    (args.texts / "heldout.txt").write_text(held_text)
    (args.texts / "calibration.txt").write_text(excerpt(train, TEXT_BYTES))
    texts = [chapter for book in train for chapter in book]
    tokenizer = train_tokenizer(texts)
    tokenizer.save(str(args.out / "tokenizer.json"))
    (args.out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    return tokenizer, Batches(tokenizer, texts, args), held_text


def train(model, tokenizer, batches, held_text, args):
    """Run all steps, or as many as the time allows, saving on the way."""
    optimizer = make_optimizer(model, args)
    began = saved = now = time.monotonic()
    for step in range(args.steps):
        done = max(step / args.steps, (now - began) / (60 * args.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, done, args)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = cross_entropy(model, *batches.draw(step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        now = time.monotonic()
        if step % 20 == 0:
            speed = (step + 1) * args.batch * args.length / (now - began)
            print(f"step {step} loss {loss.item():.4f}, {speed:.0f} tokens/s", flush=True)
        if now - saved > args.save_every:
            save(model, tokenizer, held_text, step + 1, args)
            saved = time.monotonic()
    save(model, tokenizer, held_text, step + 1, args)


def arguments():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "sim/models/default")
    parser.add_argument("--texts", type=Path, default=ROOT / "sim/models/texts")
    parser.add_argument("--text", type=Path, action="append", default=[], help="a book")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=60, help="end by then, on schedule")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="compute in bfloat16")
    parser.add_argument("--save-every", type=float, default=180, help="seconds")
    return parser.parse_args()


def main():
    """Train."""
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer, batches, held_text = prepare(args)
    print(f"{len(batches.ids)} training tokens")
    train(Llama(), tokenizer, batches, held_text, args)


if __name__ == "__main__":
    main()
