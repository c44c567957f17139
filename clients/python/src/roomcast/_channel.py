"""The way of notices from the connection to the application, with a limit."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """One task puts and waits while there is no room; one task takes and waits while there is nothing."""

    def __init__(self, maximum: int) -> None:
        self.held_count = 0
        """How often `put` had to wait."""
        self.is_holding = False
        """Whether `put` waits now: the application is behind, and the socket is not read."""
        self._maximum = maximum
        self._items: deque[Item] = deque()
        self._is_ended = False
        self._change = asyncio.Event()

    @property
    def is_full(self) -> bool:
        return len(self._items) >= self._maximum

    async def put(self, item: Item) -> None:
        """Waits for room. If it is cancelled, it has not put the item."""
        if self.is_full:
            self.held_count += 1
            self.is_holding = True
            try:
                await self.room()
            finally:
                self.is_holding = False
        self.put_now(item)

    def put_now(self, item: Item) -> None:
        """Exceeds the limit if it must: for what comes once for a connection."""
        if not self._is_ended:
            self._items.append(item)
            self._changed()

    async def room(self) -> None:
        """Waits until there is room."""
        while self.is_full and not self._is_ended:
            await self._change.wait()

    async def take(self) -> Item | None:
        """None when everything has been taken after `end`."""
        while not self._items:
            if self._is_ended:
                return None
            await self._change.wait()
        item = self._items.popleft()
        self._changed()
        return item

    def end(self, *, discard: bool = False) -> None:
        """Nothing is put any more. With `discard` nothing is taken any more, either."""
        self._is_ended = True
        if discard:
            self._items.clear()
        self._changed()

    def _changed(self) -> None:
        self._change.set()
        self._change = asyncio.Event()
