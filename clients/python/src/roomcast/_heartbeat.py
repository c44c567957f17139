"""When a connection's heartbeats are due, and what their answers say about it. Pure: times are arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ._gateway import Answer
from ._rules import BACKOFF_BASE, EARLIEST_BEAT, LATEST_BEAT, UNANSWERED, UNTAKEN, VERDICT_SLACK
from ._types import WaitReason


@dataclass(frozen=True, slots=True)
class Next:
    """The next heartbeat follows after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Over:
    """The connection is of no use any more: a new one is needed, at once or, with a reason, after a pause."""

    reason: WaitReason | None = None
    is_token_lost: bool = False


class Heartbeats:
    """Those of one connection, which opened at `opened_at`."""

    def __init__(self, timeout: float, opened_at: float, uniform: Callable[[], float]) -> None:
        self._timeout = timeout
        self._uniform = uniform
        self._answered_at = opened_at
        """When one was last answered: the gateway was reachable then."""
        self._refused_at: float | None = None
        """Since when they get "token error"."""

    def regular(self) -> Next:
        return self._after(EARLIEST_BEAT, LATEST_BEAT)

    def patience(self, now: float) -> float:
        """How long to wait for the Pong of a Ping of `now` before the connection counts as dead."""
        return max(self._timeout * UNTAKEN, self._answered_at + self._timeout + VERDICT_SLACK - now)

    def is_too_late(self, sent_at: float, now: float) -> bool:
        """Whether a Ping of `sent_at` without a Pong shows that the WebSocket's path is dead."""
        return now - sent_at > self._timeout + VERDICT_SLACK

    def ponged(self, now: float) -> Next:
        """A Pong came; with the mode `pong` nothing else is needed."""
        self._answered_at = now
        return self.regular()

    def answered(self, answer: Answer, sent_at: float, now: float) -> Next | Over:
        """A request of `sent_at` got `answer`."""
        is_stale = self._is_stale(sent_at, now)
        if answer.is_token_error:
            return self._refused(is_stale, now)
        if not answer.shows_gateway:
            if now - self._answered_at > self._timeout + VERDICT_SLACK:
                return Over(answer.reason)
            return self._after(UNANSWERED, 3 * UNANSWERED)
        if not is_stale or answer.is_taken:
            self._answered_at = now
        # 503: Redis is unavailable. The connection stays, and its time starts anew when Redis is back.
        if not answer.is_taken:
            return self._after(UNTAKEN, 3 * UNTAKEN, answer.wait)
        self._refused_at = None
        return Over() if is_stale else self.regular()

    def _is_stale(self, sent_at: float, now: float) -> bool:
        """The machine slept: the gateway has closed the connection meanwhile, even if its Close frame was lost."""
        return max(sent_at - self._answered_at, now - sent_at) > self._timeout

    def _refused(self, is_stale: bool, now: float) -> Next | Over:
        """The token is unknown. If heartbeats were in time it cannot have expired: either it was revoked, or Redis has
        lost its data. The node knows which, and closes with 4003 or writes the token again; so wait for that."""
        if self._refused_at is None:
            self._refused_at = now
        is_over = now - self._refused_at > self._timeout + VERDICT_SLACK
        self._answered_at = now
        return Over(is_token_lost=True) if is_stale or is_over else self._after(UNTAKEN, 3 * UNTAKEN)

    def _after(self, earliest: float, latest: float, asked: float = 0.0) -> Next:
        seconds = self._timeout * (earliest + self._uniform() * (latest - earliest))
        if asked:
            seconds = max(seconds, min(asked, self._timeout) + self._uniform() * BACKOFF_BASE)
        return Next(seconds)
