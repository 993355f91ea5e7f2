"""The shapes that cross a process boundary as a whole, by the name of their golden file and schema snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from opsgate.contracts.audit import AuditRecord
from opsgate.contracts.base import Contract
from opsgate.contracts.commands import AskDecision, CommandView, WhatIf, WhoAmI
from opsgate.contracts.decisions import PolicyAnswer
from opsgate.contracts.events import FeedEvent
from opsgate.contracts.invocations import (
    Answer,
    CancelInvocation,
    CastVote,
    InvocationView,
    LogLine,
    Page,
    SendMessage,
    SubmitInvocation,
)
from opsgate.contracts.jobs import (
    Announce,
    ClaimAnswer,
    ClaimJob,
    JobProgress,
    JobReport,
    ProgressAnswer,
    ReportAnswer,
    WakeUp,
)
from opsgate.contracts.people import (
    CloseReview,
    Delegation,
    LinkedAccount,
    MadeToken,
    NewDelegation,
    NewToken,
    Review,
)
from opsgate.contracts.policy import PolicyInput
from opsgate.contracts.problems import Problem

SHAPES: dict[str, type[Contract]] = {
    "announce": Announce,
    "answer": Answer,
    "ask_decision": AskDecision,
    "audit_record": AuditRecord,
    "cancel_invocation": CancelInvocation,
    "cast_vote": CastVote,
    "claim_answer": ClaimAnswer,
    "claim_job": ClaimJob,
    "close_review": CloseReview,
    "feed_event": FeedEvent,
    "invocation_view": InvocationView,
    "job_progress": JobProgress,
    "job_report": JobReport,
    "made_token": MadeToken,
    "new_delegation": NewDelegation,
    "new_token": NewToken,
    "page_of_audit_records": Page[AuditRecord],
    "page_of_commands": Page[CommandView],
    "page_of_delegations": Page[Delegation],
    "page_of_invocations": Page[InvocationView],
    "page_of_linked_accounts": Page[LinkedAccount],
    "page_of_log_lines": Page[LogLine],
    "page_of_reviews": Page[Review],
    "policy_answer": PolicyAnswer,
    "policy_input": PolicyInput,
    "problem": Problem,
    "progress_answer": ProgressAnswer,
    "report_answer": ReportAnswer,
    "send_message": SendMessage,
    "submit_invocation": SubmitInvocation,
    "wake_up": WakeUp,
    "what_if": WhatIf,
    "who_am_i": WhoAmI,
}

GOLDEN = Path(__file__).parent / "golden"
SCHEMAS = Path(__file__).parent / "schemas"


def schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a shape as its reader sees it."""
    return SHAPES[name].model_json_schema(by_alias=True)


def as_file(content: Any) -> str:
    """JSON as it stands in a file: sorted, so that a diff shows what changed and nothing else."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
