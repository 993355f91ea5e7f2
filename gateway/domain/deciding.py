"""Builds the policy's input and turns its answer into a Decision. Pure: the clock and the facts come from the caller.

Anything but a well-formed answer with the right hash is a deny with its own reason code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from gateway.domain.binding import digest
from gateway.domain.directory import Directory
from gateway.domain.ids import new_id
from gateway.domain.invocation import Invocation, Vote, when
from gateway.domain.quorum import count_met
from opsgate.contracts import policy as p
from opsgate.contracts.decisions import Decision, NextAction, PolicyAnswer, Reason, RequirementStatus, Verdict

Phase = Literal["request", "approve", "execute"]
KNOWN_OBLIGATIONS = frozenset({"notify", "redact_output", "post_review", "page", "time_limit"})
"""Obligations this gateway fulfils; a policy that asks for another gets a deny (AuthZEN 1.0, obligations)."""

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class PolicyResult:
    """What came back from the policy engine: an answer, or the code and words of why there is none."""

    answer: PolicyAnswer | None
    revision: str
    failure: Reason | None = None


@dataclass(frozen=True)
class Facts:
    """What the gateway knows beside the Invocation itself."""

    tenant: str
    now_ns: int
    zones: tuple[str, ...]
    revision: str
    bundle_age_s: int | None
    freezes: tuple[p.Freeze, ...]
    recent: p.Recent
    ticket: p.Ticket | None


def local_times(now_ns: int, zones: tuple[str, ...]) -> dict[str, p.LocalTime]:
    """Wall time in each zone, daylight saving included."""
    times: dict[str, p.LocalTime] = {}
    for zone in zones:
        local = when(now_ns).astimezone(ZoneInfo(zone))
        times[zone] = p.LocalTime(
            date=local.date().isoformat(),
            weekday=cast(Any, _WEEKDAYS[local.weekday()]),
            minute_of_day=local.hour * 60 + local.minute,
        )
    return times


def policy_input(inv: Invocation, phase: Phase, directory: Directory, facts: Facts) -> p.PolicyInput:
    """The whole document for one question, with people, groups and targets as they are now."""
    entry = directory.service(inv.service)
    known_environment = inv.environment in ((*entry.environments, "") if entry else (*directory.environments, ""))
    return p.PolicyInput(
        phase=phase,
        tenant=facts.tenant,
        now=p.Now(unix_ns=facts.now_ns, local=local_times(facts.now_ns, facts.zones)),
        policy=p.PolicyRevision(revision=facts.revision, bundle_age_s=facts.bundle_age_s),
        subject=_subject(inv, directory, facts),
        action=p.Action(name=inv.command, effect=inv.effect, args=inv.args, idempotent=inv.idempotent, dry_run=False),
        resource=p.Resource(
            service=inv.service,
            env=inv.environment,
            tenant=facts.tenant,
            owners=entry.owners if entry else (),
            team=entry.team if entry else "",
            labels=entry.labels if entry else {},
            exists=(entry is not None or not inv.service) and known_environment,
        ),
        blast=p.Blast(
            targets=1 if inv.service else None,
            percent=None,
            plan_digest=None,
            deletes=None,
            irreversible=inv.irreversible,
        ),
        context=p.Context(
            platform=inv.platform,
            channel=inv.context.channel,
            channel_kind=inv.context.channel_kind,
            thread=inv.context.thread,
            truncated=False,
            source_ip=None,
        ),
        ticket=facts.ticket,
        request=p.Asked(
            id=inv.id,
            hash=inv.binding_hash,
            created_ns=inv.created_ns,
            reason=inv.reason,
            break_glass=p.BreakGlass(requested=bool(inv.incident), reason=inv.reason, incident=inv.incident)
            if inv.incident
            else p.BreakGlass(requested=False, reason="", incident=""),
        ),
        approvals=tuple(_approval(v, directory, facts.now_ns) for v in inv.votes),
        freezes=facts.freezes,
        recent=facts.recent,
    )


def _subject(inv: Invocation, directory: Directory, facts: Facts) -> p.Subject:
    """Who asks. Somebody who was deactivated since is not proven any more and in no group."""
    now = directory.person(inv.asked_by, facts.now_ns)
    later = (directory.by_subject(actor, facts.now_ns) for actor in inv.actors)
    actors = dict.fromkeys((*inv.actors, *(found.id for found in later if found)))
    return p.Subject(
        id=inv.asked_by,
        kind=inv.asked_by_kind,
        tenant=facts.tenant,
        verified=now is not None,
        groups=now.groups if now else (),
        linked_ids=now.identities if now else (),
        owner=now.owner if now else "",
        auth=p.Auth(method=cast(Any, inv.method), assurance=inv.assurance, mfa_at_ns=inv.mfa_at_ns, scopes=inv.scopes),
        via=p.Via(adapter=inv.adapter, actor_chain=tuple(actors)),
    )


def askers(subject: p.Subject) -> frozenset[str]:
    """Everybody who is one with who asked: their accounts, the owner of a service account, whoever acts for them."""
    return frozenset({subject.id, subject.owner, *subject.linked_ids, *subject.via.actor_chain} - {""})


def _approval(vote: Vote, directory: Directory, now_ns: int) -> p.Approval:
    """The vote with the groups as they are now: a role that was lost, a delegation that ended no longer count."""
    voter = directory.person(vote.by, now_ns)
    giver = directory.person(vote.for_id, now_ns) if vote.for_id else voter
    holds = voter is not None and (not vote.for_id or directory.may_vote_for(vote.by, vote.for_id, now_ns))
    return p.Approval(
        id=vote.id,
        decision=vote.verdict,
        approver=p.Approver(
            id=vote.by,
            kind=vote.kind,
            verified=holds,
            groups=giver.groups if holds and giver else (),
            assurance=vote.assurance,
            on_behalf_of=vote.for_id or None,
        ),
        platform=vote.platform,
        at_ns=vote.at_ns,
        expires_ns=vote.expires_ns,
        request_hash=vote.binding_hash,
        policy_revision=vote.policy_revision,
        requirement_digest=vote.requirement_digest,
        revoked=False,
    )


def requirement_digest(answer: PolicyAnswer | None) -> str:
    """The digest of what must be agreed to; a vote given under another set is void."""
    wanted = [r.model_dump(mode="json") for r in answer.require] if answer else []
    return digest(sorted(wanted, key=lambda r: str(r["id"])))


def decision(
    inv: Invocation, phase: Phase, asked: p.PolicyInput, result: PolicyResult, *, kept: bool = True
) -> Decision:
    """A Decision, whatever came back. Fails closed. Of one that is not `kept` the input needs no digest."""
    answer, failure = result.answer, result.failure
    if answer is not None and answer.request_hash != inv.binding_hash:
        answer, failure = None, Reason(code="policy_wrong_hash", msg=_NO_DECISION.format("it answered for another"))
    if answer is not None:
        unknown = sorted({str(o.get("id")) for o in answer.obligations} - KNOWN_OBLIGATIONS)
        if unknown:
            text = f"The policy demands `{unknown[0]}`, which this gateway cannot do. Ask the security team."
            answer, failure = None, Reason(code="policy_unknown_obligation", msg=text)
    if answer is not None and answer.effect is not Verdict.DENY and not asked.subject.verified:
        # Whatever a policy forgot to ask: for somebody who is not there any more nothing runs.
        text = f"{inv.asked_by_name} is not active here any more, so nothing they asked for runs. Ask for it yourself."
        answer, failure = None, Reason(code="asker_gone", msg=text)
    if answer is not None and _contradicts_itself(answer):
        answer, failure = None, Reason(code="policy_bad_answer", msg=_NO_DECISION.format("it contradicts itself"))
    # RFC 8785 numbers are doubles: nanoseconds would be rounded or refused, so the digest covers them as text.
    input_digest = digest(_exact(asked.model_dump(mode="json", by_alias=True))) if kept else _NO_DIGEST
    common: dict[str, Any] = {
        "id": new_id("dec"),
        "phase": phase,
        "request_hash": inv.binding_hash,
        "input_digest": input_digest,
        "revision": result.revision or "unknown",
        "evaluated_at": when(asked.now.unix_ns),
    }
    if answer is None:
        reason = failure or Reason(code="policy_bad_answer", msg=_NO_DECISION.format("its answer has another shape"))
        return Decision(effect=Verdict.DENY, reasons=(reason,), next_action=NextAction.RETRY, **common)
    filled = count_met(answer.require, asked.approvals, askers(asked.subject), asked.now.unix_ns, inv.binding_hash)
    rules = {auto.requirement: f"policy:{auto.rule}" for auto in answer.auto}
    return Decision(
        effect=answer.effect,
        reasons=tuple(sorted(answer.reasons, key=lambda r: r.code)),
        grants=answer.grants,
        requirements=tuple(
            RequirementStatus(requirement=r, have=filled[r.id], met=r.id not in answer.unmet, by=rules.get(r.id, ""))
            for r in sorted(answer.require, key=lambda r: r.id)
        ),
        obligations=answer.obligations,
        next_action={
            Verdict.ALLOW: NextAction.NONE,
            Verdict.PENDING: NextAction.APPROVE,
            Verdict.DENY: NextAction.CHANGE,
        }[answer.effect],
        **common,
    )


def _contradicts_itself(answer: PolicyAnswer) -> bool:
    """Waiting for nothing, allowing what misses somebody, or a rule in the place of people where none may be."""
    may = {r.id for r in answer.require if r.auto}
    waits_for_nothing = answer.effect is Verdict.PENDING and not answer.unmet
    misses_somebody = answer.effect is Verdict.ALLOW and bool(answer.unmet)
    return waits_for_nothing or misses_somebody or any(auto.requirement not in may for auto in answer.auto)


_NO_DIGEST = digest(None)
_NO_DECISION = "The policy gave no usable decision ({}), so nothing was run. Tell the security team."


def _exact(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int):
        return value if abs(value) <= 2**53 else str(value)
    if isinstance(value, dict):
        return {k: _exact(v) for k, v in value.items()}
    return [_exact(v) for v in value]
