"""What a story needs: the room it is told in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.stories.room import Room

if TYPE_CHECKING:
    from tests.rig.stages import Stage


@pytest.fixture
def room(stage: Stage) -> Iterator[Room]:
    """Everybody signed in, in each profile; the fleet is in peace before and after."""
    with Room(stage) as room:
        room.peace()
        yield room
        room.peace()
