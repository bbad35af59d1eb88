"""The token path in plain Python integers, one number at a time, from `numerics.md` alone.

Shares no code with the golden model: it reads a `QuantisedModel` and the specification.
"""

from fractions import Fraction
from math import erf, exp, floor, pi, sqrt, tanh

BLOCK = 32
EXP = [min(16383, round(16384 * 2 ** (-f / 256))) for f in range(256)]


def tanh_gate(x):
    return (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2


#: For x >= 0, in steps of 1/16 or 1/32; for x < 0 one minus the gate of -x.
GATES = {
    "silu": [round(32768 / (1 + exp(-i / 16))) for i in range(257)],
    "gelu": [round(32768 * (1 + erf(i / 32 / sqrt(2))) / 2) for i in range(257)],
    "gelu_tanh": [round(32768 * tanh_gate(i / 32)) for i in range(257)],
    "relu": [32768] * 257,
}


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


def rms_norm(x, norm, width=20):
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
        result.append(sat(rsh(t * gain, norm.shift), width))
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


def attend(q, keys, values, shift, window=0):
    """Return one head's output: q in blocks, past keys and values in blocks."""
    first = max(0, len(keys) - window) if window else 0
    z = []
    for k in keys[first:]:
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
            seen = zip(p, values[first:], strict=True)
            acc = sum(rsh(pj, em - v[b][0]) * v[b][1][c] for pj, v in seen) * 2**em
            output.append(sat(rsh(rsh(acc, max(sl, 0)) * rc, 31 + min(sl, 0)), 18))
    return output


def gate_of(g, table, shift):
    """Return a gate's value of g, the table's steps ``2**shift`` apart."""
    i, f = divmod(abs(g), 2**shift)
    result = table[i] + (table[i + 1] - table[i]) * f // 2**shift if i < 256 else 32768
    return 32768 - result if g < 0 else result


def feed_forward(h, layer):
    """Return the input of down."""
    gates = linear(h, layer.gate)
    ups = [None] * len(gates) if layer.up is None else linear(h, layer.up)
    result = []
    for g, u in zip(gates, ups, strict=True):
        a = rsh(g * gate_of(g, GATES[layer.activation], layer.table_shift), 15)
        result.append(sat(rsh(a if u is None else a * u, layer.glu_shift), 24))
    return result


def projected(h, matrix, norm, table, size):
    """Return the heads of q or k in blocks."""
    result = []
    for head in heads(linear(h, matrix), size):
        if norm is not None:
            head = rms_norm(head, norm, 18)
        result.append(bq(rope(head, table)))
    return result


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
        if model.positions is not None:
            scale = int(model.positions_multiplier[position])
            row = model.positions[position].tolist()
            learned = [rsh(value * scale, model.positions_shift) for value in row]
            x = [sat(a + b, 32) for a, b in zip(x, learned, strict=True)]
        for index, layer in enumerate(model.layers):
            h = bq(rms_norm(x, layer.attention_norm))
            q = projected(h, layer.q, layer.q_norm, table, shape.head_dim)
            k = projected(h, layer.k, layer.k_norm, table, shape.head_dim)
            v = [bq(head) for head in heads(linear(h, layer.v), shape.head_dim)]
            output = []
            for j in range(shape.kv_heads):
                keys[index][j].append(k[j])
                values[index][j].append(v[j])
            for head in range(shape.heads):
                j = head * shape.kv_heads // shape.heads
                past = keys[index][j], values[index][j]
                output += attend(q[head], *past, layer.score_shift, layer.window)
            y = linear(bq(output), layer.o)
            x = [sat(a + b, 32) for a, b in zip(x, y, strict=True)]
            h = bq(rms_norm(x, layer.ffn_norm))
            y = linear(bq(feed_forward(h, layer)), layer.down)
            x = [sat(a + b, 32) for a, b in zip(x, y, strict=True)]
        result.append(linear(bq(rms_norm(x, model.final_norm)), model.head))
    return result
