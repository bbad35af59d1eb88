"""The token path in plain Python integers, one number at a time, from `numerics.md` alone.

Shares no code with the golden model: it reads a `QuantisedModel` and the specification.
"""

from fractions import Fraction
from math import exp, floor

BLOCK = 32
EXP = [min(16383, round(16384 * 2 ** (-f / 256))) for f in range(256)]
SIG = [round(32768 / (1 + exp(-i / 16))) for i in range(257)]


def rsh(x, s):
    if s <= 0:
        return x * 2**-s
    return floor(Fraction(x, 2**s) + Fraction(1, 2))


def sat(x, b):
    top = 2 ** (b - 1) - 1
    return max(-top, min(top, x))


def orm(v):
    result = 0
    for x in v:
        result |= ~x if x < 0 else x
    return result


def bq(v):
    """Return the blocks of v as (e, [q, ...])."""
    blocks = []
    for at in range(0, len(v), BLOCK):
        block = v[at : at + BLOCK]
        e = max(0, orm(block).bit_length() - 7)
        blocks.append((e, [sat(rsh(x, e), 8) for x in block]))
    return blocks


def dot(blocks, weights):
    total = 0
    for b, (e, q) in enumerate(blocks):
        total += sum(x * w for x, w in zip(q, weights[b * BLOCK :], strict=False)) * 2**e
    assert abs(total) < 2**47
    return total


def linear(blocks, matrix):
    result = []
    for n, row in enumerate(matrix.weight.tolist()):
        y = rsh(rsh(dot(blocks, row), matrix.shift1) * int(matrix.multiplier[n]), matrix.shift2)
        if matrix.bias is not None:
            y += int(matrix.bias[n])
        result.append(sat(y, matrix.out_width))
    return result


def rms_norm(x, norm):
    sh = max(0, orm(x).bit_length() - 15)
    xs = [sat(rsh(value, sh), 16) for value in x]
    v = max(1, sum(value * value for value in xs) + (norm.epsilon >> (2 * sh)))
    sv = v.bit_length() - 16
    if sv % 2:
        sv += 1
    u = v // 2**sv if sv >= 0 else v * 2**-sv
    r = 0
    for bit in reversed(range(17)):
        if (r + 2**bit) ** 2 * u <= 2**46:
            r += 2**bit
    result = []
    for value, gain in zip(xs, norm.gain.tolist(), strict=True):
        t = sat(rsh(value * r, 6 + sv // 2), 19)
        result.append(sat(rsh(t * gain, norm.shift), 20))
    return result


def rope(head, table):
    result = []
    for i, (c, s) in enumerate(table.tolist()):
        a, b = head[2 * i], head[2 * i + 1]
        result.append(sat(rsh(a * c - b * s, 14), 18))
        result.append(sat(rsh(a * s + b * c, 14), 18))
    return result


def heads(v, size):
    return [v[at : at + size] for at in range(0, len(v), size)]


def attend(q, keys, values, shift):
    """Return one head's output: q in blocks, past keys and values in blocks."""
    z = []
    for k in keys:
        total = 0
        for (eq, qq), (ek, kk) in zip(q, k, strict=True):
            total += sum(a * b for a, b in zip(qq, kk, strict=True)) * 2 ** (eq + ek)
        z.append(sat(rsh(total, shift), 24))
    m = max(z)
    p = [rsh(EXP[(m - zj) % 256], (m - zj) // 256) if (m - zj) // 256 < 15 else 0 for zj in z]
    total = sum(p)
    sl = total.bit_length() - 16
    lu = total // 2**sl if sl >= 0 else total * 2**-sl
    rc = 2**31 // lu
    output = []
    for b in range(len(q)):
        em = max(v[b][0] for v in values)
        for c in range(BLOCK):
            acc = sum(rsh(pj, em - v[b][0]) * v[b][1][c] for pj, v in zip(p, values, strict=True))
            acc *= 2**em
            output.append(sat(rsh(rsh(acc, max(sl, 0)) * rc, 31 + min(sl, 0)), 18))
    return output


def sigmoid(g, fraction):
    a = abs(g)
    if a >= 16 << fraction:
        result = 32768
    else:
        i, f = divmod(a, 2 ** (fraction - 4))
        result = SIG[i] + (SIG[i + 1] - SIG[i]) * f // 2 ** (fraction - 4)
    return 32768 - result if g < 0 else result


def logits_of(model, tokens):
    """Return the logits after every token, computed token by token with a KV cache."""
    shape = model.shape
    keys = [[[] for _ in range(shape.kv_heads)] for _ in model.layers]
    values = [[[] for _ in range(shape.kv_heads)] for _ in model.layers]
    result = []
    for position, token in enumerate(tokens):
        table = model.rope[position]
        scale = int(model.embedding_multiplier[token])
        row = model.embedding[token].tolist()
        x = [rsh(value * scale, model.embedding_shift) for value in row]
        for index, layer in enumerate(model.layers):
            h = bq(rms_norm(x, layer.attention_norm))
            q = [bq(rope(head, table)) for head in heads(linear(h, layer.q), shape.head_dim)]
            k = [bq(rope(head, table)) for head in heads(linear(h, layer.k), shape.head_dim)]
            v = [bq(head) for head in heads(linear(h, layer.v), shape.head_dim)]
            output = []
            for j in range(shape.kv_heads):
                keys[index][j].append(k[j])
                values[index][j].append(v[j])
            for head in range(shape.heads):
                j = head * shape.kv_heads // shape.heads
                output += attend(q[head], keys[index][j], values[index][j], layer.score_shift)
            y = linear(bq(output), layer.o)
            x = [sat(a + b, 32) for a, b in zip(x, y, strict=True)]
            h = bq(rms_norm(x, layer.ffn_norm))
            a = []
            for g, u in zip(linear(h, layer.gate), linear(h, layer.up), strict=True):
                silu = rsh(g * sigmoid(g, layer.gate_fraction), 15)
                a.append(sat(rsh(silu * u, layer.glu_shift), 24))
            y = linear(bq(a), layer.down)
            x = [sat(a + b, 32) for a, b in zip(x, y, strict=True)]
        result.append(linear(bq(rms_norm(x, model.final_norm)), model.head))
    return result
