"""What nobody else may do for somebody: make tokens, hand approvals on, link accounts. Refuses whoever is not the human
themselves: API tokens, service accounts, and whoever acts for a person.
"""

from __future__ import annotations

from gateway.domain.directory import Asker
from gateway.domain.errors import Refused
from opsgate.contracts.base import PrincipalKind
from opsgate.contracts.problems import Code


def refuse_others(who: Asker, what: str) -> None:
    """`what`: `make tokens`. Raises Refused (403) unless a human speaks for themselves."""
    if who.method == "api_token":
        words = f"An API token cannot {what}, whoever holds it. Sign in and do it as yourself."
    elif who.principal.kind is not PrincipalKind.HUMAN:
        words = f"A service account cannot {what}. The person who answers for it can."
    elif who.actors:
        words = f"{who.actors[0]} acts for {who.id} here and cannot {what}. {who.principal.name} must do it in person."
    else:
        return
    raise Refused(Code.FORBIDDEN, 403, words)
