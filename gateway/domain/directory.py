"""Who and what exists: people, adapters, the things commands act on. Read from a file; decides nothing."""

from __future__ import annotations

from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, model_validator

from opsgate.contracts.base import Assurance, PrincipalKind

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Principal(_Model):
    """Who asks: one person across all chat accounts. `identities` are `platform:workspace/user-id`."""

    id: str = Field(pattern=NAME)
    name: str = Field(min_length=1, max_length=80)
    title: str = ""
    kind: PrincipalKind = PrincipalKind.HUMAN
    groups: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()


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


class Directory(_Model):
    """Everything of one tenant."""

    people: tuple[Principal, ...] = ()
    adapters: tuple[AdapterEntry, ...] = ()
    services: tuple[ServiceEntry, ...] = ()
    environments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _nothing_twice(self) -> Directory:
        """One chat account belongs to one person, or four eyes could be two accounts of one head."""
        problems = []
        for what, values in (
            ("person", [p.id for p in self.people]),
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
        if problems:
            raise ValueError("\n".join(problems))
        return self

    # Looked up on every command: by key, whatever the number of people.
    @cached_property
    def _people(self) -> dict[str, Principal]:
        return {p.id: p for p in self.people}

    @cached_property
    def _identities(self) -> dict[str, Principal]:
        return {i: p for p in self.people for i in p.identities}

    @cached_property
    def _services(self) -> dict[str, ServiceEntry]:
        return {s.name: s for s in self.services}

    def person(self, person_id: str) -> Principal | None:
        return self._people.get(person_id)

    def by_identity(self, identity: str) -> Principal | None:
        return self._identities.get(identity)

    def service(self, name: str) -> ServiceEntry | None:
        return self._services.get(name)


class Asker(_Model):
    """A Principal as proven for one call: how well, through which adapter, on which platform."""

    principal: Principal
    assurance: Assurance
    method: str
    platform: str
    adapter: str = ""
    source_ip: str | None = None

    @property
    def id(self) -> str:
        return self.principal.id
