"""Turns of several batchers on one thread, so that a slow model does not starve a fast one."""

import logging
import math
import threading
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class Member(Protocol):
    """What takes turns. All methods but the work itself are called with `Turns.changed` held."""

    @property
    def is_urgent(self) -> bool:
        """Whether a batch waits that is not in the background."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing waits and nothing will."""

    def background_delay_s(self) -> float:
        """Return the seconds until a batch in the background may run; infinite if there is none."""

    def take(self) -> Callable[[], None]:
        """Remove the next batch; return the function that runs it."""

    def fail(self) -> None:
        """Reject everything that waits: no batch will run any more."""


class Turns:
    """One thread on which several members run their batches in turn.

    A member that waits has its turn before any other has a second one, so that it waits for at most one batch of
    each other member, however many wait there. Batches in the background run only while no member has others.
    """

    def __init__(self, on_death: Callable[[BaseException], None] = lambda _: None) -> None:
        """``on_death`` is called once, from any thread, if the thread dies or `lose` is called before `end`."""
        self.changed = threading.Condition()
        """Guards what the members have waiting; to be notified when it changes."""
        self.last_arrival = -math.inf
        """Time of `time.perf_counter` when an item arrived last that is not in the background, at any member."""
        self._on_death = on_death
        self._over = threading.Lock()
        self._members: list[Member] = []
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)

    def add(self, member: Member) -> None:
        """Give ``member`` turns from now on, until it has finished."""
        with self.changed:
            self._members.append(member)
        if self._thread.ident is None:
            self._thread.start()

    def wait_until_gone(self, member: Member, timeout_s: float | None) -> bool:
        """Return whether ``member`` has finished and none of its batches runs; wait for it."""
        with self.changed:
            return self.changed.wait_for(lambda: member not in self._members, timeout_s)

    def lose(self, error: BaseException) -> None:
        """Report that what runs the batches is lost. Thread-safe; only the first call has an effect."""
        if self._over.acquire(blocking=False):
            self._on_death(error)

    def end(self) -> None:
        """Report no loss from now on: everything ends on purpose."""
        self._over.acquire(blocking=False)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, which it does when all members have finished.

        Where the process ends meanwhile, libraries in C++ may abort it.
        """
        if self._thread.ident is not None and not self._members:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            while run := self._next():
                run()
        except BaseException as error:
            log.critical("the model's thread died", exc_info=error)
            self._die(error)

    def _next(self) -> Callable[[], None] | None:
        """Wait for a batch; return the function that runs it. ``None``: all members have finished."""
        with self.changed:
            while True:
                self._members = [member for member in self._members if not member.is_finished]
                self.changed.notify_all()
                if not self._members:
                    return None
                if member := self._whose_turn():
                    self._members.remove(member)
                    self._members.append(member)  # behind all others
                    return member.take()
                delay_s = min(member.background_delay_s() for member in self._members)
                self.changed.wait(None if math.isinf(delay_s) else delay_s)

    def _whose_turn(self) -> Member | None:
        urgent = (member for member in self._members if member.is_urgent)
        in_background = (member for member in self._members if member.background_delay_s() == 0)
        return next(urgent, None) or next(in_background, None)

    def _die(self, error: BaseException) -> None:
        with self.changed:
            members = list(self._members)
            for member in members:
                member.fail()
        try:
            self.lose(error)
        finally:
            with self.changed:
                self._members.clear()
                self.changed.notify_all()
