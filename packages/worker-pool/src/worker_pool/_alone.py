"""A job that must run beside nothing: those who held it before have died. A synchronous object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class JobLike(Protocol):
    """What must be known of a job here: whether nothing else may run beside it."""

    alone: bool


J = TypeVar("J", bound=JobLike)


class Alone(Generic[J]):
    """While a job is held here nothing starts; while it runs nothing else does."""

    def __init__(self, is_busy: Callable[[], bool], ended: Callable[[], object]) -> None:
        self._is_busy = is_busy
        self._ended = ended  # called when it has: others may run now
        self._runs = False
        self.job: J | None = None

    @property
    def held(self) -> J | None:
        """The job, as long as it waits for the others to end."""
        return None if self._runs else self.job

    def hold(self, job: J) -> None:
        """Keep a job until it can run."""
        self.job, self._runs = job, False

    def blocks(self) -> bool:
        """Whether nothing may start now. A job that has ended is forgotten here."""
        if self.job is None:
            return False
        if self._is_busy():
            return True
        if self._runs:
            self.forget()
            self._ended()
        return False

    def enter(self) -> J | None:
        """Return the job that was held, to be run at once; None if there is none."""
        job = self.held
        self._runs = job is not None
        return job

    def forget(self) -> None:
        """There is no such job any more."""
        self.job, self._runs = None, False
