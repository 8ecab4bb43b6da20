"""Queues between two threads."""

from __future__ import annotations

import pytest

from span_arch._util.channel import Channel


def test_a_channel_ends_with_the_error_after_its_items() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.finish(ValueError("oh"))
    items = iter(channel)
    assert next(items) == 1
    with pytest.raises(ValueError, match="oh"):
        next(items)


def test_a_failed_channel_stops_both_sides() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    channel.fail(KeyError("oh"))
    with pytest.raises(KeyError, match="oh"):
        channel.put(2)
    with pytest.raises(KeyError, match="oh"):
        next(iter(channel))
