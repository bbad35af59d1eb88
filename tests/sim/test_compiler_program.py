"""Programs, memory maps, and models that are refused.

Longer than 400 lines: the table of refused models is long, and reads best as one.
"""

import dataclasses

import numpy as np
import pytest

from hw.spec import isa, layout
from hw.spec.config import ArchConfig
from hw.spec.csr import REGISTERS
from hw.spec.isa import DESTINATIONS, decode
from hw.spec.presets import PRESETS
from hw.spec.tables import ACTIVATIONS
from sim.compiler.compile import compile_model
from sim.compiler.error import CompileError
from sim.compiler.memory_map import EVENTS, REGION_BYTES, REQUESTS, MemoryMap
from sim.compiler.program import allocate
from sim.golden.random_model import random_model, small_shape
from sim.golden.record import Recorder
from sim.golden.transformer import Transformer
from tests.sim.quantised_decoder import quantised_decoder
from tests.sim.random_decoder import FAMILIES

SILENT = ("rope", "head norm", "end")  # operators that write nothing a probe shows
LAYER = ("attention norm", "qkv", "attention", "o", "ffn norm", "glu", "down")


@pytest.fixture(scope="module")
def model():
    print("seed 3")
    return random_model(small_shape(), 3)


@pytest.fixture(scope="module")
def compiled(model):
    return compile_model(model, ArchConfig())


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """A quantised model of each family, compiled."""
    print("seed 4")
    model = quantised_decoder(FAMILIES[request.param], 4)[0]
    return model, compile_model(model, ArchConfig())


def fields(compiled, name):
    return decode(compiled.program[compiled.op_id(name)])[1]


def changed_layer(model, **changes):
    layers = (dataclasses.replace(model.layers[0], **changes), *model.layers[1:])
    return dataclasses.replace(model, layers=layers)


def test_operators_come_in_the_order_of_the_model(compiled):
    layers = [f"layer {index} {name}" for index in range(2) for name in LAYER]
    assert list(compiled.names) == ["embed", "rope", *layers, "final norm", "logits", "end"]
    assert [decode(word)[1]["op_id"] for word in compiled.program] == list(range(19))


def test_names_are_those_of_the_golden_model(family):
    model, compiled = family
    recorder = Recorder()
    transformer = Transformer(model)
    transformer.step([1, 2], transformer.new_cache(), recorder=recorder)
    names = list(dict.fromkeys(output.name for output in recorder.outputs))
    assert names == [name for name in compiled.names if not name.endswith(SILENT)]


def test_only_final_norm_and_head_are_left_out_of_passes_without_token(compiled):
    emit_only = [n for n in compiled.names if fields(compiled, n)["emit_only"]]
    assert emit_only == ["final norm", "logits"]
    assert fields(compiled, "final norm")["emit_rows"] == 1
    assert fields(compiled, "layer 1 ffn norm")["emit_rows"] == 0
    assert fields(compiled, "logits")["emit_rows"] == 1
    assert fields(compiled, "layer 1 down")["emit_rows"] == 0
    assert fields(compiled, "logits")["valid"] == 80


def test_linear_fields_are_those_of_the_sections(compiled, model):
    for index, layer in enumerate(model.layers):
        for name, sections, dest in (
            ("qkv", (layer.q, layer.k, layer.v), "qkv"),
            ("o", (layer.o,), "residual"),
            ("glu", (layer.gate, layer.up), "glu"),
            ("down", (layer.down,), "residual"),
        ):
            word = fields(compiled, f"layer {index} {name}")
            assert word["dest"] == DESTINATIONS[dest]
            assert word["bias"] == 0
            assert word["blocks"] == sections[0].weight.shape[1] // 32
            for n in range(3):
                section = sections[n] if n < len(sections) else None
                assert word[f"strips{n}"] == (len(section.weight) // 32 if section else 0)
                assert word[f"shift1_{n}"] == (section.shift1 if section else 0)
                assert word[f"shift2_{n}"] == (section.shift2 if section else 0)
            strips = sum(len(section.weight) // 32 for section in sections)
            per_strip = (64 + 32 * 32 * word["blocks"]) // 16
            assert word["strip_words"] == per_strip
            assert word["words"] == strips * per_strip


@pytest.mark.parametrize(
    ("cols", "tiles", "share", "turns"), [(4, 2, 16, 1), (16, 4, 16, 2), (32, 4, 32, 4)]
)
def test_words_of_several_tiles_are_those_of_the_fullest_channel(model, cols, tiles, share, turns):
    config = ArchConfig(cols=cols, lanes=4, port_bytes=cols, tiles=tiles)
    compiled = compile_model(model, config)
    for name, strips, blocks in (("layer 0 qkv", 8, 2), ("layer 1 glu", 6, 2), ("logits", 3, 2)):
        word = fields(compiled, name)
        assert word["strip_words"] * cols == 2 * share + share * 32 * blocks
        assert word["words"] == -(-strips // turns) * word["strip_words"]


def test_other_fields_are_those_of_the_model(compiled, model):
    layer = model.layers[1]
    assert fields(compiled, "layer 1 glu")["table_shift"] == layer.table_shift
    assert fields(compiled, "layer 1 glu")["glu_shift"] == layer.glu_shift
    norm = fields(compiled, "layer 1 ffn norm")
    assert (norm["shift"], norm["epsilon"]) == (layer.ffn_norm.shift, layer.ffn_norm.epsilon)
    attention = fields(compiled, "layer 1 attention")
    assert attention["shift"] == layer.score_shift
    assert (attention["kv_heads"], attention["group"], attention["words"]) == (2, 2, 0)
    assert fields(compiled, "embed")["valid"] == model.shape.vocab
    assert fields(compiled, "embed")["shift"] == model.embedding_shift
    assert fields(compiled, "embed")["words"] == layout.embed_row_words(compiled.config, 2)
    assert fields(compiled, "rope")["words"] == layout.rope_row_words(compiled.config, 1)


def test_fields_are_those_of_the_family(family):
    model, compiled = family
    for index, layer in enumerate(model.layers):
        name = f"layer {index} "
        glu = fields(compiled, name + "glu")
        assert glu["activation"] == ACTIVATIONS[layer.activation]
        assert (glu["table_shift"], glu["glu_shift"]) == (layer.table_shift, layer.glu_shift)
        assert glu["strips1"] == (0 if layer.up is None else glu["strips0"])
        assert fields(compiled, name + "attention")["window"] == layer.window
        for operator, linear in (("qkv", layer.k), ("o", layer.o), ("down", layer.down)):
            assert fields(compiled, name + operator)["bias"] == (linear.bias is not None)
        assert fields(compiled, name + "qkv")["head_norm"] == (layer.q_norm is not None)
        assert fields(compiled, name + "o")["head_norm"] == 0
    assert fields(compiled, "logits")["bias"] == (model.head.bias is not None)


def test_head_norm_comes_just_before_its_projection():
    model = quantised_decoder(FAMILIES["qwen3"], 4)[0]
    compiled = compile_model(model, ArchConfig())
    for index, layer in enumerate(model.layers):
        word = fields(compiled, f"layer {index} head norm")
        assert compiled.op_id(f"layer {index} qkv") == word["op_id"] + 1
        assert (word["shift_q"], word["shift_k"]) == (layer.q_norm.shift, layer.k_norm.shift)
        assert word["epsilon_q"] == layer.q_norm.epsilon > 0
        assert word["epsilon_k"] == layer.k_norm.epsilon > 0
        assert word["head_blocks"] == 1
        assert word["words"] * compiled.config.cols == 2 * 2 * 32


@pytest.mark.parametrize("context", [64, 21])
def test_learned_positions_are_added_after_the_embedding(context):
    model = quantised_decoder(FAMILIES["gpt2"], 4)[0]
    compiled = compile_model(model, ArchConfig(), context=context)
    assert compiled.names[:3] == ("embed", "positions", "rope")
    embed, learned = fields(compiled, "embed"), fields(compiled, "positions")
    assert (embed["positions"], learned["positions"]) == (0, 1)
    assert (embed["valid"], learned["valid"]) == (96, context)
    assert learned["shift"] == model.positions_shift
    assert learned["words"] == embed["words"] == layout.embed_row_words(compiled.config, 2)
    assert decode(compiled.program[1])[0] == "embed"


def test_bias_bit_says_that_there_is_a_bias():
    compiled = compile_model(random_model(small_shape(), 3, bias=True), ArchConfig())
    assert fields(compiled, "layer 0 qkv")["bias"] == 1
    assert fields(compiled, "layer 0 glu")["bias"] == 0


@pytest.mark.parametrize(("kv_heads", "local"), [(1, 1), (2, 1), (4, 1), (5, 2)])
def test_page_of_a_channel_holds_its_heads(kv_heads, local):
    model = random_model(small_shape(heads=kv_heads, kv_heads=kv_heads), 3)
    compiled = compile_model(model, ArchConfig(tiles=4))
    stride = layout.head_bytes(compiled.config, 1)
    for name in ("qkv", "attention"):
        word = fields(compiled, f"layer 1 {name}")
        assert (word["kv_offset"], word["head_stride"]) == (local * stride, stride)
    assert 0 <= compiled.memory_map.page_bytes - 2 * local * stride < REGION_BYTES


def test_layers_and_heads_fill_a_page_without_gaps(compiled):
    stride = layout.head_bytes(compiled.config, 1)
    for index in range(2):
        for name in ("qkv", "attention"):
            word = fields(compiled, f"layer {index} {name}")
            assert word["head_stride"] == stride
            assert word["kv_offset"] == index * 2 * stride
            assert word["head_blocks"] == 1


@pytest.mark.parametrize(("heads", "dim", "ffn"), [(4, 64, 96), (1, 256, 64), (8, 32, 512)])
def test_no_operator_writes_what_it_reads(heads, dim, ffn):
    shape = small_shape(heads=heads, kv_heads=1, dim=dim, ffn=ffn)
    at = allocate(shape, ArchConfig())
    sizes = {"h": dim // 32, "q": heads, "mixed": heads, "ffn": ffn // 32}
    for reads, writes in (("h", "q"), ("q", "mixed"), ("h", "ffn")):
        assert at[reads] + sizes[reads] <= at[writes] or at[writes] + sizes[writes] <= at[reads]


@pytest.mark.parametrize(("heads", "dim", "ffn"), [(4, 64, 96), (1, 256, 64), (8, 32, 512)])
def test_activation_memory_must_hold_every_operand(heads, dim, ffn):
    shape = small_shape(heads=heads, kv_heads=1, dim=dim, ffn=ffn)
    at = allocate(shape, ArchConfig())
    sizes = {"h": dim // 32, "q": heads, "mixed": heads, "ffn": ffn // 32}
    needed = max(at[name] + size for name, size in sizes.items())
    assert allocate(shape, ArchConfig(act_blocks=needed)) == at
    with pytest.raises(CompileError, match=f"needs {needed} blocks of activation memory a row"):
        allocate(shape, ArchConfig(act_blocks=needed - 1))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("context", [1, 33, 64])
def test_regions_follow_each_other(model, name, context):
    compiled = compile_model(model, PRESETS[name], context=context)
    m = compiled.memory_map
    edges = [m.image_base, m.image_limit, m.kv_base, m.kv_limit, m.host_base, m.host_limit]
    assert edges == sorted(edges)
    assert not any(edge % REGION_BYTES for edge in edges)
    assert (m.image_limit, m.kv_limit) == (m.kv_base, m.host_base)
    assert m.page_count == -(-context // PRESETS[name].page_len)
    assert m.page_bytes >= layout.page_bytes(PRESETS[name], 1, 2, 2)
    assert m.page_addr(m.page_count - 1) + m.page_bytes == m.kv_limit
    assert m.page_count == m.sequence_pages
    assert m.request_ring_addr >= m.host_base
    assert m.request_ring_addr + 64 * REQUESTS <= m.event_ring_addr
    assert m.event_ring_addr + 32 * EVENTS <= m.prompt_addr(0)
    for place in range(REQUESTS):
        end = m.prompt_addr(place + 1) if place < REQUESTS - 1 else m.host_limit
        assert m.prompt_addr(place) + 4 * context <= m.page_table_addr(place)
        assert m.page_table_addr(place) + 4 * m.sequence_pages <= end
        assert m.prompt_addr(place) % 64 == m.page_table_addr(place) % 64 == 0
    for length in (REQUESTS, EVENTS):
        assert length & (length - 1) == 0
    for place in (-1, REQUESTS):
        with pytest.raises(ValueError, match=f"place must be 0 to {REQUESTS - 1}, not {place}"):
            m.prompt_addr(place)


def test_registers_are_registers_of_the_chip(model, compiled):
    registers = compiled.memory_map.registers()
    assert set(registers) <= set(REGISTERS)
    assert {"program_addr", "image_limit", "host_limit", "event_ring_len"} <= set(registers)
    assert registers["channel_stride"] == 0
    several = compile_model(model, ArchConfig(tiles=2)).memory_map
    registers = several.registers(one_memory=True)
    assert registers["channel_stride"] == several.channel_bytes == several.size_bytes // 2


def test_channels_follow_each_other(model):
    m = compile_model(model, ArchConfig(tiles=4), image_base=0x3000).memory_map
    assert m.size_bytes == 4 * m.channel_bytes
    assert m.channel_bytes == m.host_limit - 0x3000
    assert m.channel_bytes % REGION_BYTES == 0
    assert m.offset(m.kv_base, 3) == 3 * m.channel_bytes + m.offset(m.kv_base)
    assert m.offset(m.kv_base) == m.kv_base - 0x3000


def test_image_base_moves_everything(model, compiled):
    moved = compile_model(model, ArchConfig(), image_base=0x10000)
    for name in compiled.names:
        here, there = fields(compiled, name), fields(moved, name)
        assert there["addr"] == (here["addr"] + 0x10000 if here["words"] else 0)
    assert moved.memory_map.size_bytes == compiled.memory_map.size_bytes


def test_page_must_be_in_the_region(compiled):
    with pytest.raises(ValueError, match="page must be 0 to 0, not 1"):
        compiled.memory_map.page_addr(1)


def test_operator_name_must_be_known(compiled):
    with pytest.raises(
        ValueError, match="operator must be one of embed, rope, .*, not 'layer 9 o'"
    ):
        compiled.op_id("layer 9 o")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"max_dim": 32}, r"dim must be at most max_dim \(32\), not 64"),
        ({"act_blocks": 7}, "needs 8 blocks of activation memory a row, and act_blocks is 7"),
    ],
)
def test_model_must_fit_the_configuration(model, sizes, message):
    with pytest.raises(CompileError, match=message):
        compile_model(model, ArchConfig(**sizes))


def test_head_must_fit_the_configuration():
    with pytest.raises(CompileError, match=r"head_dim must be at most max_head_dim \(32\), not 64"):
        compile_model(random_model(small_shape(head_dim=64), 1), ArchConfig(max_head_dim=32))


def test_heads_of_a_kv_head_must_fit_the_rows():
    model = random_model(small_shape(heads=4, kv_heads=1), 1)
    compile_model(model, ArchConfig(max_rows=4))
    message = r"heads for each KV head must be at most max_rows \(2\), not 4"
    with pytest.raises(CompileError, match=message):
        compile_model(model, ArchConfig(max_rows=2))


@pytest.mark.parametrize("context", [0, 65])
def test_context_must_be_what_the_model_reaches(model, context):
    with pytest.raises(CompileError, match=f"context must be 1 to 64 .*, not {context}"):
        compile_model(model, ArchConfig(), context=context)


def test_context_must_be_what_the_configuration_reaches(model):
    config = ArchConfig(max_context=32, page_len=32)
    assert compile_model(model, config).memory_map.context == 32
    with pytest.raises(CompileError, match="context must be 1 to 32"):
        compile_model(model, config, context=33)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"score_shift": 64}, "layer 0 attention: attention.shift must be 0 to 63, not 64"),
        ({"score_shift": -1}, "layer 0 attention: attention.shift must be 0 to 63, not -1"),
        ({"glu_shift": 64}, "layer 0 glu: linear.glu_shift must be 0 to 63, not 64"),
        ({"table_shift": 18}, "layer 0 table_shift must be 0 to 17, not 18"),
        ({"table_shift": -1}, "layer 0 table_shift must be 0 to 17, not -1"),
        ({"window": -1}, "layer 0 attention: attention.window must be 0 to 4294967295, not -1"),
    ],
)
def test_shifts_must_fit_their_fields(model, what, message):
    with pytest.raises(CompileError, match=message):
        compile_model(changed_layer(model, **what), ArchConfig())


@pytest.mark.parametrize("name", ["shift1", "shift2"])
def test_requantiser_shifts_must_fit_their_fields(model, name):
    o = dataclasses.replace(model.layers[0].o, **{name: 64})
    with pytest.raises(CompileError, match=f"layer 0 o: linear.{name}_0 must be 0 to 63, not 64"):
        compile_model(changed_layer(model, o=o), ArchConfig())


def test_epsilon_must_fit_its_field(model):
    norm = dataclasses.replace(model.final_norm, epsilon=1 << 48)
    with pytest.raises(CompileError, match="final norm: norm.epsilon must be 0 to"):
        compile_model(dataclasses.replace(model, final_norm=norm), ArchConfig())


def test_tensor_must_have_its_shape(model):
    o = dataclasses.replace(model.layers[0].o, weight=np.zeros((64, 96), np.int8))
    message = r"layer 0 o.weight must be int8 of shape \(64, 128\), not int8 of shape \(64, 96\)"
    with pytest.raises(CompileError, match=message):
        compile_model(changed_layer(model, o=o), ArchConfig())


def test_tensor_must_have_its_type(model):
    changed = dataclasses.replace(model, embedding=model.embedding.astype(np.int16))
    with pytest.raises(CompileError, match="embedding must be int8 of shape .*, not int16"):
        compile_model(changed, ArchConfig())


def test_learned_positions_must_be_of_the_context():
    model = quantised_decoder(FAMILIES["gpt2"], 4)[0]
    changed = dataclasses.replace(model, positions=model.positions[:63])
    message = r"positions must be int8 of shape \(64, 64\), not int8 of shape \(63, 64\)"
    with pytest.raises(CompileError, match=message):
        compile_model(changed, ArchConfig())
    changed = dataclasses.replace(model, positions_multiplier=np.zeros(64))
    with pytest.raises(CompileError, match=r"positions_multiplier must be uint16 of shape \(64,\)"):
        compile_model(changed, ArchConfig())


def test_head_norms_must_fit():
    model = quantised_decoder(FAMILIES["qwen3"], 4)[0]
    norm = model.layers[0].k_norm
    with pytest.raises(CompileError, match="layer 0 must have both q_norm and k_norm, or neither"):
        compile_model(changed_layer(model, q_norm=None), ArchConfig())
    short = dataclasses.replace(norm, gain=norm.gain[:31])
    with pytest.raises(CompileError, match=r"layer 0 k_norm.gain must be int16 of shape \(32,\)"):
        compile_model(changed_layer(model, k_norm=short), ArchConfig())
    large = dataclasses.replace(norm, epsilon=1 << 48)
    with pytest.raises(CompileError, match="layer 0 head norm: head_norm.epsilon_k must be 0 to"):
        compile_model(changed_layer(model, k_norm=large), ArchConfig())


def test_activation_must_be_known(model):
    with pytest.raises(CompileError, match="layer 0 activation must be one of silu, .*, not 'elu'"):
        compile_model(changed_layer(model, activation="elu"), ArchConfig())


def test_dim_must_be_whole_blocks(model):
    shape = dataclasses.replace(model.shape, dim=65)
    with pytest.raises(CompileError, match="dim must be a positive multiple of 32, not 65"):
        compile_model(dataclasses.replace(model, shape=shape), ArchConfig())


def test_heads_must_divide(model):
    shape = dataclasses.replace(model.shape, kv_heads=3)
    with pytest.raises(CompileError, match=r"heads must be a multiple of kv_heads \(3\), not 4"):
        compile_model(dataclasses.replace(model, shape=shape), ArchConfig())


def test_memory_must_end_within_32_bit_addresses(model):
    with pytest.raises(CompileError, match=r"memory must end at 0x100000000 .* not 0x1000"):
        compile_model(model, ArchConfig(), image_base=0xFFFF_F000)
    with pytest.raises(CompileError, match="300000 pages of"):
        compile_model(model, ArchConfig(kv_pages=300_000), page_count=300_000)


@pytest.mark.parametrize("page_count", [0, 257])
def test_pages_must_be_those_the_chip_tells_apart(model, page_count):
    message = rf"page_count must be 1 to 256 \(kv_pages\), not {page_count}"
    with pytest.raises(CompileError, match=message):
        compile_model(model, ArchConfig(), page_count=page_count)
    assert compile_model(model, ArchConfig(), page_count=256).memory_map.page_count == 256
    few = ArchConfig(kv_pages=2, page_len=32)
    long = random_model(small_shape(context=128), 3)
    assert compile_model(long, few).memory_map.page_count == 2


def test_memory_may_end_with_the_last_address():
    sizes = {"image_bytes": 4096, "page_bytes": 4096, "page_count": 1, "context": 1}
    sizes |= {"sequence_pages": 1, "vocab": 2}
    base = (1 << 32) - 10 * 4096
    assert MemoryMap(image_base=base, **sizes).host_limit == 1 << 32
    with pytest.raises(CompileError, match="must end"):
        MemoryMap(image_base=base + 4096, **sizes)


def test_image_base_must_be_aligned(model):
    with pytest.raises(CompileError, match="image_base must be a multiple of 4096, not 0x40"):
        compile_model(model, ArchConfig(), image_base=0x40)


@pytest.mark.parametrize("name", isa.OPERATORS)
@pytest.mark.parametrize("edge", ["zeros", "ones", "alternate"])
def test_words_survive_encode_and_decode(name, edge):
    values = {}
    for index, (field, width) in enumerate(isa.fields_of(name)):
        if field != "opcode":
            on = edge == "ones" or edge == "alternate" and index % 2
            values[field] = (1 << width) - 1 if on else 0
    word = isa.encode(name, **values)
    assert len(word) == isa.WORD_BYTES
    decoded, fields = isa.decode(word)
    assert decoded == name
    assert fields == {"opcode": isa.OPERATORS[name].opcode, **values}


@pytest.mark.parametrize(("value", "text"), [(-1, "-1"), (1 << 32, str(1 << 32))])
def test_a_field_refuses_what_it_cannot_hold(value, text):
    with pytest.raises(ValueError, match=f"norm.addr must be 0 to {(1 << 32) - 1}, not {text}"):
        isa.encode("norm", addr=value)


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="operator end has no field blocks"):
        isa.encode("end", blocks=1)
