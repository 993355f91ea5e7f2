"""Who and what exists: people, adapters, the things commands act on. Decides nothing.

The file says who belongs where; sign-ins add groups of the identity provider and linked accounts (`People`).
"""

from __future__ import annotations

from functools import cached_property

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from gateway.domain.people import People
from opsgate.contracts.base import Assurance, PrincipalKind

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
GATEWAY = "opsgate"
"""The gateway's own principal: it asks for what obligations demand (to page somebody), and nobody can be it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Principal(_Model):
    """Who asks: one person across all chat accounts. `identities` are `platform:workspace/user-id`.

    `subject`: the identity provider's `sub`, when it is not the id. `owner`: who answers for a service account.
    `active` false: deactivated; nothing they ask or vote counts from then on.
    """

    id: str = Field(pattern=NAME)
    name: str = Field(min_length=1, max_length=80)
    title: str = ""
    kind: PrincipalKind = PrincipalKind.HUMAN
    groups: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    subject: str = ""
    owner: str = ""
    active: bool = True


class AdapterEntry(_Model):
    """A chat adapter that may speak here: its token's SHA-256 (hex), its platform and workspaces, its app ids."""

    id: str = Field(pattern=NAME)
    platform: str
    token_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    workspaces: tuple[str, ...]
    app_ids: tuple[str, ...] = ()


class ServiceEntry(_Model):
    """Something that runs. `owners`: groups whose members may approve. `latest`: what `latest` means for a version."""

    name: str = Field(pattern=NAME)
    team: str = ""
    owners: tuple[str, ...] = ()
    environments: tuple[str, ...]
    latest: str = Field(default="", pattern=r"^([0-9A-Za-z][0-9A-Za-z._+-]{0,63})?$")
    replicas: int | None = None
    labels: dict[str, str] = Field(default_factory=dict)


class Shift(_Model):
    """Who is on call for a service, from when until when: they are in the group `oncall:SERVICE` meanwhile."""

    service: str = Field(pattern=NAME)
    person: str = Field(pattern=NAME)
    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="until")

    @cached_property
    def span_ns(self) -> tuple[int, int]:
        return int(self.start.timestamp()) * 10**9, int(self.end.timestamp()) * 10**9


class Directory(_Model):
    """Everything of one tenant."""

    people: tuple[Principal, ...] = ()
    adapters: tuple[AdapterEntry, ...] = ()
    services: tuple[ServiceEntry, ...] = ()
    environments: tuple[str, ...] = ()
    oncall: tuple[Shift, ...] = ()
    _more: People = PrivateAttr(default_factory=People)

    @model_validator(mode="after")
    def _nothing_twice(self) -> Directory:
        """One chat account belongs to one person, or four eyes could be two accounts of one head."""
        problems = []
        for what, values in (
            ("person", [p.id for p in self.people]),
            ("subject", [subject for _, subject in {(p.id, p.subject or p.id) for p in self.people}]),
            ("chat identity", [i for p in self.people for i in p.identities]),
            ("adapter", [a.id for a in self.adapters]),
            ("service", [s.name for s in self.services]),
        ):
            problems += [f"{what} `{v}` stands twice" for v in sorted({v for v in values if values.count(v) > 1})]
        for entry in self.services:
            problems += [
                f"service `{entry.name}` names environment `{e}`, which is not in `environments`"
                for e in entry.environments
                if e not in self.environments
            ]
        problems += self._bad_people()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _bad_people(self) -> list[str]:
        known = {p.id: p for p in self.people}
        found = [f"`{GATEWAY}` is the gateway's own name; call the person otherwise"] if GATEWAY in known else []
        for person in self.people:
            human = person.kind is PrincipalKind.HUMAN
            if human and person.owner:
                found.append(f"`{person.id}` is a human, who has no owner")
            owner = known.get(person.owner)
            if not human and (owner is None or owner.kind is not PrincipalKind.HUMAN):
                found.append(f"`{person.id}` needs `owner`: the person who answers for it")
        for shift in self.oncall:
            if shift.person not in known or not any(s.name == shift.service for s in self.services):
                found.append(f"a shift names `{shift.person}` for `{shift.service}`, and one of them is not here")
            elif shift.start >= shift.end:
                found.append(f"the shift of `{shift.person}` for `{shift.service}` ends before it begins")
        return found

    def with_people(self, more: People) -> Directory:
        """The same with what sign-ins added. Shares the look-up tables of this one, however many people there are."""
        made = self.model_copy()
        made._more = more
        return made

    # Looked up on every command: by key, whatever the number of people.
    @cached_property
    def _people(self) -> dict[str, Principal]:
        return {p.id: p for p in self.people}

    @cached_property
    def _identities(self) -> dict[str, Principal]:
        return {i: p for p in self.people for i in p.identities}

    @cached_property
    def _subjects(self) -> dict[str, Principal]:
        return {p.subject or p.id: p for p in self.people}

    @cached_property
    def _services(self) -> dict[str, ServiceEntry]:
        return {s.name: s for s in self.services}

    @cached_property
    def _shifts(self) -> dict[str, tuple[Shift, ...]]:
        return {p: tuple(s for s in self.oncall if s.person == p) for p in {s.person for s in self.oncall}}

    def person(self, person_id: str, now_ns: int = 0) -> Principal | None:
        """An active person with all groups they are in at this moment; None when unknown or deactivated.

        `now_ns` 0: only the groups that do not depend on the hour.
        """
        if person_id == GATEWAY:
            return Principal(id=GATEWAY, name="Opsgate", kind=PrincipalKind.SERVICE, groups=(GATEWAY,))
        listed = self._people.get(person_id)
        known = self._more.by_person.get(person_id)
        if known is not None and not self._speaks_of(known.subject, person_id):
            known = None
        if listed is None and known is not None:
            listed = Principal(id=known.person, name=known.name, subject=known.subject)
        if listed is None or not listed.active:
            return None
        groups = dict.fromkeys(listed.groups)
        if known is not None and now_ns < known.stale_ns:
            groups |= dict.fromkeys(known.groups)
        for shift in self._shifts.get(person_id, ()):
            if shift.span_ns[0] <= now_ns < shift.span_ns[1]:
                groups[f"oncall:{shift.service}"] = None
        linked = self._more.accounts.get(person_id, ())
        more = {"groups": tuple(groups), "identities": tuple(dict.fromkeys((*listed.identities, *linked)))}
        return listed.model_copy(update=more)

    def by_identity(self, identity: str, now_ns: int = 0) -> Principal | None:
        """Who is behind a chat account. The file comes first: a link can never take an account away from its person."""
        listed = self._identities.get(identity)
        person = listed.id if listed else self._more.links.get(identity, "")
        return self.person(person, now_ns) if person else None

    def by_subject(self, subject: str, now_ns: int = 0) -> Principal | None:
        """Who a token speaks of: the `sub` of the identity provider."""
        listed = self._subjects.get(subject)
        known = self._more.known.get(subject)
        person = listed.id if listed else known.person if known and self._speaks_of(subject, known.person) else ""
        return self.person(person, now_ns) if person else None

    def _speaks_of(self, subject: str, person_id: str) -> bool:
        """Whether the file leaves this subject to this person: it may have listed either under another since."""
        by_subject, by_id = self._subjects.get(subject), self._people.get(person_id)
        return by_subject is by_id if by_subject or by_id else True

    def service(self, name: str) -> ServiceEntry | None:
        return self._services.get(name)

    def may_vote_for(self, taker: str, giver: str, now_ns: int) -> bool:
        """Whether `giver` delegated to `taker` for this moment."""
        held = (d for d in self._more.delegations if d.giver == giver and d.taker == taker)
        return any(d.holds(now_ns) for d in held)

    def givers(self, taker: str, now_ns: int) -> tuple[str, ...]:
        """Whose votes this person may cast besides their own."""
        return tuple(d.giver for d in self._more.delegations if d.taker == taker and d.holds(now_ns))


class Asker(_Model):
    """A Principal as proven for one call: how well, through which adapter, on which platform.

    `actors`: who acts for them, nearest first, with the owners of acting service accounts. `scopes`: of an API token.
    """

    principal: Principal
    assurance: Assurance
    method: str
    platform: str
    adapter: str = ""
    source_ip: str | None = None
    actors: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    mfa_at_ns: int = 0

    @property
    def id(self) -> str:
        return self.principal.id
