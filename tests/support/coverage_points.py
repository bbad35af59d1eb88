"""The cover points and crosses, as cocotb-coverage has them; see `tests.support.coverage`."""

from cocotb_coverage.coverage import CoverCross, CoverPoint

from hw.spec import isa
from hw.spec.csr import ERRORS
from hw.spec.tables import ACTIVATIONS
from tests.support import coverage

__all__ = [
    "edge",
    "error",
    "handshake",
    "note_session",
    "number",
    "operator",
    "run",
    "shape",
    "stream",
]

SIDES = list(coverage.SIDES)
STALLS = list(coverage.STALLS)
PAIRS = coverage.units()

#: Errors of `hw.spec.csr.ERRORS` by whose they are.
CHIP_ERRORS = (
    "bad_opcode", "bad_field", "bad_address", "axi_slverr", "axi_decerr", "watchdog", "bad_request",
    "busy_start", "memory_parity",
)  # fmt: skip
REQUEST_ERRORS = ("bad_request", "bad_page", "bad_token", "page_miss", "too_long")
DESTINATIONS = [f"linear {name}" for name in isa.DESTINATIONS]
OPERATORS = [*(name for name in isa.OPERATORS if name != "linear"), *DESTINATIONS]
#: The end of an operator's name in a program, to what it is.
NAMED = {
    "embed": "embed", "positions": "embed", "rope": "rope", "norm": "norm",
    "qkv": "linear qkv", "attention": "attention", "o": "linear residual",
    "down": "linear residual", "glu": "linear glu", "logits": "linear logits",
}  # fmt: skip
MODES = ["prompt", "one token", "several sequences"]
TILES = [1, 2, 4]
#: How the simulated memory answers: as it does when nothing is asked of it, or otherwise.
MEMORIES = ["as it is", "stalled"]
#: Errors that a run of an operator can end with; the others come before any operator.
AT_WORK = ("bad_field", "bad_address", "axi_slverr", "axi_decerr", "watchdog", "memory_parity")


@CoverPoint("streams.unit and side", vname="pair", bins=[" ".join(pair) for pair in PAIRS])
@CoverPoint("streams.stall", vname="stall", bins=STALLS)
@CoverCross("streams.units x stalls", items=["streams.unit and side", "streams.stall"])
def _stream(pair, stall):
    """Note a stream of a bench."""


def stream(unit, side, stall):
    """Note that the bench of a unit sends or takes with a stall pattern."""
    _stream(f"{unit} {side}", stall)


@CoverPoint("shapes.side", vname="side", bins=SIDES)
@CoverPoint("shapes.kind", vname="kind", bins=list(coverage.KINDS))
@CoverPoint("shapes.stall", vname="stall", bins=STALLS)
@CoverCross("shapes.shapes x stalls", items=["shapes.side", "shapes.kind", "shapes.stall"])
def shape(side, kind, stall):
    """Note a shape of payloads, and how they are stalled."""


@CoverPoint("numbers.side", vname="side", bins=SIDES)
@CoverPoint("numbers.sign", vname="sign", bins=["signed", "unsigned"])
@CoverPoint("numbers.width", vname="width", bins=list(coverage.WIDTHS))
@CoverPoint("numbers.edge", vname="edge", bins=list(coverage.EDGES))
@CoverCross(
    "numbers.shapes x edges",
    items=["numbers.side", "numbers.sign", "numbers.width", "numbers.edge"],
    ign_bins=[
        (side, "unsigned", width, place)
        for side in SIDES
        for width in coverage.WIDTHS
        for place in ("lowest", "minus one")  # the lowest is zero
    ],
)
def number(side, sign, width, edge):
    """Note a number at an edge of its range."""


@CoverPoint("edges.side", vname="side", bins=SIDES)
@CoverPoint("edges.kind", vname="kind", bins=list(coverage.KINDS))
@CoverPoint("edges.stall", vname="stall", bins=STALLS)
@CoverPoint("edges.edge", vname="edge", bins=list(coverage.EDGES))
@CoverCross(
    "edges.shapes x stalls x edges",
    items=["edges.side", "edges.kind", "edges.stall", "edges.edge"],
)
def edge(side, kind, stall, edge):
    """Note a number at an edge of its range, in what shape it is, and how that is stalled."""


@CoverPoint("handshakes.unit", vname="unit", bins=coverage.watched())
@CoverPoint("handshakes.state", vname="state", bins=["moved", "held", "moved again"])
@CoverCross("handshakes.units x states", items=["handshakes.unit", "handshakes.state"])
def handshake(unit, state):
    """Note what an output of a unit did that `obeys_rules` watches."""


@CoverPoint("operators.operator", vname="operator", bins=OPERATORS)
@CoverPoint("operators.mode", vname="mode", bins=MODES)
@CoverPoint("operators.tiles", vname="tiles", bins=TILES)
@CoverPoint("operators.memory", vname="memory", bins=MEMORIES)
@CoverCross(
    "operators.operators x modes x tiles",
    items=["operators.operator", "operators.mode", "operators.tiles"],
)
@CoverCross("operators.operators x memories", items=["operators.operator", "operators.memory"])
def operator(operator, mode, tiles, memory):
    """Note an operator that a chip ran."""


@CoverPoint("models.activation", vname="activation", bins=list(ACTIVATIONS))
@CoverPoint("models.window", vname="window", bins=[False, True])
@CoverPoint("models.gated", vname="gated", bins=[False, True])
@CoverPoint("models.head norm", vname="head_norm", bins=[False, True])
@CoverPoint("models.bias", vname="bias", bins=[False, True])
@CoverPoint("models.group", vname="group", bins=["1", "2 or more"])
@CoverPoint("models.positions", vname="positions", bins=["rope", "learned"])
def layer(activation, window, gated, head_norm, bias, group, positions):
    """Note what is special in a layer of a model that a chip ran."""


@CoverPoint("runs.drawn", vname="drawn", bins=["greedy", "sampled", "top k"])
@CoverPoint("runs.end", vname="end", bins=["end", "cancelled"])
@CoverPoint("runs.prefix", vname="prefix", bins=[False, True])
@CoverPoint("runs.report", vname="report", bins=[False, True])
@CoverCross("runs.drawn x report", items=["runs.drawn", "runs.report"])
def run(drawn, end, prefix, report):
    """Note a request that a chip ended."""


@CoverPoint("errors.of a chip", vname="cause", bins=list(CHIP_ERRORS))
@CoverPoint(
    "errors.operator",
    xf=lambda cause, name: NAMED.get(name.rsplit(" ", 1)[-1]),
    bins=list(dict.fromkeys(NAMED.values())),
)
@CoverCross(
    "errors.causes x operators",
    items=["errors.of a chip", "errors.operator"],
    ign_bins=[
        (cause, operator)
        for cause in CHIP_ERRORS
        if cause not in AT_WORK
        for operator in dict.fromkeys(NAMED.values())
    ],
)
def _chip_error(cause, name):
    """Note an error that ends a run, and the name of the operator that was at work."""


@CoverPoint("errors.of a request", vname="cause", bins=list(REQUEST_ERRORS))
def _request_error(cause):
    """Note an error that ends a request."""


def error(cause, operator):
    """Note an error of a chip while an operator ran, or of a request (``operator`` is None)."""
    if cause not in ERRORS:
        raise ValueError(f"cause must be one of {', '.join(ERRORS)}, not {cause!r}")
    if operator is None:
        _request_error(cause)
    else:
        _chip_error(cause, operator)


def note_session(session):
    """Note operators, layers and requests of a `Session` that ran."""
    config, compiled = session.compiled.config, session.compiled
    done = [
        (request, result)
        for request, result in zip(session.requests, session.results, strict=True)
        if result is not None and result.kind in ("end", "cancelled")
    ]
    modes = set()
    if any(len(request.prompt) > 1 for request, _ in done):
        modes.add("prompt")
    if any(len(result.tokens) > 1 for _, result in done):
        modes.add("one token")
    if len(done) > 1:
        modes.add("several sequences")
    names = {code: name for name, code in isa.DESTINATIONS.items()}
    kinds = {step.operator for step in compiled.steps}
    learned = any(s.operator == "embed" and s.fields.get("positions") for s in compiled.steps)
    for step in compiled.steps:
        what = step.operator
        if what == "linear":
            what = f"linear {names[int(step.fields['dest'])]}"
        for mode in modes:
            operator(what, mode, config.tiles, MEMORIES[bool(session.timing.options)])
    activations = {code: name for name, code in ACTIVATIONS.items()}
    linears = [s for s in compiled.steps if s.operator == "linear"]
    windows = [s for s in compiled.steps if s.operator == "attention"]
    for step in linears:
        if names[int(step.fields["dest"])] != "glu":
            continue
        for attention in windows:
            layer(
                activations[int(step.fields["activation"])],
                bool(attention.fields["window"]),
                bool(step.fields.get("strips1")),
                "head_norm" in kinds,
                any(bool(one.fields["bias"]) for one in linears),
                "1" if compiled.shape.group == 1 else "2 or more",
                "learned" if learned else "rope",
            )
    for request, result in done:
        greedy = not request.temperature
        drawn = "greedy" if greedy else "sampled" if request.top_k is None else "top k"
        run(drawn, result.kind, bool(request.prefix), bool(request.report))
