"""Continuous batching in plain Python, from what `hw.scheduler` promises."""

from hw.spec.csr import ERRORS

__all__ = ["SlowScheduler"]


class SlowScheduler:
    """Slots, pages and plans; `plan` gives a pass, `finish` what it brings."""

    #: Registers that matter.
    REGISTERS = (
        "kv_base", "page_bytes", "kv_pages", "host_base", "host_limit", "vocab", "context",
        "max_prefill",
    )  # fmt: skip

    def __init__(
        self, config, *, kv_base, page_bytes, kv_pages, host_base, host_limit, vocab, context,
        max_prefill,
    ):  # fmt: skip
        self.config = config
        self.host_base, self.host_limit = host_base, host_limit
        self.kv_base, self.page_bytes = kv_base, page_bytes
        self.kv_pages = min(kv_pages, config.kv_pages)
        self.vocab = vocab
        self.context = min(context, config.max_context)
        self.most = min(max_prefill or config.max_rows, config.max_rows)
        self.slots = [None] * config.max_seqs
        self.table = {}
        self.events = []

    def full(self):
        return all(self.slots)

    def event(self, kind, run, *, token=0, cause=0, detail=0):
        self.events.append({
            "kind": kind,
            "request_id": run["request_id"],
            "token": token,
            "position": run["position"],
            "cause": cause,
            "detail": detail,
        })

    def leave(self, slot, *event, **fields):
        self.event(*event, self.slots[slot], **fields)
        self.slots[slot] = None

    def withdraw(self, request_id):
        for slot, run in enumerate(self.slots):
            if run and run["request_id"] == request_id:
                self.leave(slot, "cancelled")
                return True
        return False

    def users(self, page):
        """Return (users that write, users that read) of a page."""
        writers = readers = 0
        for run in filter(None, self.slots):
            for index, number in enumerate(run["pages"]):
                if number == page:
                    if index < run["shared_pages"]:
                        readers += 1
                    else:
                        writers += 1
        return writers, readers

    def admit(self, request, pages, prompt, slot=None):
        """Take a request into a slot, by default the first that is free.

        ``pages`` and ``prompt`` are what lies in memory.
        """
        config = self.config
        run = request | {
            "position": request["start_pos"],
            "prompt": list(prompt),
            "pages": [],
            "limit": request["page_count"] * config.page_len,
            "written": 0,
            "token": 0,
        }
        slot = self.slots.index(None) if slot is None else slot
        self.slots[slot] = run
        end = request["start_pos"] + request["prompt_len"]

        def refuse(cause, detail):
            self.leave(slot, "failed", cause=ERRORS[cause], detail=detail)

        if not request["prompt_len"] or not request["max_tokens"]:
            return refuse("bad_request", 0)
        if not 1 <= request["page_count"] <= config.max_pages:
            return refuse("bad_request", request["page_count"])
        if request["shared_pages"] * config.page_len > request["start_pos"]:
            return refuse("bad_request", request["shared_pages"])
        if end > self.context:
            return refuse("too_long", end % (1 << 32))
        if end > run["limit"]:
            return refuse("page_miss", end - 1)
        for what, words in (("prompt", request["prompt_len"]), ("page_table", len(pages))):
            addr = request[f"{what}_addr"]
            if addr % 4 or addr < self.host_base or addr + 4 * words > self.host_limit:
                return refuse("bad_request", addr)
        top_k, count, shift = (request[name] for name in ("top_k", "report_count", "shift"))
        if not 1 <= top_k <= config.list_len:
            return refuse("bad_request", top_k)
        if count > config.list_len:
            return refuse("bad_request", count)
        if shift > 31:
            return refuse("bad_request", shift)
        addr = request["candidates_addr"]
        if count and (addr % 8 or addr < self.host_base or addr + 8 * count > self.host_limit):
            return refuse("bad_request", addr)
        for index, page in enumerate(pages):
            writers, readers = self.users(page)
            shared = index < request["shared_pages"]
            if page >= self.kv_pages or writers or (readers and not shared):
                return refuse("bad_page", page)
            run["pages"].append(page)
            self.table[slot, index] = (self.kv_base + page * self.page_bytes) % (1 << 32)
        return None

    def plan(self):
        """Return (rows, segments): rows as (slot, position, token), segments as dicts."""
        rows, segments, left = [], [], self.most
        for prompts in (False, True):
            for slot, run in enumerate(self.slots):
                if run is None or bool(run["prompt"]) != prompts:
                    continue
                position = run["position"]
                count = 1
                if prompts:
                    count = min(len(run["prompt"]), left, self.config.max_rows - len(rows))
                    if not count:
                        continue
                if position >= self.context:
                    self.leave(slot, "failed", cause=ERRORS["too_long"], detail=position)
                    continue
                if position >= run["limit"]:
                    self.leave(slot, "failed", cause=ERRORS["page_miss"], detail=position)
                    continue
                tokens = run["prompt"][:count] if prompts else [run["token"]]
                bad = [token for token in tokens if token >= self.vocab]
                if prompts and bad:
                    self.leave(slot, "failed", cause=ERRORS["bad_token"], detail=bad[0])
                    continue
                segments.append({
                    "slot": slot,
                    "row0": len(rows),
                    "rows": count,
                    "first_pos": position,
                    "emit": int(count >= len(run["prompt"])),
                })
                rows += [(slot, position + n, token) for n, token in enumerate(tokens)]
                if prompts:
                    left -= count
        return rows, segments

    def finish(self, segments, choices):
        """Move on after a pass; ``choices`` are the tokens of the segments that emit."""
        choices = iter(choices)
        for segment in segments:
            run = self.slots[segment["slot"]]
            run["position"] += segment["rows"]
            run["prompt"] = run["prompt"][segment["rows"] :]
            if segment["emit"]:
                run["token"] = next(choices)
                run["written"] += 1
                ends = run["token"] == run["eos_token"] or run["written"] == run["max_tokens"]
                self.event("end" if ends else "token", run, token=run["token"])
                if ends:
                    self.slots[segment["slot"]] = None
