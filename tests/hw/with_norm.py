"""A unit that gives heads to the norm, joined to the norm's operator."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.norm_operator import NormOperator
from hw.spec.formats import HEAD_WIDTH

__all__ = ["WithNorm"]


class WithNorm(wiring.Component):
    """A component with a member ``heads``, and the `NormOperator` on the other side of it.

    Parameters
    ----------
    part : wiring.Component
        Its members are this one's, but for ``heads``.
    config : ArchConfig
    watched : bool
        Show what the two say to each other.

    Members
    -------
    start, word, i_entry, norm_busy
        Of the operator, to load gains and constants.
    job_taken, job, orm : Out
        Of ``heads``, if ``watched``: the norm takes a job, the job, and the ORM that it reads.
    """

    def __init__(self, part, config, *, watched=False):
        self.part = part
        self.watched = watched
        self.norm = NormOperator(config)
        norm = self.norm.signature.members
        self.shared = [name for name in part.signature.members if name != "heads"]
        watch = {
            "job_taken": Out(1),
            "job": Out(part.heads.job.payload.shape()),
            "orm": Out(HEAD_WIDTH - 1),
        }
        super().__init__({
            **(watch if watched else {}),
            **{name: part.signature.members[name] for name in self.shared},
            **{name: norm[name] for name in ("start", "word", "i_entry")},
            "norm_busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.part = part = self.part
        m.submodules.norm = norm = self.norm
        connect(m, part.heads, norm.heads)
        connect(m, flipped(self.i_entry), norm.i_entry)
        m.d.comb += [
            norm.start.eq(self.start),
            norm.word.eq(self.word),
            self.norm_busy.eq(norm.busy),
        ]
        if self.watched:
            job = part.heads.job
            m.d.comb += [
                self.job_taken.eq(job.valid & job.ready),
                self.job.eq(job.payload),
                self.orm.eq(part.heads.orm),
            ]
        for name in self.shared:
            member = part.signature.members[name]
            ours, inner = getattr(self, name), getattr(part, name)
            if member.is_port:
                m.d.comb += ours.eq(inner) if member.flow is Out else inner.eq(ours)
            elif member.flow is In:
                connect(m, flipped(ours), inner)
            else:
                connect(m, inner, flipped(ours))
        return m
