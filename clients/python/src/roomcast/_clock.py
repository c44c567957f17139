"""The time of a client."""

from __future__ import annotations

import time
from collections.abc import Callable

_STRETCH, _SLACK = 10.0, 1.0
"""The two clocks are compared once in this stretch of time, and may differ by this slack."""


class Clock:
    """Seconds that only grow.

    The system's clock can be set back, and the steady one may stand still while the machine sleeps. The one that
    advanced further counts, so that neither hides time.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self.wall = wall
        self._steady = steady
        self._passed = 0.0
        self._wall_at, self._steady_at = wall(), steady()

    def now(self) -> float:
        wall, steady = self.wall(), self._steady()
        by_wall, by_steady = wall - self._wall_at, steady - self._steady_at
        passed = max(by_wall, by_steady, 0.0)
        # Not at each call, because the rounding errors of both would add up.
        if passed < _STRETCH and abs(by_wall - by_steady) < _SLACK:
            return self._passed + passed
        self._passed += passed
        self._wall_at, self._steady_at = wall, steady
        return self._passed
