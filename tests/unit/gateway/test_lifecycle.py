"""The table of states is the whole truth."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.domain import lifecycle
from opsgate.contracts.invocations import State


@pytest.mark.parametrize(("now", "then"), list(product(State, State)))
def test_only_the_steps_of_the_table_are_possible(now: State, then: State) -> None:
    """Every pair of states, one way or the other."""
    if then in lifecycle.TRANSITIONS[now]:
        assert lifecycle.step(now, then) is then
    else:
        with pytest.raises(lifecycle.IllegalTransition):
            lifecycle.step(now, then)


def test_every_state_is_in_the_table_and_final_ones_have_no_way_out() -> None:
    """A success that came first stays a success."""
    assert set(lifecycle.TRANSITIONS) == set(State)
    final = {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DENIED, State.EXPIRED, State.UNKNOWN}
    assert final == lifecycle.FINAL
    assert lifecycle.START.isdisjoint({State.RUNNING, State.SUCCEEDED})
