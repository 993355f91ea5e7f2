"""What waits for approval is said again, but as one line a channel and a quarter of an hour, never as a ping each."""

from __future__ import annotations

from collections import defaultdict

from gateway.domain.errors import KeyTaken
from gateway.domain.invocation import NS, Invocation
from gateway.domain.ports import Change, Notice, Once
from gateway.domain.words import digest_of
from gateway.flows.gate import Gate

EVERY_NS = 15 * 60 * NS
LOOKED_AT = 500


async def remind(gate: Gate) -> int:
    """One pass; how many channels were told. Whichever gateway is first tells, the others find the key taken."""
    now_ns = gate.clock.now_ns()
    slot = now_ns // EVERY_NS
    by_channel: dict[tuple[str, str], list[Invocation]] = defaultdict(list)
    for inv in await gate.store.waiting(LOOKED_AT):
        # What was asked since the last digest has its own card on the screen still.
        if inv.context.channel and inv.created_ns < slot * EVERY_NS - EVERY_NS // 3:
            by_channel[inv.platform, inv.context.channel].append(inv)
    told = 0
    for (platform, channel), waiting in by_channel.items():
        once = Once("reminder", f"{platform} {channel} {slot}", "", 200, "")
        notice = Notice(platform, channel, digest_of(waiting, now_ns))
        try:
            await gate.store.apply(Change((), once=once, notice=notice))
        except KeyTaken:
            continue
        told += 1
    if told:
        gate.on_change()
    return told
