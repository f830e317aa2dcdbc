"""The parent's end of a function child: lists of inputs out, one reply for each in, and the account of a death."""

from __future__ import annotations

import sys
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from worker_ipc import ChannelClosed, ChildStream, EncodeError, ProtocolError
from worker_ipc.codecs import Pickled
from worker_pool import NotStarted, Settle

from ._asides import pass_on
from ._calls import Calls, give_back, is_answer
from ._errors import FunctionError, WorkerDied
from ._function_child import blame
from ._journal import BEGUN, FROM, TO, Journal
from ._pickles import Unloadable
from ._settling import Telling, settle_unsent
from ._worker import SpawnedWorker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker_ipc.codecs import Codec
    from worker_pool import Settled

InputT = TypeVar("InputT")
ResultT = TypeVar("ResultT")

SETTLE = 0.001  # seconds: an age for a processor's store buffer, which is all that has to drain


def joins(codec: Codec[Any]) -> bool:
    """Tell whether a message of the child is an array of replies, and not one of them."""
    return not isinstance(codec, Pickled)


class FunctionCalls(SpawnedWorker[InputT, ResultT]):
    """Numbers its inputs from 1 in the order of sending; the child answers in that order."""

    batch = 4096  # inputs per message: the pool's measure of time is what bounds it
    overlaps = False

    def __init__(self, name: str, stream: ChildStream[Any], codec: Codec[Any], journal: Journal | None) -> None:
        super().__init__(name, stream)
        self._joins = joins(codec)
        self._stream = stream
        self._codec = codec
        self._journal = journal
        self._lists: deque[Calls[InputT]] = deque()
        self._known: list[Calls[InputT]] = []  # lists of which something is known that is not settled yet
        self._sent = 0  # inputs
        self._answered = 0
        self._fetched = 0  # replies read from the journal that the channel will bring once more
        self._withdrawn: set[int] = set()  # numbers that are settled already, and will still be answered with []
        self._turn = anyio.Lock()  # of those who `execute`
        self.crowded: anyio.Event | None = None  # set when an input waits behind another, see `_withdrawal`

    @property
    def busy(self) -> bool:
        """Whether the child has inputs that it did not answer."""
        return self._sent > self._answered

    async def execute(self, input: InputT) -> ResultT:
        """Call the function and return its result, or raise FunctionError or WorkerDied. Several wait in line."""
        async with self._turn:
            while True:
                outcome = await self._outcome(input)
                if not isinstance(outcome, NotStarted):
                    result: ResultT = outcome.unwrap()
                    return result
                if outcome.error is not None or not self.active:
                    raise outcome.error or WorkerDied(self._name, phase="execute", pid=self.pid, not_started=True)
                # It was withdrawn, from behind inputs of `submit`: here is nobody else to give it to.

    async def _outcome(self, input: InputT) -> Settled[InputT, ResultT]:
        done = anyio.Event()
        outcomes: list[Settled[InputT, ResultT]] = []

        def tell(outcome: Settled[InputT, ResultT]) -> None:
            outcomes.append(outcome)
            done.set()

        self.submit([input], Telling(input, tell))
        try:
            await done.wait()
        except BaseException:
            self._in_doubt = True
            raise
        return outcomes[0]

    @property
    def gives_back(self) -> bool:
        """Whether what waits behind a slow input is given back, see `_withdrawal`."""
        return self._journal is not None

    async def end(self) -> None:
        """See `SpawnedWorker.end`. What has not begun is taken back first: the child lives, and might begin it yet."""
        if self.busy and self._journal is not None:
            with anyio.CancelScope(shield=True):
                await self.take_back()
        await super().end()

    def submit(self, inputs: Sequence[InputT], settle: Settle) -> None:
        """Send `inputs` as one message. One that can't be encoded fails alone."""
        try:
            self._stream.post(inputs)
        except (EncodeError, ChannelClosed) as error:
            if isinstance(error, EncodeError):
                blame("the input", error)
            settle_unsent(error, inputs, settle, self)
            return
        self._lists.append(Calls(inputs, settle))
        self._sent += len(inputs)
        if self.crowded is not None and self._sent - self._answered > 1:
            self.crowded.set()

    # --- the stream calls these

    def received(self, messages: Sequence[Any]) -> None:
        """Settle what the child has answered."""
        message: Any
        for message in messages if self._joins else (messages,):
            if message.__class__ is dict:
                self._take_results(message["results"])
            else:
                for reply in message:
                    self._take(reply)
        self._settle()

    def closed(self, error: ChannelClosed) -> None:
        """Account for every input that the child had: finished, executing, or not begun."""
        self._fetch()
        if self._journal is not None:
            begun = self._journal.words[BEGUN]
        elif error.__class__ is ChannelClosed and error.returncode is not None:
            begun = self._answered + 1  # it is dead, and each answer that it wrote has been read
        else:
            begun = self._sent  # we stopped reading: it may have gone on, and nobody knows how far
        told, spared = self.doubted(error, "execute"), self.doubted(error, "execute", not_started=True)
        untouched: list[tuple[Calls[InputT], int]] = []
        while self._lists:
            calls = self._lists.popleft()
            for index in range(calls.answered, len(calls.inputs)):
                self._answered += 1
                if self._answered in self._withdrawn:
                    continue
                if self._answered <= begun:
                    self._know(calls, index, None, told)
                else:
                    untouched.append((calls, index))
        self._settle()
        give_back(untouched, spared)

    def fetch(self) -> None:
        """Settle what a child that seems stuck has finished but not written: the channel brings it once more, later."""
        if self._owner.active:
            self._fetched += self._fetch()

    # --- the account

    def _take_results(self, results: list[Any]) -> None:
        """Take the results of inputs of one list."""
        if self._fetched:
            known = min(self._fetched, len(results))
            self._fetched -= known
            results = results[known:]
        if not results:
            return
        calls = self._lists[0]
        start, end = calls.answered, calls.answered + len(results)
        if end > len(calls.inputs):
            raise ProtocolError(f"{len(results)} results for {len(calls.inputs) - start} inputs")
        self._answered += len(results)
        calls.answered = end
        if end == len(calls.inputs):
            self._lists.popleft()
        if not calls.known:
            self._known.append(calls)
        calls.known += zip(range(start, end), results, repeat(None))

    def _take(self, reply: Any) -> None:
        if reply.__class__ is dict and "logger" in reply:
            pass_on(self.id, reply["logger"], reply["level"], reply["text"])
        elif self._fetched:
            self._fetched -= 1
        else:
            self._answer(reply)

    def _answer(self, reply: Any) -> None:
        if not self._lists or not is_answer(reply):  # before it counts: whoever waits for an answer waits on
            raise ProtocolError(f"not an answer of a function child: {reply!r:.200}")
        calls = self._lists[0]
        index = calls.answered
        calls.answered = index + 1
        if calls.answered == len(calls.inputs):
            self._lists.popleft()
        self._answered += 1
        if reply.__class__ is dict:
            self._know(calls, index, None, FunctionError(**reply))
        elif reply.__class__ is Unloadable:
            self._know(calls, index, None, reply.error)
        elif reply:
            self._know(calls, index, reply[0])
        elif self._answered in self._withdrawn:
            self._withdrawn.discard(self._answered)
        else:
            calls.settle(index, NotStarted(calls.inputs[index]))

    def _know(self, calls: Calls[InputT], index: int, result: Any, error: Exception | None = None) -> None:
        if not calls.known:
            self._known.append(calls)
        calls.known.append((index, result, error))

    def _settle(self) -> None:
        """Settle all that is known."""
        while self._known:
            lists, self._known = self._known, []
            for calls in lists:
                known, calls.known = calls.known, []
                calls.settle.many(known, more=calls is not lists[-1])

    def _fetch(self) -> int:
        """Settle the replies that wait in the journal; return how many that were."""
        waiting = self._journal.waiting() if self._journal is not None else None
        if waiting is None:
            return 0
        written, data = waiting
        try:
            replies = self._codec.decoder(sys.maxsize).feed(data)
        except ProtocolError:  # the child's memory is the child's: it may write anything there
            return 0
        answers = [reply for reply in replies if is_answer(reply)]
        known = self._answered - written  # fetched before, or written and noted as such too late
        new = answers[known:] if known >= 0 else []
        del new[self._sent - self._answered :]
        for reply in new:
            self._answer(reply)
        self._settle()
        return len(new)

    # --- taking back what has not begun

    @property
    def answered(self) -> int:
        """Inputs that the child has answered."""
        return self._answered

    @property
    def crowd(self) -> int:
        """Inputs that the child has to execute, the one that it executes included."""
        return self._sent - self._answered - len(self._withdrawn)

    async def take_back(self) -> None:
        """Tell the child to begin nothing more of what it has, and give back what is certain not to have begun.

        The child notes an input as begun *before* it looks at the range, and we set the range before we look at the
        note. What it has not noted by then, it will find withdrawn. What it has noted, it will answer either way.
        """
        if self._journal is not None:
            self._journal.words[TO] = self._sent
            self._journal.words[FROM] = self._journal.words[BEGUN]
        await anyio.sleep(SETTLE)
        if self._journal is None or not self._owner.active:
            return
        begun = max(self._journal.words[BEGUN], self._answered)
        withdrawn = range(begun + 1, self._journal.words[TO] + 1)
        untouched: list[tuple[Calls[InputT], int]] = []
        number = self._answered
        for calls in self._lists:
            for index in range(calls.answered, len(calls.inputs)):
                number += 1
                if number in withdrawn and number not in self._withdrawn:
                    self._withdrawn.add(number)
                    untouched.append((calls, index))
        give_back(untouched)
