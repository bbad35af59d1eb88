"""Choice of a token: one of the largest logits of a row, drawn by its probability."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .ecp5.mult18x18d import Mult18x18d
from .lib.arithmetic import round_half, with_half
from .lib.pipeline import Pipeline
from .random_threshold import RandomThreshold
from .spec.formats import EXP_LUT_LEN, PROB_WIDTH, RESIDUAL_WIDTH, SCORE_FRACTION
from .spec.sampling import RANDOM_WIDTH, TEMPERATURE_MULTIPLIER_WIDTH, TEMPERATURE_SHIFT_WIDTH
from .spec.tables import exp_table
from .top_candidates import TopCandidates

__all__ = ["Sampler", "sampler_job_layout"]

_PART = 16  # bits of a depth that one multiplier takes
_OCTAVES = 15  # a logit this many octaves below the largest has probability 0


def sampler_job_layout(*, max_rows, list_len):
    """Return the layout of what is asked of a row."""
    return data.StructLayout({
        "row": range(max_rows),
        "top_k": range(list_len + 1),
        "report_count": range(list_len + 1),
        "multiplier": unsigned(TEMPERATURE_MULTIPLIER_WIDTH),
        "shift": unsigned(TEMPERATURE_SHIFT_WIDTH),
        "seed": unsigned(RANDOM_WIDTH),
        "position": unsigned(RANDOM_WIDTH),
    })


class Sampler(wiring.Component):
    """Collect the largest logits of each row and draw one: ``sim.golden.sampler.sample``.

    Parameters
    ----------
    lanes, max_rows, list_len, max_vocab : int
        As of `TopCandidates`.

    Members
    -------
    i_logits : In(stream of logits_layout)
        As of `TopCandidates`.
    i_job : In(stream of sampler_job_layout)
        Asks for a row's token; taken when no beat is inside. ``top_k``: candidates to draw from, 1
        to ``list_len``; with 1 the token is that of the largest logit, and the fields below mean
        nothing. ``report_count``: candidates to report, 0 to ``list_len``. ``multiplier``,
        ``shift``: ``sim.golden.sampler.temperature_scale`` of the temperature. ``seed``;
        ``position``: that of the token to choose.
    o_token : Out(stream of {row, token})
        A token for each job. 0 where the row had no valid logit.
    o_candidate : Out(stream of candidate_layout)
        The first ``report_count`` candidates of a job's row, before its token. ``last``: the last
        of the job.
    busy : Out(1)
        Beats or a job are inside.

    Timing
    ------
    Beats are taken as by `TopCandidates`. The token of a job is offered ``job_cycles`` cycles
    after it while ``o_candidate`` is taken at once. The next job is taken the cycle after the
    token.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a candidate to the sum of probabilities that its own is part of.
    SUM_LATENCY = 9 + Mult18x18d.LATENCY

    def __init__(self, *, lanes, max_rows, list_len, max_vocab=1 << 20):
        self.candidates = TopCandidates(
            lanes=lanes, max_rows=max_rows, list_len=list_len, max_vocab=max_vocab
        )
        sum_width = (((1 << PROB_WIDTH) - 1) * list_len).bit_length()
        self.threshold = RandomThreshold(total_width=sum_width)
        self.max_rows = max_rows
        self.list_len = list_len
        self.max_vocab = max_vocab
        job = sampler_job_layout(max_rows=max_rows, list_len=list_len)
        token = data.StructLayout({"row": range(max_rows), "token": range(max_vocab)})
        super().__init__({
            "i_logits": In(self.candidates.i_logits.signature.flip()),
            "i_job": In(stream.Signature(job)),
            "o_token": Out(stream.Signature(token)),
            "o_candidate": Out(self.candidates.o_candidate.signature),
            "busy": Out(1),
        })

    def job_cycles(self, top_k, report_count, *, stores=False):
        """Cycles from a job to the offer of its token.

        ``stores``: the row is that of the last beat that changed a list.
        """
        begin = TopCandidates.READ_LATENCY + stores * (self.candidates.switch_cycles - 1)
        read = begin + max(top_k, report_count)
        if top_k == 1:
            return read
        summed = begin + top_k - 1 + self.SUM_LATENCY
        drawn = max(read, summed, RandomThreshold.KEY_CYCLES) + RandomThreshold.LATENCY
        return drawn + 2 * exact_log2(self.list_len)

    def elaborate(self, platform):
        m = Module()
        m.submodules.candidates = candidates = self.candidates
        m.submodules.threshold = threshold = self.threshold
        sum_shape = threshold.i_total.payload.shape()
        job = Signal(self.i_job.p.shape())
        candidate = candidates.o_candidate
        read = candidates.i_read
        taken = Signal()
        reports = Signal()
        summed = Signal()
        chosen = Signal(range(self.list_len))
        half = Signal(range(self.list_len))
        place = Signal(range(self.list_len))
        follows = Signal()  # the token, after the candidates before `place`

        connect(m, flipped(self.i_logits), candidates.i_logits)
        m.d.comb += [
            read.p.row.eq(self.i_job.p.row),
            read.p.count.eq(
                Mux(
                    self.i_job.p.top_k > self.i_job.p.report_count,
                    self.i_job.p.top_k,
                    self.i_job.p.report_count,
                )
            ),
            threshold.i_key.p.seed.eq(self.i_job.p.seed),
            threshold.i_key.p.position.eq(self.i_job.p.position),
            reports.eq(candidate.p.rank < job.report_count),
            self.o_candidate.p.eq(candidate.p),
            self.o_candidate.p.last.eq(candidate.p.rank == job.report_count - 1),
            self.o_candidate.valid.eq(candidate.valid & reports),
            candidate.ready.eq(~reports | self.o_candidate.ready),
            taken.eq(candidate.valid & candidate.ready),
        ]

        # What is drawn from lies in small memories: the tokens, and the sums of probabilities.
        m.submodules.tokens = tokens = memory.Memory(
            shape=range(self.max_vocab), depth=self.list_len, init=[]
        )
        m.submodules.sums = sums = memory.Memory(shape=sum_shape, depth=self.list_len, init=[])
        token_write, token_read = tokens.write_port(), tokens.read_port(domain="comb")
        sum_write, sum_read = sums.write_port(), sums.read_port(domain="comb")
        m.d.comb += [
            token_write.en.eq(taken),
            token_write.addr.eq(candidate.p.rank),
            token_write.data.eq(candidate.p.index),
            token_read.addr.eq(chosen),
            self.o_token.p.row.eq(job.row),
            self.o_token.p.token.eq(token_read.data),
        ]
        valid, rank, last, total = self._sum(m, job, candidate.p, taken, sum_shape)
        m.d.comb += [
            sum_write.en.eq(valid),
            sum_write.addr.eq(rank + 1),  # of those before the next
            sum_write.data.eq(total),
            place.eq(chosen | half),
            sum_read.addr.eq(place),
        ]
        with m.If(valid & last):
            m.d.sync += [threshold.i_total.payload.eq(total), summed.eq(1)]

        m.d.comb += self.busy.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    self.busy.eq(candidates.busy),
                    read.valid.eq(self.i_job.valid),
                    self.i_job.ready.eq(read.ready),
                    # The last number was drawn long ago: it is ready.
                    threshold.i_key.valid.eq(
                        self.i_job.valid & read.ready & (self.i_job.p.top_k != 1)
                    ),
                ]
                m.d.sync += [
                    job.eq(self.i_job.p),
                    summed.eq(0),
                    chosen.eq(0),
                    half.eq(self.list_len // 2),
                ]
                with m.If(self.i_job.valid & read.ready):
                    m.next = "GATHER"
            with m.State("GATHER"):
                with m.If(taken & candidate.p.last):
                    m.next = "DRAW"
                    with m.If(job.top_k == 1):
                        m.next = "OFFER"
            with m.State("DRAW"):
                m.d.comb += threshold.i_total.valid.eq(summed)
                with m.If(summed & threshold.i_total.ready):
                    m.next = "SEARCH"
            with m.State("SEARCH"):
                # As many candidates come before the token as have sums up to the threshold.
                m.d.sync += follows.eq(
                    (place < job.top_k) & (sum_read.data <= threshold.o_threshold.payload)
                )
                with m.If(threshold.o_threshold.valid):
                    m.next = "HALVE"
            with m.State("HALVE"):
                m.d.sync += half.eq(half >> 1)
                m.next = "SEARCH"
                with m.If(follows):
                    m.d.sync += chosen.eq(place)
                with m.If(half == 1):
                    m.d.comb += threshold.o_threshold.ready.eq(1)
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_token.valid.eq(1)
                with m.If(self.o_token.ready):
                    m.next = "IDLE"
        return m

    def _sum(self, m, job, candidate, taken, sum_shape):
        """Return (valid, rank, last, sum) of probabilities, a cycle before the sum is in use."""
        pipe = Pipeline(m)

        def carry(sides, name):
            return tuple(pipe.hold(side, f"{name}_{i}") for i, side in enumerate(sides))

        # Subtract from the largest.
        first = candidate.rank == 0
        best = Signal(signed(RESIDUAL_WIDTH))
        with m.If(taken & first):
            m.d.sync += best.eq(candidate.value)
        depth = pipe.hold(Mux(first, 0, best - candidate.value), "depth", unsigned(RESIDUAL_WIDTH))
        # A job that draws nothing may end before its sum would.
        valid = taken & (candidate.rank < job.top_k) & (job.top_k != 1)
        valid = pipe.valid(valid, "depth_valid")
        rank, last, seen = carry(
            (candidate.rank, candidate.rank == job.top_k - 1, candidate.found), "depth_side"
        )

        # Multiply by the temperature's scale, half by half.
        partial = []
        for name, half in (("depth_low", depth[:_PART]), ("depth_high", depth[_PART:])):
            m.submodules[name] = multiplier = Mult18x18d(
                a_width=RESIDUAL_WIDTH - _PART + 1, b_width=TEMPERATURE_MULTIPLIER_WIDTH + 1
            )
            m.d.comb += [multiplier.a.eq(half), multiplier.b.eq(job.multiplier)]
            partial.append(multiplier.p)
        product = pipe.hold(
            (partial[0] + (partial[1] << _PART))[: RESIDUAL_WIDTH + _PART], "product"
        )
        for stage in range(Mult18x18d.LATENCY + 1):
            valid = pipe.valid(valid, f"multiplied_valid_{stage}")
            rank, last, seen = carry((rank, last, seen), f"multiplied_side_{stage}")

        # Shift.
        scaled = pipe.hold(with_half(product) >> job.shift, "scaled")
        valid = pipe.valid(valid, "scaled_valid")
        rank, last, seen = carry((rank, last, seen), "scaled_side")

        # Round.
        score = pipe.hold(round_half(scaled), "score")
        valid = pipe.valid(valid, "score_valid")
        rank, last, seen = carry((rank, last, seen), "score_side")

        # Look up the fraction's power of two.
        m.submodules.exp = table = memory.Memory(
            shape=unsigned(PROB_WIDTH), depth=EXP_LUT_LEN, init=exp_table()
        )
        fraction = table.read_port()
        octaves = score >> SCORE_FRACTION
        m.d.comb += fraction.addr.eq(score[:SCORE_FRACTION])
        octave = Mux(seen & (octaves < _OCTAVES), octaves, _OCTAVES)
        octave = pipe.hold(octave, "octave", range(_OCTAVES + 1), stages=2)
        found = pipe.hold(fraction.data, "found")
        valid = pipe.valid(pipe.valid(valid, "fraction_valid"), "octave_valid")
        rank, last = carry(carry((rank, last), "fraction_side"), "octave_side")

        # Shift it, then round. The last octave is one past what leaves anything of a probability.
        shifted = pipe.hold(
            Mux(octave == _OCTAVES, 0, with_half(found) >> octave),
            "shifted",
            PROB_WIDTH + 1,
        )
        valid = pipe.valid(valid, "shifted_valid")
        rank, last = carry((rank, last), "shifted_side")
        prob = pipe.hold(round_half(shifted), "prob", PROB_WIDTH)
        valid = pipe.valid(valid, "prob_valid")
        rank, last = carry((rank, last), "prob_side")

        # Sum.
        total = Signal(sum_shape)
        running = Signal(sum_shape)
        m.d.comb += total.eq(Mux(rank == 0, 0, running) + prob)
        with m.If(valid):
            m.d.sync += running.eq(total)
        return valid, rank, last, total
