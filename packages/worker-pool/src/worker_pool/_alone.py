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

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy = is_busy
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
        """Whether nothing may start now. Only a look: those who ask go by what they saw before."""
        return self.job is not None and self._is_busy()

    def enter(self) -> J | None:
        """Where nothing blocks: return the job that was held, to be run at once, or None."""
        job = self.held
        self._runs = job is not None
        return job

    def see_end(self) -> None:
        """Forget the job if it has run and ended."""
        if self._runs and not self._is_busy():
            self.forget()

    def forget(self) -> None:
        """There is no such job any more."""
        self.job, self._runs = None, False
