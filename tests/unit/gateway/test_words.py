"""What people read: every state and every reason says in one plain sentence what happened and what to do next."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import words
from gateway.domain.binding import digest
from gateway.domain.deciding import PolicyResult, decision
from gateway.domain.invocation import NS, Invocation, Job, Vote, when
from gateway.infra.opa import OpaPolicy
from gateway.settings import ROOT
from opsgate.contracts.base import Assurance, Effect, PrincipalKind
from opsgate.contracts.decisions import (
    Decision,
    NextAction,
    PolicyAnswer,
    Reason,
    Requirement,
    RequirementStatus,
    Verdict,
)
from opsgate.contracts.invocations import ChatContext, Outcome, State
from opsgate.contracts.messages import Card, Progress
from opsgate.contracts.policy import PolicyInput
from tests.policies.inputs import question

T0 = 1_763_989_200 * NS
HASH = digest("what was asked")
TRACE = "0af7651916cd43dd8448eb211c80319c"
WHAT_NEXT = re.compile(
    r"\b(ask|link|check|wait for|waits for|wait until|do it|name|talk to|approve|send|tell|try|look at|choose|page"
    r"|mend|has to look|needs the approval|it starts when|read|type)\b",
    re.IGNORECASE,
)
NOISE = re.compile(r"sha256:|vot_|dec_|job_|[0-9]{16,}|\b[0-9a-f]{32,}\b|None|Traceback|\{|<@|@here|State\.")


def decided(effect: Verdict, *, have: int = 0, reasons: tuple[Reason, ...] = (), needs: bool = True) -> Decision:
    owners = Requirement(id="owner", groups=("owners:api-service",), quorum=1, ttl_s=3600)
    return Decision(
        id="dec_0123456789",
        effect=effect,
        phase="request",
        reasons=reasons,
        requirements=(RequirementStatus(requirement=owners, have=have, met=have == 1),) if needs else (),
        request_hash=HASH,
        input_digest=HASH,
        revision="git:abc",
        evaluated_at=when(T0),
        next_action=NextAction.NONE,
    )


def made(state: State, **changes: Any) -> Invocation:
    """Alice's deploy in this state, as it stands in the store; two minutes and five seconds of work where it ran."""
    ran = state in (State.SUCCEEDED, State.FAILED, State.UNKNOWN)
    job = Job(queued_ns=T0, due_ns=T0, started_ns=T0 * ran, finished_ns=(T0 + 125 * NS) * ran, worker="w1", fence=ran)
    fields: dict[str, Any] = {
        "id": "inv_0123456789",
        "tenant": "acme",
        "version": 2,
        "state": state,
        "text": "deploy production api-service --version 1.4.2",
        "command": "deploy",
        "effect": Effect.WRITE,
        "args": {"environment": "production", "service": "api-service", "version": "1.4.2"},
        "spelled": {"environment": "production", "service": "api-service", "version": "1.4.2"},
        "service": "api-service",
        "environment": "production",
        "operation": "sandbox.deploy",
        "input": {},
        "lock": "production/api-service",
        "timeout_s": 600,
        "irreversible": False,
        "idempotent": False,
        "reason": "release",
        "asked_by": "alice",
        "asked_by_name": "Alice",
        "asked_by_kind": PrincipalKind.HUMAN,
        "assurance": Assurance.VERIFIED,
        "method": "chat",
        "adapter": "slack",
        "platform": "slack",
        "context": ChatContext(channel="C0PAYMENTS"),
        "created_ns": T0,
        "updated_ns": T0,
        "expires_ns": T0 + 1800 * NS,
        "binding_hash": HASH,
        "requirement_digest": HASH,
        "decision": decided(Verdict.PENDING if state in (State.PENDING, State.EXPIRED) else Verdict.ALLOW, have=0),
        "job": None if state in (State.PENDING, State.DENIED, State.EXPIRED) else job,
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        **changes,
    }
    return Invocation.model_validate(fields)


def yes(person: str, verdict: str = "approve", reason: str = "") -> Vote:
    return Vote.model_validate(
        {
            "id": "vot_0123456789",
            "by": person,
            "name": person.capitalize(),
            "kind": "human",
            "groups": ("owners:api-service",),
            "verdict": verdict,
            "at_ns": T0,
            "expires_ns": T0 + 3600 * NS,
            "platform": "slack",
            "assurance": "verified",
            "reason": reason,
            "binding_hash": HASH,
            "policy_revision": "git:abc",
            "requirement_digest": HASH,
        }
    )


TYPED = f"approve inv_0123456789 {HASH.removeprefix('sha256:')[:8]}"
LATE = "No worker could start it in time, and what allowed it has run out. Nothing was run. Ask again."
REASON = Reason(code="no_rule", msg="No rule allows `deploy`. Ask security.")
DONE = Outcome(summary="api-service 1.4.2 is live in production")
BY_BOB = {"votes": (yes("bob"),), "decision": decided(Verdict.ALLOW, have=1)}
CASES: dict[str, tuple[Invocation, str]] = {
    "pending": (
        made(State.PENDING),
        "Waits for 1 approval from owners:api-service, until 13:30 UTC. Approve here, or type: " + TYPED,
    ),
    "queued": (made(State.QUEUED), "Allowed. Starting…"),
    "queued, no worker": (
        made(State.QUEUED, job=Job(queued_ns=T0, due_ns=T0, waiting_for="worker")),
        "Allowed, and waiting for a worker: none that can do this is running. It starts when one is back.",
    ),
    "running": (made(State.RUNNING), "Running…"),
    "running, being stopped": (
        made(
            State.RUNNING,
            job=Job(queued_ns=T0, due_ns=T0, cancel_requested_by="Bob", progress=Progress(percent=40, text="2 of 3")),
        ),
        "2 of 3 (asked to stop)",
    ),
    "succeeded": (
        made(State.SUCCEEDED, outcome=DONE, **BY_BOB),
        "api-service 1.4.2 is live in production. Asked by Alice, approved by Bob. 2 min 5 s.",
    ),
    "failed": (
        made(State.FAILED, outcome=Outcome(summary="Replica 2 did not become healthy"), **BY_BOB),
        "Replica 2 did not become healthy. Asked by Alice, approved by Bob. 2 min 5 s. "
        "Its log says more; mend what it names, then ask again.",
    ),
    "failed, and says itself what to do": (
        made(State.FAILED, outcome=Outcome(summary="Its time was over; nothing was changed. Ask again.")),
        "Its time was over; nothing was changed. Ask again. Asked by Alice. 2 min 5 s.",
    ),
    "unknown": (
        made(State.UNKNOWN, outcome=Outcome(summary="No worker could say how it ended")),
        "No worker could say how it ended. Asked by Alice. 2 min 5 s. Look at the target before you ask again.",
    ),
    "cancelled": (made(State.CANCELLED, ended_by="Bob"), "Cancelled by Bob. Nothing was run."),
    "cancelled while it ran": (
        made(State.CANCELLED, ended_by="Bob", outcome=Outcome(summary="api-service is back as it was")),
        "Cancelled by Bob. api-service is back as it was.",
    ),
    "denied": (
        made(State.DENIED, version=1, decision=decided(Verdict.DENY, reasons=(REASON,), needs=False)),
        "No rule allows `deploy`. Ask security.",
    ),
    "denied without a reason": (
        made(State.DENIED, decision=decided(Verdict.DENY, needs=False)),
        "No rule allows this. Ask the security team.",
    ),
    "expired": (
        made(State.EXPIRED),
        "Nobody approved it in time (1 approval from owners:api-service was missing). Nothing was run. Ask again.",
    ),
    "expired after its approval": (made(State.EXPIRED, **BY_BOB), LATE),
}
SAYS_NEXT = {State.PENDING, State.FAILED, State.UNKNOWN, State.DENIED, State.EXPIRED}
"""Where somebody has to do something; in the others it goes its way, or ended as somebody wanted."""


def test_every_state_has_its_words() -> None:
    """The rest of this page is about all of them."""
    assert {inv.state for inv, _ in CASES.values()} == set(State)


@pytest.mark.parametrize("name", CASES)
def test_every_state_says_what_happened_and_what_to_do_next(name: str) -> None:
    """Word for word, as all chats show it."""
    inv, text = CASES[name]
    shown = words.card(inv)
    assert shown.text == text
    if inv.state in SAYS_NEXT:
        assert WHAT_NEXT.search(text)
    assert shown.title.startswith("deploy api-service (production): ")
    assert words.view(inv).card == shown


def readable(card: Card) -> list[str]:
    """Everything of a card that a person reads."""
    facts = [part for fact in card.facts for part in (fact.label, fact.value)]
    buttons = [part for button in card.buttons for part in (button.label, button.confirm or "")]
    progress = [card.progress.text] if card.progress else []
    return [card.title, card.text, *facts, *card.bullets, *buttons, *progress, *card.examples, card.footer]


@pytest.mark.parametrize("name", CASES)
def test_no_card_is_noisy(name: str) -> None:
    """No hashes, no inner ids, no traces: the one id is the Invocation's, where it is typed or quoted."""
    inv, _ = CASES[name]
    shown = words.card(inv)
    for text in readable(shown):
        assert not NOISE.search(text), text
    with_id = [text for text in readable(shown) if inv.id in text]
    assert with_id == [t for t in (shown.text, shown.footer) if inv.id in t]
    assert shown.footer.startswith(inv.id)
    assert inv.id in shown.text or inv.state is not State.PENDING


@pytest.mark.parametrize("state", State)
def test_only_what_can_be_decided_or_stopped_has_buttons(state: State) -> None:
    """And every button can be typed."""
    shown = words.card(made(state))
    expected = {State.PENDING: ["approve", "reject", "cancel"], State.QUEUED: ["cancel"], State.RUNNING: ["cancel"]}
    assert [b.action for b in shown.buttons] == expected.get(state, [])
    assert all(b.command.startswith(f"{b.action} inv_0123456789") and b.binding_hash == HASH for b in shown.buttons)


def test_a_votes_reason_and_a_votes_no_are_told() -> None:
    """By name; who asked is not told as who approved."""
    inv = made(State.PENDING, votes=(yes("bob", reason="looks good"), yes("carol", "reject")))
    assert words.card(inv).bullets == ("Bob approved: looks good", "Carol rejected")
    own = made(State.SUCCEEDED, outcome=DONE, votes=(yes("alice"), yes("bob"), yes("carol")))
    assert "Asked by Alice, approved by Bob and Carol." in words.card(own).text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (-5, "0.0 s"),
        (9.94, "9.9 s"),
        (41, "41 s"),
        (59.6, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3780, "1 h 3 min"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    """Also when two clocks disagree a little."""
    assert words.duration(seconds) == text


@given(st.floats(0, 10**7))
def test_a_duration_never_counts_sixty(seconds: float) -> None:
    """59.6 s is a minute."""
    assert not re.search(r"\b60 (s|min)", words.duration(seconds))


# ---- why not: every code has its sentence --------------------------------------------------------------------------

ASKED = PolicyInput.model_validate(question())
ANSWER: dict[str, Any] = {
    "schema": "gateway.decision/v1",
    "effect": "allow",
    "request_hash": HASH,
    "reasons": [],
    "grants": [],
    "require": [],
    "auto": [],
    "unmet": [],
    "obligations": [],
}


def gateways_own() -> dict[str, str]:
    """What the gateway itself says when there is no usable decision, by code."""
    inv = made(State.PENDING)
    odd: list[PolicyResult] = [
        PolicyResult(PolicyAnswer.model_validate({**ANSWER, **change}), "r1")
        for change in ({"request_hash": "other"}, {"obligations": [{"id": "sing"}]}, {"effect": "pending"})
    ]
    odd += [PolicyResult(None, "r1"), *(OpaPolicy("http://127.0.0.1:1", 1)._none(code) for code in opas())]
    found = {}
    for result in odd:
        no = decision(inv, "request", ASKED, result)
        assert no.effect is Verdict.DENY
        (reason,) = no.reasons
        found[reason.code] = reason.msg
    return found


def opas() -> set[str]:
    source = (ROOT / "gateway" / "infra" / "opa.py").read_text(encoding="utf-8")
    return set(re.findall(r'"(policy_[a-z]+(?:_[a-z]+)*)"', source))


def policies_own() -> dict[str, str]:
    """Every sentence of the policies, by its code, as it is written in the rules."""
    found: dict[str, str] = {}
    for file in (ROOT / "policies").rglob("*.rego"):
        if file.name.endswith("_test.rego"):
            continue
        source = file.read_text(encoding="utf-8")
        found |= dict(re.findall(r'^\t"((?!msg)[a-z_]+)": "([A-Z][^"]+\.)",$', source, re.MULTILINE))
        for code, rest in re.findall(r'"code": "([a-z_]+)"(.*?)(?=^\S|\Z)', source, re.MULTILINE | re.DOTALL):
            sentence = re.search(r'"([A-Z`%][^"\n]{15,}\.)"', rest)
            if sentence:
                found[code] = sentence[1]
        needed = re.search(r'"(`%s` on %s needs the approval[^"]+)"', source)
        found |= {"approval_needed": needed[1]} if needed else {}
    return found


SENTENCES = {**policies_own(), **gateways_own()}
GUIDE = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "policies" / "README.md").read_text("utf-8"), re.MULTILINE))


def test_every_reason_code_is_looked_at_here() -> None:
    """The guide's closed list, and the gateway's own."""
    own = {"policy_wrong_hash", "policy_unknown_obligation", "policy_bad_answer", *opas()}
    assert set(SENTENCES) | {"allowed"} == GUIDE | own


@pytest.mark.parametrize("code", sorted(set(SENTENCES) - {"allowed"}))
def test_every_reason_code_has_a_sentence_that_says_what_to_do_next(code: str) -> None:
    """A whole sentence, short enough for a card, for a person and not for a machine."""
    text = SENTENCES[code]
    assert text == text.strip()
    assert text[0].isupper() or text[0] in "`%"
    assert text.endswith(".")
    assert len(text) <= 300
    assert WHAT_NEXT.search(text), text
    assert not NOISE.search(text), text
    assert "_" not in code or code not in text
    assert words.sentence(text) == text


def test_a_denial_tells_all_its_reasons_as_sentences() -> None:
    """Each ends where it ends."""
    two = (REASON, Reason(code="frozen", msg="Changes are frozen. Wait until it is lifted"))
    told = words.what_to_do_about(decided(Verdict.DENY, reasons=two, needs=False))
    assert told == "No rule allows `deploy`. Ask security. Changes are frozen. Wait until it is lifted."
