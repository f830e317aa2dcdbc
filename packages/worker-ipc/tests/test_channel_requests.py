"""Requests: each reply reaches its own request, and each request ends."""

import os
import pickle
import signal
import sys
from types import MappingProxyType

import anyio
import pytest
from anyio.lowlevel import checkpoint

from worker_ipc import ChannelClosed, EncodeError, RemoteError, open_child
from worker_ipc.codecs import Pickled
from worker_testkit import answer, evil, exit_with, read, serve, step, write

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SERVER = """
import sys, anyio
from worker_ipc import RemoteError, open_parent

async def main():
    async with open_parent() as channel:
        started = 0

        async def slow(*args):
            nonlocal started
            started += 1
            try:
                await anyio.sleep_forever()
            finally:
                started -= 1

        async def later(value):
            await anyio.sleep(0)
            return value

        async def ask(value):
            return await channel.request("double", [value])

        async def fail():
            await anyio.sleep(0)
            raise LookupError("not here")

        def refuse():
            raise RemoteError(42, "mine", {"a": 1})

        channel.handle("double", lambda value: value * 2)
        channel.handle("keywords", lambda *, a, b: [a, b])
        channel.handle("later", later)
        channel.handle("slow", slow)
        channel.handle("running", lambda: started)
        channel.handle("ask", ask)
        channel.handle("fail", fail)
        channel.handle("refuse", refuse)
        channel.handle("exit", lambda: sys.exit(3))
        channel.handle("unsendable", lambda: {1, 2})
        channel.handle("note", notes.append)
        channel.handle("notes", lambda: notes)
        async for _ in channel.listen("end"):
            break

notes = []
anyio.run(main, backend=sys.argv[1])
"""


@pytest.fixture
def server(anyio_backend_name):
    return lambda: open_child([sys.executable, "-c", SERVER, anyio_backend_name])


@pytest.fixture
def any_server():
    """For a test of what this side does: a child on the loop that is imported sooner."""
    return lambda: open_child([sys.executable, "-c", SERVER, "asyncio"])


async def test_functions_of_the_other_side_are_called(server):
    async with server() as channel:
        assert await channel.request("double", ["ab"]) == "abab"
        assert await channel.request("keywords", {"a": 1, "b": 2}) == [1, 2]
        assert await channel.request("later", [None]) is None
        assert await channel.request("running") == 0


@pytest.mark.fault(74)
async def test_many_requests_at_once_each_get_their_own_answer(server):
    async with server() as channel:
        answers = {}

        async def ask(number):
            method = ("double", "later")[number % 2]
            answers[number] = await channel.request(method, [number])

        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(ask, number)
    assert answers == {number: number if number % 2 else number * 2 for number in range(200)}


@pytest.mark.fault(17)
@pytest.mark.fault(20)
@pytest.mark.parametrize(("method", "type"), [("fail", "LookupError"), ("exit", "SystemExit"), ("double", "TypeError")])
async def test_what_a_function_raises_is_a_remote_error_with_the_traceback_as_text(server, method, type):
    async with server() as channel:
        with pytest.raises(RemoteError) as raised:
            await channel.request(method)
        assert raised.value.code == -32000
        assert raised.value.data["type"] == type
        assert type in raised.value.data["traceback"]
        assert await channel.request("double", [1]) == 2


async def test_a_remote_error_that_a_function_raises_arrives_as_it_is(server):
    async with server() as channel:
        with pytest.raises(RemoteError) as raised:
            await channel.request("refuse")
    assert (raised.value.code, raised.value.message, raised.value.data) == (42, "mine", {"a": 1})


@pytest.mark.fault(22)
async def test_a_result_that_cannot_be_encoded_is_an_error_of_that_request_only(server):
    async with server() as channel:
        with pytest.raises(RemoteError) as raised:
            await channel.request("unsendable")
        assert raised.value.data["type"].endswith("EncodeError")
        assert await channel.request("double", [1]) == 2


@pytest.mark.wire("B4")
async def test_a_method_that_nobody_answers_is_refused(server):
    async with server() as channel:
        with pytest.raises(RemoteError, match="'nothing'") as raised:
            await channel.request("nothing")
    assert raised.value.code == -32601


async def test_both_sides_may_ask_each_other(server):
    async with server() as channel:
        channel.handle("double", lambda value: value + value)
        assert await channel.request("ask", ["x"]) == "xx"
        channel.handle("double", lambda value: value + None)
        with pytest.raises(RemoteError, match="unsupported"):
            await channel.request("ask", [1])


async def test_a_notification_has_no_answer(server):
    async with server() as channel:
        await channel.notify("note", ["a"])
        await channel.notify("nobody knows this one")
        await channel.notify("note", ["b"])
        assert await channel.request("notes") == ["a", "b"]


@pytest.mark.wire("E4")
async def test_a_cancelled_request_is_cancelled_over_there(server):
    async with server() as channel:
        async with anyio.create_task_group() as group:
            group.start_soon(channel.request, "slow")
            while not await channel.request("running"):
                pass
            group.cancel_scope.cancel()
        while await channel.request("running"):
            pass
        while not channel.statistics().late_replies:
            await channel.request("running")
        assert channel.statistics().pending_requests == 0


async def test_a_request_that_times_out_raises_and_tells_the_other_side(server):
    async with server() as channel:
        with pytest.raises(TimeoutError):
            await channel.request("slow", timeout=0.05)
        while await channel.request("running"):
            pass
        assert await channel.request("double", [1], timeout=5) == 2


async def test_params_that_cannot_be_encoded_are_refused_at_the_call_and_harm_nothing(server):
    async with server() as channel:
        with pytest.raises(EncodeError):
            await channel.request("double", [object()])
        with pytest.raises(EncodeError):
            channel.request_nowait("double", [object()], lambda result, error: None)
        assert channel.statistics().pending_requests == 0
        assert await channel.request("double", [1]) == 2


class Settled:
    def __init__(self, count=1):
        self.results = []
        self._count = count
        self._done = anyio.Event()

    def __call__(self, *told):
        self.results.append(told)
        if len(self.results) == self._count:
            self._done.set()

    async def wait(self):
        with anyio.fail_after(5):
            await self._done.wait()


async def test_the_callback_form_settles_each_request_once(any_server):
    async with any_server() as channel:
        settled = Settled(3)
        channel.request_nowait("double", [1], settled)
        channel.request_nowait("later", [5], settled)
        channel.request_nowait("refuse", None, settled)
        await settled.wait()
    results = dict(settled.results)
    assert results[2] is results[5] is None
    assert results[None].code == 42


class Answered(Settled):
    """The same for many requests."""

    def __call__(self, answers, more):
        for told in answers:
            super().__call__(*told)

    @property
    def answers(self):
        by_index = {index: (result, error) for index, result, error in self.results}
        assert len(by_index) == len(self.results), "one was answered twice"
        return by_index


async def test_many_requests_leave_together_and_each_has_its_answer(any_server):
    async with any_server() as channel:
        answered = Answered(100)
        channel.request_many_nowait("double", [[number] for number in range(100)], answered)
        await answered.wait()
        assert channel.statistics().pending_requests == 0
    assert answered.answers == {number: (2 * number, None) for number in range(100)}


async def test_one_of_many_may_be_refused_and_another_come_late(any_server):
    async with any_server() as channel:
        doubled, later, refused = Answered(2), Answered(1), Answered(2)
        channel.request_many_nowait("later", [["x"]], later)
        channel.request_many_nowait("double", [{"value": 1}, [[]]], doubled)
        channel.request_many_nowait("refuse", [None, []], refused)
        for each in doubled, later, refused:
            await each.wait()
    assert doubled.answers[1] == ([], None)
    assert doubled.answers[0][0] == 2
    assert later.answers == {0: ("x", None)}
    assert [error.code for _, error in refused.answers.values()] == [42, 42]


async def test_nothing_is_sent_of_many_when_one_cannot_be_encoded(any_server):
    async with any_server() as channel:
        sent = channel.statistics().sent
        with pytest.raises(EncodeError):
            channel.request_many_nowait("double", [[1], [object()]], lambda answers, more: None)
        assert (channel.statistics().sent, channel.statistics().pending_requests) == (sent, 0)


async def test_the_end_of_the_channel_answers_what_is_left_of_many(any_server):
    async with any_server() as channel:
        first, left = Answered(1), Answered(3)
        channel.request_many_nowait("double", [[1]], first)
        channel.request_many_nowait("slow", [None, [1], [2]], left)
        await first.wait()
        os.kill(channel.pid, signal.SIGKILL)
        await left.wait()
        with pytest.raises(ChannelClosed):
            channel.request_many_nowait("double", [[1]], first)
    assert first.answers == {0: (2, None)}
    assert all(result is None and isinstance(error, ChannelClosed) for result, error in left.answers.values())


async def test_a_settle_function_of_many_that_raises_is_logged(any_server, caplog):
    async with any_server() as channel:
        answered = Answered(1)
        channel.request_many_nowait("double", [[1]], lambda answers, more: 1 / 0)
        channel.request_many_nowait("double", [[2]], answered)
        await answered.wait()
    assert answered.answers == {0: (4, None)}
    assert "ZeroDivisionError" in caplog.text


async def test_a_settle_function_may_ask_again_and_begin_a_conversation(any_server):
    async with any_server() as channel:
        left, done = 1000, anyio.Event()

        def settle(result, error):
            nonlocal left
            assert (result, error) == (14, None)
            left -= 1
            if left > 0:
                with channel.conversation():
                    channel.request_nowait("double", [7], settle)
            elif left == 0:
                done.set()

        channel.request_nowait("double", [7], settle)
        with anyio.fail_after(10):
            await done.wait()


@pytest.mark.wire("C2")
async def test_a_settle_function_that_raises_is_logged_and_harms_nobody_else(any_server, caplog):
    async with any_server() as channel:
        settled = Settled()
        channel.request_nowait("double", [1], lambda result, error: 1 / 0)
        channel.request_nowait("double", [2], settled)
        await settled.wait()
    assert settled.results == [(4, None)]
    assert "ZeroDivisionError" in caplog.text


async def test_a_withdrawn_request_is_never_settled_and_cancelled_over_there(server):
    async with server() as channel:
        settled = Settled()
        pending = channel.request_nowait("slow", None, settled)
        while not await channel.request("running"):
            pass
        pending.cancel()
        pending.cancel()
        while await channel.request("running"):
            pass
        assert pending.done()
    assert settled.results == []


@pytest.mark.wire("B4")
@pytest.mark.stress
@pytest.mark.wire("C1")
@pytest.mark.fault(15)
async def test_every_request_ends_when_the_child_does():
    async with open_child(evil("die-when-asked")) as channel:
        settled = Settled()
        errors = []

        async def ask():
            with pytest.raises(ChannelClosed, match="SIGKILL") as closed:
                await channel.request("anything")
            errors.append(closed.value)

        async with anyio.create_task_group() as group:
            channel.request_nowait("anything", None, settled)
            for _ in range(3):
                group.start_soon(ask)
        with pytest.raises(ChannelClosed):
            await channel.request("too late")
        with pytest.raises(ChannelClosed):
            channel.request_nowait("too late", None, settled)
    assert [(error.signal, error.returncode, error.pid) for error in errors] == [(9, -9, channel.pid)] * 3
    assert len({id(error) for error in errors}) == 3
    [(result, error)] = settled.results
    assert (result, error.signal) == (None, 9)


async def test_a_settle_function_that_asks_again_after_the_end_gets_the_end_at_the_call():
    async with open_child(evil("die-when-asked")) as channel:
        seen, done = [], anyio.Event()

        def settle(result, error):
            seen.append(error)
            with pytest.raises(ChannelClosed):
                channel.request_nowait("again", None, settle)
            done.set()

        channel.request_nowait("anything", None, settle)
        with anyio.fail_after(5):
            await done.wait()
    assert len(seen) == 1


@pytest.mark.stress
@pytest.mark.fault(27)
async def test_a_reply_written_just_before_death_is_delivered():
    async with open_child(evil("die-after-reply")) as channel:
        assert await channel.request("anything") == "first"
        with pytest.raises(ChannelClosed, match="code 1"):
            await channel.listen_once("more")


@pytest.mark.fault(70)
@pytest.mark.fault(69)
async def test_doubled_and_unknown_replies_reach_nobody():
    unknown = write('{"jsonrpc":"2.0","id":987,"result":1}\n{"jsonrpc":"2.0","id":"1","result":1}\n')
    async with open_child(evil(unknown, *([read(), answer_twice()]), serve())) as channel:
        assert await channel.request("anything") == "first"
        assert await channel.request("anything") == "honest"
        assert channel.statistics().late_replies == 3


def answer_twice():
    reply = '{"jsonrpc":"2.0","id":{id},"result":"%s"}\n'
    return answer(reply % "first" + reply % "second")


@pytest.mark.stress
@pytest.mark.fault(44)
@pytest.mark.fault(71)
async def test_a_late_reply_never_reaches_the_next_request():
    late = '{"jsonrpc":"2.0","id":{id},"result":"late"}\n'
    child = evil(read(), step("hold"), read(2), step("answer_held", late), answer(late.replace("late", "own")), serve())
    async with open_child(child) as channel:
        with pytest.raises(TimeoutError):
            await channel.request("first", timeout=0.01)
        assert await channel.request("second") == "own"
        assert channel.statistics().late_replies == 1


@pytest.mark.fault(68)
async def test_a_request_of_the_child_is_answered_or_refused():
    ask = '{"jsonrpc":"2.0","id":"a","method":"%s"}\n'
    child = evil(write(ask % "known" + ask % "unknown"), read(2), answer('{"type":"got","id":{id}}\n'), exit_with(0))
    async with open_child(child) as channel:
        channel.handle("known", lambda: 1)
        assert (await channel.listen_once("got"))["id"] == "a"
    assert channel.statistics().handler_errors == 0


@pytest.mark.fault(85)
async def test_after_a_blocked_loop_the_reply_that_is_there_counts():
    import time

    async with open_child(evil("reply-twice")) as channel:
        with anyio.move_on_after(5):
            async with anyio.create_task_group() as group:

                async def ask():
                    assert await channel.request("anything") == "first"

                group.start_soon(ask)
                await checkpoint()
                time.sleep(0.2)  # noqa: ASYNC251  # the fault itself
            return
    raise AssertionError("the reply was lost")


async def test_over_pickled_tuples_and_whatever_is_like_params_arrive_as_such():
    code = SERVER.replace("open_parent()", "open_parent(codec=Pickled())")
    code = "from worker_ipc.codecs import Pickled\n" + code
    async with open_child([sys.executable, "-c", code, "asyncio"], codec=Pickled()) as channel:
        assert await channel.request("double", (21,)) == 42
        assert await channel.request("double", range(21, 22)) == 42
        assert await channel.request("keywords", MappingProxyType({"a": 1, "b": 2})) == [1, 2]


async def test_over_pickled_what_changes_after_send_was_sent_as_it_was():
    code = """
from worker_ipc.blocking import open_parent
from worker_ipc.codecs import Pickled
with open_parent(codec=Pickled()) as channel:
    channel.serve({"last": lambda array: bytes(array[-4:])})
"""
    async with open_child([sys.executable, "-c", code], codec=Pickled()) as channel:
        answers = []
        for size in (4, 400_000, 400_000, 4):  # the kernel takes it; a part of it; nothing
            array = bytearray(b"x" * size + b"good")
            params = [pickle.PickleBuffer(array)]
            channel.request_nowait("last", params, lambda result, error: answers.append(error or result))
            array[-4:] = b"evil"
        while len(answers) < 4:
            await checkpoint()
        assert answers == [b"good"] * 4
