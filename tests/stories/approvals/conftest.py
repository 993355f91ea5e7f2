"""The guild: a team with several owners and services that each show one rule. Added to a house once, and left there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import yaml

from opsgate.contracts.invocations import State
from tests.stories.room import Room, eventually, shown

if TYPE_CHECKING:
    from tests.rig.stages import Stage

RULES = """
package gateway.teams.guild

needs(id, groups, quorum, ttl_s) := {"id": id, "groups": groups, "quorum": quorum, "ttl_s": ttl_s}

write if input.action.effect == "write"

require contains needs("two_owners", ["owners:guild"], 2, 600) if {
	write
	input.resource.service == "two-owners"
}

require contains object.union(
	needs("owner_stage", ["owners:guild"], 1, 600),
	{"distinct_from": {"groups": ["security"], "quorum": 1}},
) if {
	write
	input.resource.service == "two-stages"
}

require contains object.union(
	needs("security_stage", ["security"], 1, 600),
	{"distinct_from": {"groups": ["owners:guild"], "quorum": 1}},
) if {
	write
	input.resource.service == "two-stages"
}

require contains object.union(needs("hasty", ["owners:guild"], 1, 600), {"wait_s": 2}) if {
	write
	input.resource.service == "hasty"
}

require contains needs("fleeting", ["owners:guild"], 2, 2) if {
	write
	input.resource.service == "fleeting"
}

require contains object.union(needs("automatic", ["owners:guild"], 1, 600), {"auto": true}) if {
	write
	input.resource.service == "automatic"
}

require contains needs("people_only", ["owners:guild"], 1, 600) if {
	write
	input.resource.service == "people-only"
}

auto_approve contains {"rule": "robots_may", "requirement": "automatic"}

auto_approve contains {"rule": "robots_may", "requirement": "people_only"}
"""
SERVICES = ("two-owners", "two-stages", "hasty", "fleeting", "automatic", "people-only")
OWNERS = ("erin", "frank", "grace")
STAFF = ["members", "developers", "team:guild"]


def guild(directory: dict[str, Any]) -> None:
    """Erin, Frank and Grace own everything of the guild; Heidi owns it too and is of security; a robot is Erin's."""
    directory["people"] += [{"id": p, "name": p.title(), "groups": [*STAFF, "owners:guild"]} for p in OWNERS]
    directory["people"] += [
        {"id": "heidi", "name": "Heidi", "groups": ["members", "security", "owners:guild"]},
        {"id": "ivan", "name": "Ivan", "groups": STAFF},
        {"id": "judy", "name": "Judy", "groups": STAFF},
        {"id": "robot", "name": "Robot", "kind": "service", "owner": "erin", "groups": STAFF},
    ]
    directory["services"] += [
        {"name": name, "team": "team:guild", "owners": ["owners:guild"], "environments": ["staging"], "latest": "1.0.0"}
        for name in SERVICES
    ]


class Guild(Room):
    """A room with the guild in it, and a hand on the files that security and the operator keep."""

    def settle(self) -> None:
        if "team:guild" in self.stage.files.directory.read_text():
            return
        with self.new_policy():
            (self.stage.files.policies / "teams" / "guild.rego").write_text(RULES)
        self.change_directory(guild)
        for node in range(len(self.stage.urls)):
            eventually(partial(self.knows, "robot", node))

    def knows(self, person: str, node: int = 0) -> bool:
        try:
            return bool(self.as_(person, node).get("/v1/whoami").is_success)
        except httpx2.HTTPStatusError:  # nobody can become a persona that is not there yet
            return False

    def groups(self, person: str, node: int = 0) -> list[str]:
        answer = self.as_(person, node).get("/v1/whoami")
        return list(answer.json()["groups"]) if answer.is_success else []

    def is_in(self, person: str, groups: list[str], node: int) -> bool:
        return self.groups(person, node) == groups

    def change_directory(self, change: Any) -> None:
        file = self.stage.files.directory
        directory = yaml.safe_load(file.read_text())
        change(directory)
        half = file.with_suffix(".half")
        half.write_text(yaml.safe_dump(directory))
        half.replace(file)

    def regroup(self, person: str, groups: list[str]) -> None:
        """Puts a person into exactly these groups, and waits until every gateway knows."""

        def change(directory: dict[str, Any]) -> None:
            for entry in directory["people"]:
                if entry["id"] == person:
                    entry["groups"] = groups

        self.change_directory(change)
        for node in range(len(self.stage.urls)):
            eventually(partial(self.is_in, person, groups, node), what=f"{person} in {groups}")

    @contextmanager
    def new_policy(self) -> Iterator[None]:
        """Waits until what is changed meanwhile is the policy in force."""

        def revision() -> str:
            return str(json.loads(self.stage.policy_status_file.read_text())["revision"])

        before = revision()
        yield
        eventually(lambda: revision() != before, what="the new policy being in force")

    @contextmanager
    def policy_data(self, **changed: Any) -> Iterator[None]:
        """Other data of the policy for a while."""
        file = self.stage.files.policies / "data.json"
        before = file.read_text()
        with self.new_policy():
            file.write_text(json.dumps(json.loads(before) | changed))
        try:
            yield
        finally:
            with self.new_policy():
                file.write_text(before)

    @contextmanager
    def busy(self, seconds: float = 5) -> Iterator[None]:
        """Something holds api-service in production for so long, so that what is allowed meanwhile stays queued."""
        self.trouble(service="api-service", slow_s=seconds)
        holder = self.ask("alice", f"restart production api-service --reason hold-{time.time_ns()}")
        self.say("bob", f"approve {shown(holder)}")
        self.until("alice", holder.id, State.RUNNING)
        self.peace()
        try:
            yield
        finally:
            self.until("alice", holder.id)


@pytest.fixture
def room(stage: Stage) -> Iterator[Guild]:
    with Guild(stage) as room:
        room.peace()
        room.settle()
        yield room
        room.peace()
