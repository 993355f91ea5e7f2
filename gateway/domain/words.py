"""Every sentence people read about an Invocation, in one place, so that all chats say the same words.

Plain text only: no markup, no mentions; renderers escape it. Says what happened and what to do next.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain import binding
from gateway.domain.directory import ServiceEntry
from gateway.domain.invocation import NS, Invocation, Vote, when
from opsgate.contracts.decisions import Decision, RequirementStatus, Verdict
from opsgate.contracts.invocations import InvocationView, JobView, Person, State, Target, VoteView
from opsgate.contracts.messages import Button, Card, Fact, Tone

MAX_OUTPUT = 20
"""Lines of an operation's `output` fact that stand on the card; the whole is in the log."""

_TONES: dict[State, Tone] = {
    State.PENDING: "waiting",
    State.QUEUED: "running",
    State.RUNNING: "running",
    State.SUCCEEDED: "success",
    State.FAILED: "failure",
    State.CANCELLED: "info",
    State.DENIED: "denied",
    State.EXPIRED: "info",
    State.UNKNOWN: "failure",
}

_QUEUED = {
    "": "Allowed. Starting…",
    "worker": "Allowed, and waiting for a worker: none that can do this is running. It starts when one is back.",
    "broker": "Allowed, and waiting: no worker can be reached at the moment (the broker is gone). "
    "It starts when that works again.",
}
"""What an allowed Invocation waits for, by `Job.waiting_for`."""
_NEXT = {
    State.FAILED: " Its log says more; mend what it names, then ask again.",
    State.UNKNOWN: " Look at the target before you ask again.",
}
"""What to do about an end that does not say so itself."""
_TOO_LATE = "No worker could start it in time, and what allowed it has run out"


def sentence(text: str) -> str:
    """Ends with a full stop."""
    return text if text.endswith((".", "!", "?")) else text + "."


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def need(status: RequirementStatus) -> str:
    """`1 approval from owners:api-service (0 of 1 so far)`"""
    r = status.requirement
    left = r.quorum - status.have
    word = "approval" if r.quorum == 1 else "approvals"
    so_far = f" ({status.have} of {r.quorum} so far)" if status.have or r.quorum > 1 else ""
    people = " or ".join(r.groups)
    return f"{max(left, 1)} {word} from {people}{so_far}" if not status.met else f"approved by {people}"


def missing(decision: Decision) -> str:
    return listed([need(s) for s in decision.requirements if not s.met] or ["nothing"])


def duration(seconds: float) -> str:
    """41 s, 2 min 5 s, 1 h 3 min."""
    seconds = max(0.0, seconds)
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock(ns: int) -> str:
    return when(ns).strftime("%H:%M UTC")


def touches(entry: ServiceEntry | None, environment: str, irreversible: bool) -> str:
    """The resolved target in words: what an approver should have in mind."""
    if entry is None:
        return ""
    where = f" in {environment}" if environment else ", everywhere"
    size = f", {entry.replicas} replicas" if entry.replicas else ""
    return f"1 service: {entry.name}{where}{size}" + ("; it cannot be undone" if irreversible else "")


def voter(vote: Vote) -> str:
    """Bob, or Bob for Carol."""
    return f"{vote.name} for {vote.for_name}" if vote.for_id else vote.name


def approvers(inv: Invocation) -> list[str]:
    people = [voter(v) for v in inv.votes if v.verdict == "approve" and v.by != inv.asked_by]
    return people + [s.by for s in inv.decision.requirements if s.by]


def credits(inv: Invocation) -> str:
    """Asked by Alice, approved by Bob."""
    by = approvers(inv)
    broke = f" Glass broken for {inv.incident}." if inv.incident else ""
    return f"Asked by {inv.asked_by_name}" + (f", approved by {listed(by)}" if by else "") + f".{broke}"


def glass_broken(inv: Invocation) -> str:
    """For everybody: said once, at the moment it happens."""
    if not inv.incident:
        return f"{inv.asked_by_name} was allowed: {inv.text} ({inv.id})."
    return f"{inv.asked_by_name} broke the glass for {inv.incident}: {inv.text}. Reason: {inv.reason} ({inv.id})"


def digest_of(waiting: list[Invocation], now_ns: int) -> str:
    """One reminder for all that waits in a channel."""
    what = [
        f"{inv.command} {inv.service} {inv.environment}".strip()
        + f", asked by {inv.asked_by_name} {duration((now_ns - inv.created_ns) / NS)} ago,"
        f" needs {missing(inv.decision)} ({inv.id})"
        for inv in waiting[:10]
    ]
    more = f"; and {len(waiting) - 10} more" if len(waiting) > 10 else ""
    count = "1 command waits" if len(waiting) == 1 else f"{len(waiting)} commands wait"
    return f"{count} for approval here: {'; '.join(what)}{more}."


def approve_line(inv: Invocation, verb: str = "approve") -> str:
    """What one types to vote: with the first digits of the hash, which say what was on the screen."""
    return f"{verb} {inv.id} {binding.short(inv.binding_hash)}"


def what_to_do_about(decision: Decision) -> str:
    """Reasons of a denial as sentences."""
    return " ".join(sentence(r.msg) for r in decision.reasons) or "No rule allows this. Ask the security team."


def refused_by(decision: Decision) -> str:
    """The codes of a denial, each with the argument that failed: `too_many_replicas (replicas)`."""
    return ", ".join(f"{r.code} ({r.argument})" if r.argument else r.code for r in decision.reasons) or "no_rule"


@dataclass(frozen=True)
class Could:
    """A group whose people could do it, and what the policy would say to them."""

    group: str
    decision: Decision


def hint_of(passing: list[tuple[str, Decision]], could: Could | None, ticket: bool, glass: bool) -> str:
    """After a denial: what would pass, and who could. `ticket`, `glass`: whether that one is missing, or would do."""
    told = [f"`{line}` {_would(decision)}" for line, decision in passing]
    said = ["; ".join(told) + "."] if told else []
    if ticket:
        said.append("Add `--ticket` with the key of your change ticket.")
    if glass:
        said.append("You are on call: in an emergency add `--break-glass INC-…` with the incident, and say why.")
    if could:
        waits = could.decision.effect is Verdict.PENDING
        may = f"may ask for this, and then it waits for {missing(could.decision)}" if waits else "may do this at once"
        said.append(f"Somebody in {could.group} {may}.")
    return " ".join(said)


def _would(decision: Decision) -> str:
    waits = decision.effect is Verdict.PENDING
    return f"would wait for {missing(decision)}" if waits else "would run at once"


def text_of(inv: Invocation) -> str:
    job = inv.job
    match inv.state:
        case State.PENDING:
            return (
                f"Waits for {missing(inv.decision)}, until {clock(inv.expires_ns)}. "
                f"Approve here, or type: {approve_line(inv)}"
            )
        case State.QUEUED:
            return _QUEUED[job.waiting_for if job else ""]
        case State.RUNNING:
            doing = job.progress.text if job and job.progress and job.progress.text else "Running…"
            return f"{doing} (asked to stop)" if job and job.cancel_requested_by else doing
        case State.SUCCEEDED | State.FAILED | State.UNKNOWN:
            summary = sentence((inv.outcome and inv.outcome.summary) or "It ended")
            took = f" {duration((job.finished_ns - job.started_ns) / NS)}." if job and job.started_ns else ""
            told = inv.state is State.SUCCEEDED or "ask again" in summary.lower()
            return f"{summary} {credits(inv)}{took}" + ("" if told else _NEXT[inv.state])
        case State.CANCELLED:
            how = sentence(inv.outcome.summary or "It was stopped") if inv.outcome else "Nothing was run."
            return f"Cancelled by {inv.ended_by or inv.asked_by_name}. {how}"
        case State.EXPIRED:
            unmet = any(not s.met for s in inv.decision.requirements)
            why = f"Nobody approved it in time ({missing(inv.decision)} was missing)" if unmet else _TOO_LATE
            return f"{why}. Nothing was run. Ask again."
        case State.DENIED:
            return what_to_do_about(inv.decision)


def title_of(inv: Invocation) -> str:
    words = {
        State.PENDING: "waits for approval",
        State.QUEUED: "starting",
        State.RUNNING: "running",
        State.SUCCEEDED: "done",
        State.FAILED: "failed",
        State.CANCELLED: "cancelled",
        State.DENIED: "not allowed",
        State.EXPIRED: "expired",
        State.UNKNOWN: "outcome unknown",
    }
    what = " ".join(
        part for part in (inv.command, inv.service, f"({inv.environment})" if inv.environment else "") if part
    )
    return f"{what}: {words[inv.state]}"


def facts_of(inv: Invocation) -> tuple[Fact, ...]:
    facts = [Fact(label="Asked by", value=inv.asked_by_name)]
    facts += [
        Fact(label=name.replace("_", " ").capitalize(), value=value)
        for name, value in inv.spelled.items()
        if name not in ("service", "environment")
    ]
    if inv.reason:
        facts.append(Fact(label="Reason", value=inv.reason))
    if inv.ticket:
        facts.append(Fact(label="Ticket", value=inv.ticket))
    if inv.incident:
        facts.append(Fact(label="Glass broken for", value=inv.incident))
    if inv.state is State.PENDING and inv.touches:
        facts.append(Fact(label="Touches", value=inv.touches))
    for status in inv.decision.requirements if inv.state is State.PENDING else ():
        r = status.requirement
        facts.append(Fact(label=f"Needs ({r.id})", value=f"{status.have} of {r.quorum} from {' or '.join(r.groups)}"))
    if inv.state is State.PENDING:
        facts.append(Fact(label="Expires", value=clock(inv.expires_ns)))
    if inv.state is State.DENIED:
        facts.append(Fact(label="Refused by", value=refused_by(inv.decision)))
    if inv.hint:
        facts.append(Fact(label="Would pass" if inv.would_pass else "What helps", value=inv.hint))
    return tuple(facts)


def buttons_of(inv: Invocation) -> tuple[Button, ...]:
    """Only the id and the hash that was shown: who may press is decided when it is pressed."""
    cancel = Button(
        action="cancel",
        label="Cancel",
        style="plain",
        confirm=f"Cancel “{inv.text}”?",
        command=f"cancel {inv.id}",
        binding_hash=inv.binding_hash,
    )
    if inv.state is State.PENDING:
        approve = Button(
            action="approve",
            label="Approve",
            style="primary",
            confirm=f"Approve “{inv.text}”, asked by {inv.asked_by_name}?",
            command=approve_line(inv),
            binding_hash=inv.binding_hash,
        )
        reject = approve.model_copy(
            update={
                "action": "reject",
                "label": "Reject",
                "style": "danger",
                "confirm": f"Reject “{inv.text}”? It ends it for everybody.",
                "command": approve_line(inv, "reject"),
            }
        )
        return (approve, reject, cancel)
    stoppable = inv.state in (State.QUEUED, State.RUNNING) and not (inv.job and inv.job.cancel_requested_by)
    return (cancel,) if stoppable and inv.effect != "read" else ()


def card(inv: Invocation) -> Card:
    """The one message of an Invocation, as it is now."""
    running = inv.job.progress if inv.job and inv.state is State.RUNNING else None
    why = tuple(r.msg for r in inv.decision.reasons) if inv.state is State.PENDING else ()
    votes = tuple(
        f"{voter(v)} {'approved' if v.verdict == 'approve' else 'rejected'}" + (f": {v.reason}" if v.reason else "")
        for v in inv.votes
    )
    votes += tuple(f"{s.by} approved: a rule may, here" for s in inv.decision.requirements if s.by)
    output = inv.outcome.facts.get("output") if inv.outcome and inv.state is State.SUCCEEDED else None
    lines = tuple(str(line) for line in output[-MAX_OUTPUT:]) if isinstance(output, list) else ()
    return Card(
        tone=_TONES[inv.state],
        title=title_of(inv),
        text=text_of(inv),
        facts=facts_of(inv),
        bullets=why + votes + lines,
        progress=running,
        buttons=buttons_of(inv),
        examples=(*inv.would_pass, f"help {inv.command}", f"why {inv.text}") if inv.private else (),
        footer=f"{inv.id} · {inv.text}",
    )


def view(inv: Invocation) -> InvocationView:
    """The Invocation as the API answers it."""
    job = inv.job
    requirement_groups = {g for s in inv.decision.requirements for g in s.requirement.groups}
    return InvocationView(
        id=inv.id,
        state=inv.state,
        version=inv.version,
        text=inv.text,
        command=inv.command,
        effect=inv.effect,
        args=inv.args,
        target=Target(service=inv.service, environment=inv.environment),
        reason=inv.reason,
        ticket=inv.ticket,
        break_glass=inv.incident,
        requested_by=Person(id=inv.asked_by, name=inv.asked_by_name, kind=inv.asked_by_kind),
        platform=inv.platform,
        context=inv.context,
        visibility="private" if inv.private else "channel",
        created_at=when(inv.created_ns),
        updated_at=when(inv.updated_ns),
        expires_at=when(inv.expires_ns) if inv.expires_ns else None,
        binding_hash=inv.binding_hash,
        decision=inv.decision,
        votes=tuple(
            VoteView(
                by=Person(id=v.by, name=v.name, kind=v.kind),
                on_behalf_of=Person(id=v.for_id, name=v.for_name, kind=v.kind) if v.for_id else None,
                verdict=v.verdict,
                at=when(v.at_ns),
                expires_at=when(v.expires_ns),
                platform=v.platform,
                assurance=v.assurance,
                reason=v.reason,
                counts=v.verdict == "reject" or (v.by != inv.asked_by and bool(set(v.groups) & requirement_groups)),
            )
            for v in inv.votes
        ),
        job=None
        if job is None
        else JobView(
            queued_at=when(job.queued_ns),
            started_at=when(job.started_ns) if job.started_ns else None,
            finished_at=when(job.finished_ns) if job.finished_ns else None,
            duration_s=(job.finished_ns - job.started_ns) / NS if job.finished_ns and job.started_ns else None,
            worker=job.worker,
            fence=job.fence,
            waiting_for_worker=bool(job.waiting_for),
            cancel_requested=bool(job.cancel_requested_by),
            progress=job.progress,
        ),
        outcome=inv.outcome,
        hint=inv.hint,
        trace_id=inv.traceparent[3:35],
        card=card(inv),
    )


def verdict_words(verdict: Verdict) -> str:
    return {Verdict.ALLOW: "you may", Verdict.PENDING: "with approval", Verdict.DENY: "you may not"}[verdict]
