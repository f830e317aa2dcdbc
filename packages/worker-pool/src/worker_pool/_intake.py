"""The side of a feed that faces its source: what is taken, when, and by whom.

What can be had at once (a plain iterable, `receive_nowait`) is taken by the seat that wants it; what must be awaited
is fetched by one task, the pump of `_pump.py`, and lies in `stock` for that moment. An input is outstanding from when
it is taken until its outcome is settled, or, in a stream, has been looked at; no more than `window` are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import contextmanager
from itertools import repeat, starmap
from typing import TYPE_CHECKING, Any

import anyio

from ._foreign import is_of_call, told_of_source
from ._job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ._engine import Engine
    from ._pump import Pump


class Intake(ABC):
    """To the demand it is a supply of jobs. `pull` takes an input, if that can be done at once."""

    most_at_once: int = 1  # inputs that the pump gets when it fetches

    def __init__(self, engine: Engine, pull: Callable[[], Any] | None, may_pile_up: bool) -> None:
        self.engine = engine
        self.window: int = 2 * engine.slots
        self.stock: deque[Job] = deque()
        self.taken: int = 0
        self.is_ended: bool = False  # nothing more comes from the source
        self.is_dropped: bool = False  # what has not started is not wanted any more
        self.pump: Pump | None = None  # while it runs
        self.hunger: anyio.Event | None = None  # the pump waits for it
        self.is_fetching: bool = False  # the pump awaits an input: whoever pulled one now would overtake it
        self._pull = pull
        self._is_special = pull is None  # there may be more to `next` than to pull
        self._may_pile_up = may_pile_up  # more may be outstanding than there are slots
        self._looked_at: int = 0  # inputs that are over, but for successes that nobody looks at
        self._spare: Job | None = None  # one that is over, for the next input: it saves a sixth of what an input costs
        self._heed = False  # is there anything to do when an input is settled?
        self._is_parked = False  # it would take more, but for the window

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """How many inputs have been taken and are not over: see above."""

    @abstractmethod
    def withdrawn(self, job: Job, *_: object) -> None:
        """A job ended without an outcome."""

    @abstractmethod
    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; `error` is why, if it is one."""

    # --- a supply

    def next(self) -> Job | None:
        """See `Supply`."""
        if self._is_special:
            if self.stock:
                self.poke()
                return self.stock.popleft()
            if self.is_ended or self._pull is None or self.is_fetching:
                self.poke()
                return None
        return self.take_now()

    def take_now(self) -> Job | None:
        """Take an input from the source, which has it at once: the hot path of `next`."""
        # The first comparison is cheap, and enough most of the time.
        if self._may_pile_up and self.taken - self._looked_at >= self.window and self.outstanding >= self.window:
            self._heed = self._is_parked = True
            return None
        try:
            item = self._pull()  # type: ignore[misc]
        except BaseException as error:
            if not is_of_call(error):
                raise
            self._nothing_came(told_of_source(error))
            return None
        index = self.taken = self.taken + 1
        job = self._spare
        if job is None:
            job = Job(self, item, index)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # we are a feed
        else:
            self._spare = None
            job.input, job.index = item, index
        if self.is_dropped:  # the source itself has stopped this call
            self.withdrawn(job)
            return None
        return job

    def take_run(self, size: int) -> tuple[int, list[Any]]:
        """Take up to `size` inputs as `take_now` does, without a job for each; return the number of the first."""
        if self._may_pile_up and (size := min(size, self.window - self.outstanding)) <= 0:
            self._heed = self._is_parked = True
            return 0, []
        first, pull = self.taken + 1, self._pull
        inputs: list[Any] = []
        error: Exception | None = None
        try:
            for item in starmap(pull, repeat((), size)):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                inputs.append(item)
        except BaseException as raised:
            if not is_of_call(raised):
                raise
            error = told_of_source(raised)
        self.taken += len(inputs)
        if error is not None:
            self._nothing_came(error)
        elif len(inputs) < size:  # StopIteration
            self.end()
        if self.is_dropped:  # the source itself has stopped this call
            for i, item in enumerate(inputs):
                self.withdrawn(Job(self, item, first + i))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            return 0, []
        return first, inputs

    @property
    def is_simple(self) -> bool:
        """See `Supply`."""
        return not self._is_special

    def _nothing_came(self, error: Exception) -> None:
        if isinstance(error, anyio.WouldBlock) and self.pump is not None:
            self.poke()
        elif isinstance(error, (StopIteration, anyio.EndOfStream)):
            self.end()
        else:
            self.end(error)

    async def starve(self) -> None:
        """Wait, as the pump, until more may be wanted."""
        if self.outstanding >= self.window:
            self._heed = self._is_parked = True  # a success makes room, and the worker may go on with another call
        self.hunger = anyio.Event()
        await self.hunger.wait()
        self.hunger = None

    def poke(self) -> None:
        """See `Supply`."""
        if self.hunger is not None:
            self.hunger.set()

    @property
    def in_stock(self) -> int:
        """See `Supply`."""
        return len(self.stock)

    def wanted(self) -> int:
        """How many inputs the pump is to fetch now.

        One for each free slot that no other call is fetching for. At least one, if there is such a slot at all: the
        others may wait for long. Where they compete for every slot that becomes free, one ahead, or this call would
        never get its turn.
        """
        demand, left = self.engine.demand, self.window - self.outstanding
        if left <= 0 or self.is_ended:
            return 0
        if room := demand.room():
            return min(left, self.most_at_once, max(1, room - demand.fetching))
        return int(not self.stock and demand.is_contended(self))

    @contextmanager
    def fetching(self, wanted: int) -> Generator[None]:
        """Let nobody else take inputs while the pump awaits some; other pumps count on those."""
        demand = self.engine.demand
        self._is_special = self.is_fetching = True
        demand.shortcut = None
        demand.fetching += wanted
        try:
            yield
        finally:
            demand.fetching -= wanted
            self.is_fetching = False

    def pump_ended(self, error: BaseException | None) -> None:
        """The pump will bring nothing more."""
        self.pump = None
        self.engine.demand.quenched(self)
        self.end(error)

    def accept(self, job: Job) -> None:
        """Take in a job that the pump has fetched."""
        self.taken += 1
        self._is_special = True
        if self.is_dropped:
            self.withdrawn(job)
        else:
            self.stock.append(job)
            self.engine.demand.ready(self)
