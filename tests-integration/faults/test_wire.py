"""E. On the wire: whatever a child writes, its parent answers with a typed error or carries on, and always lives."""

import resource
import time

import anyio
import pytest

from worker_ipc import ChannelClosed, EncodeError, MessageTooLarge, Overrun, ProtocolError, WouldBlock, open_child
from worker_testkit import MODES, answer, descriptors, evil, exit_with, read, serve, step, write

pytestmark = pytest.mark.anyio

READY = '{"type":"ready"}\n'


def rss() -> int:
    """Resident bytes of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def violation(mode: str, expected: type[ChannelClosed] = ProtocolError, **options: object) -> ChannelClosed:
    """Start the child, wait for anything, and return the error; the child must be dead by then."""
    with anyio.fail_after(20), pytest.raises(expected) as caught:
        async with open_child(evil(mode), **options) as channel:
            await channel.listen_once("never said")
    assert channel.returncode is not None
    return caught.value


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("garbage", marks=pytest.mark.fault(54)),
        pytest.param("deep", marks=pytest.mark.fault(58)),
        pytest.param("bad-utf8", marks=pytest.mark.fault(60)),
        pytest.param("overlong-utf8", marks=pytest.mark.fault(60)),
        pytest.param("nul", marks=pytest.mark.fault(60)),
        pytest.param("bom", marks=pytest.mark.fault(60)),
        pytest.param("not-an-object", marks=pytest.mark.fault(68)),
        pytest.param("nan", marks=pytest.mark.fault(64)),
        pytest.param("infinite", marks=pytest.mark.fault(62)),
        pytest.param("huge-integer", marks=pytest.mark.fault(62)),
        pytest.param("many-digits", marks=pytest.mark.fault(62)),
    ],
)
async def test_a_violation_ends_the_child_and_not_the_parent(mode: str) -> None:
    error = await violation(mode)
    assert type(error) is ProtocolError
    assert len(str(error)) < 1000


@pytest.mark.fault(54)
async def test_what_came_whole_before_the_garbage_is_still_delivered() -> None:
    async with open_child(evil("reply-then-garbage")) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "first"
            with pytest.raises(ProtocolError):
                await channel.request("again")


@pytest.mark.fault(55)
async def test_half_a_line_is_told_by_its_size() -> None:
    error = await violation("half-line", ChannelClosed)
    assert not isinstance(error, ProtocolError)
    assert error.truncated == len('{"type":"re')
    assert error.returncode == 0


@pytest.mark.fault(56)
async def test_an_endless_line_ends_at_the_limit_in_bounded_memory() -> None:
    before = rss()
    await violation("endless-line", MessageTooLarge, max_message=8_000_000)
    assert rss() - before < 40_000_000


@pytest.mark.fault(57)
async def test_a_message_over_the_limit_is_never_cut_and_delivered() -> None:
    line = (write('{"type":"ready","data":"'), write("x", 1_000_000), write('"}\n'), serve())
    async with open_child(evil(*line), max_message=500_000) as channel:
        with anyio.fail_after(10), pytest.raises(MessageTooLarge):
            await channel.listen_once("ready")


@pytest.mark.fault(61)
async def test_a_lone_surrogate_has_one_rule_for_each_direction() -> None:
    async with open_child(evil(write('{"type":"ready","data":"\\ud800"}\n'), serve())) as channel:
        with anyio.fail_after(10):
            with pytest.raises(EncodeError):
                await channel.send("anything", {"data": "\ud800"})
            try:
                assert (await channel.listen_once("ready"))["data"] == "\ud800"
                assert await channel.request("anything") == "honest"
            except ProtocolError:
                assert not channel.active


@pytest.mark.fault(62)
@pytest.mark.fault(64)
@pytest.mark.parametrize(
    "value",
    [2**64, -(2**63) - 1, float("nan"), float("inf"), {1: 2}, b"bytes", {1, 2}, object(), "\udcff"],
    ids=repr,
)
async def test_what_would_not_arrive_as_it_is_is_refused_and_harms_nothing(value: object) -> None:
    async with open_child(evil("unknown-type")) as channel:
        with anyio.fail_after(10):
            with pytest.raises(EncodeError):
                await channel.send("anything", {"data": value})
            with pytest.raises(EncodeError):
                await channel.request("anything", [value])
            assert await channel.request("anything") == "honest"


@pytest.mark.fault(59)
async def test_nesting_that_cannot_be_written_is_refused_at_the_writer() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    async with open_child(evil("unknown-type")) as channel:
        with anyio.fail_after(10):
            with pytest.raises(EncodeError):
                await channel.send("anything", {"data": nested})
            assert await channel.request("anything") == "honest"
    while nested:  # an iterative end: the recursive one would be deep
        nested = nested.pop()  # type: ignore[assignment]


@pytest.mark.fault(65)
@pytest.mark.parametrize("mode", ["blank-lines", "crlf"])
async def test_blank_lines_and_crlf_are_nothing_special(mode: str) -> None:
    async with open_child(evil(mode)) as channel:
        with anyio.fail_after(10):
            assert await channel.listen_once("ready") == {"type": "ready"}
            assert await channel.request("anything") == "honest"


@pytest.mark.fault(65)
async def test_of_duplicate_keys_the_last_one_wins() -> None:
    async with open_child(evil("duplicate-keys")) as channel:
        with anyio.fail_after(10):
            assert await channel.listen_once() == {"type": "ready", "data": 2}


@pytest.mark.fault(66)
async def test_six_megabytes_of_tiny_objects_arrive_or_are_over_the_limit() -> None:
    async with open_child(evil("tiny-objects")) as channel:
        with anyio.fail_after(30):
            assert len((await channel.listen_once("ready"))["data"]) == 2_000_001
    await violation("tiny-objects", MessageTooLarge, max_message=1_000_000)


@pytest.mark.fault(67)
async def test_a_large_message_costs_linear_time() -> None:
    async def receive(size: int) -> float:
        line = (write('{"type":"ready","data":"'), write("x", size), write('"}\n'))
        start = time.perf_counter()
        async with open_child(evil(*line)) as channel:
            assert len((await channel.listen_once("ready"))["data"]) == size
            return time.perf_counter() - start

    with anyio.fail_after(50):
        small = min([await receive(2_000_000) for _ in range(3)])
        large = min([await receive(20_000_000) for _ in range(3)])
    assert large < 30 * small  # a decoder that rescans its buffer: a hundred times


@pytest.mark.fault(68)
@pytest.mark.parametrize("mode", ["unknown-type", "no-type", "type-is-a-number", "strange-id", "unknown-id"])
async def test_a_strange_message_is_kept_counted_or_refused_by_name(mode: str) -> None:
    async with open_child(evil(mode)) as channel:
        with anyio.fail_after(10):
            try:
                await channel.listen_once("ready")
                assert await channel.request("anything") == "honest"
            except ProtocolError:
                assert mode in ("no-type", "type-is-a-number", "strange-id")


@pytest.mark.fault(68)
async def test_a_reply_that_is_neither_result_nor_error_breaks_the_protocol() -> None:
    async with open_child(evil("broken-envelope")) as channel:
        with anyio.fail_after(10), pytest.raises(ProtocolError):
            await channel.request("anything")


@pytest.mark.fault(68)
async def test_messages_of_node_never_reach_the_user_and_are_refused_at_send() -> None:
    async with open_child(evil("node-message")) as channel:
        with anyio.fail_after(10):
            with channel.listen() as everything:
                await channel.listen_once("ready")
                assert await channel.request("anything") == "honest"
                with pytest.raises(EncodeError):
                    await channel.send("anything", {"cmd": "NODE_HANDLE"})
                everything.close()
                assert [message async for message in everything] in ([], [{"type": "ready"}])


@pytest.mark.fault(69)
@pytest.mark.fault(40)
async def test_five_hundred_replies_to_nobody_are_dropped_and_counted() -> None:
    async with open_child(evil("chatter")) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "honest"
        assert channel.statistics().late_replies == 500


@pytest.mark.fault(70)
async def test_the_first_answer_counts_and_the_second_is_nobodys() -> None:
    async with open_child(evil("reply-twice")) as channel:
        with anyio.fail_after(10):
            assert await channel.request("anything") == "first"
            assert await channel.request("anything") == "honest"
        assert channel.statistics().late_replies == 1


@pytest.mark.fault(71)
@pytest.mark.fault(44)
async def test_a_reply_after_the_deadline_is_never_given_to_the_next_request() -> None:
    late = '{"jsonrpc":"2.0","id":{id},"result":"late"}\n'
    script = (
        write(READY),
        read(),
        step("hold"),
        read(2),
        step("answer_held", late),
        answer(late.replace("late", "mine")),
    )
    async with open_child(evil(*script)) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            with pytest.raises(TimeoutError):
                await channel.request("first", timeout=0.05)
            assert await channel.request("second") == "mine"
        assert channel.statistics().late_replies == 1


@pytest.mark.fault(73)
async def test_a_send_to_a_deaf_child_waits_in_bounded_memory() -> None:
    async with open_child(evil("deaf")) as channel:
        before = rss()
        sent = 0
        with anyio.move_on_after(0.3) as scope:  # an endless buffer would take all 200 in a few milliseconds
            while True:
                await channel.send("anything", {"data": "x" * 10_000})
                sent += 1
        assert scope.cancelled_caught
        assert sent < 200
        assert rss() - before < 20_000_000
        with pytest.raises(WouldBlock):
            channel.send_nowait("anything", {"data": "x" * 10_000})
        await channel.destroy(grace=0)  # it would not leave if asked


@pytest.mark.fault(75)
async def test_half_a_line_is_never_followed_by_another() -> None:
    """Cancelled sends to a child that only reads later: each line that it then finds is whole."""
    script = (write(READY), read(), step("wait", 0.5), step("check_lines", '"last"'))
    async with open_child(evil(*script)) as channel:
        with anyio.fail_after(20):
            await channel.listen_once("ready")
            await channel.send("go")
            cancelled = 0
            for size in (10_000, 200_000, 1_000_000, 50, 70_000) * 3:
                with anyio.move_on_after(0.01) as scope:
                    await channel.send("anything", {"data": "x" * size})
                cancelled += scope.cancelled_caught
            assert cancelled
            await channel.send("last")
            assert (await channel.listen_once("lines"))["broken"] == 0


@pytest.mark.fault(77)
@pytest.mark.fault(39)
async def test_a_child_that_hangs_up_but_lives_is_ended() -> None:
    ended: dict[str, int | None] = {}

    async def hear(mode: str) -> None:
        async with open_child(evil(mode)) as channel:
            with anyio.fail_after(10), pytest.raises(ChannelClosed):
                await channel.request("anything")
        ended[mode] = channel.returncode

    async with anyio.create_task_group() as group:  # at once: each is given a second to leave by itself
        group.start_soon(hear, "close-but-live")
        group.start_soon(hear, "close-when-asked")
    assert len(ended) == 2
    assert None not in ended.values()


@pytest.mark.fault(77)
@pytest.mark.fault(36)
async def test_a_death_is_seen_though_a_grandchild_holds_every_descriptor() -> None:
    async with open_child(evil("fork-then-die")) as channel:
        with anyio.fail_after(2), pytest.raises(ChannelClosed) as caught:
            await channel.request("anything")
    assert caught.value.returncode == 3


@pytest.mark.fault(78)
async def test_descriptors_that_a_child_sends_are_not_taken_in() -> None:
    async with open_child(evil("descriptors")) as channel:
        before = len(descriptors())
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            assert await channel.request("anything") == "honest"
        assert len(descriptors()) <= before


@pytest.mark.fault("S6")
@pytest.mark.parametrize("mode", ["spam", "spam-ids"])
async def test_a_flood_from_one_child_neither_starves_another_nor_grows(mode: str) -> None:
    before = rss()
    async with open_child(evil(mode)) as flood, open_child(evil("unknown-type")) as honest:
        with anyio.fail_after(20):
            await flood.listen_once("ready")
            slowest = 0.0
            for _ in range(50):
                start = time.perf_counter()
                assert await honest.request("anything") == "honest"
                slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 0.5
    assert rss() - before < 150_000_000


@pytest.mark.fault("S6")
async def test_a_flood_that_nobody_reads_while_somebody_waits_breaks_the_channel_in_bounded_memory() -> None:
    async with open_child(evil("progress")) as channel:
        with anyio.fail_after(40):
            before = rss()
            with channel.listen("progress") as never_read:
                with pytest.raises(Overrun):
                    await channel.request("anything")
                assert rss() - before < 250_000_000  # 64 MiB is the limit of what is held; objects are larger than text
                never_read.close()


@pytest.mark.fault("S8")
async def test_endless_progress_does_not_stretch_a_limit() -> None:
    async with open_child(evil("progress")) as channel:
        await channel.listen_once("ready")
        start = time.perf_counter()
        with pytest.raises(TimeoutError):
            await channel.request("anything", timeout=0.5)
        assert time.perf_counter() - start < 2


async def test_every_mode_of_the_evil_child_is_survived() -> None:
    """The whole list, eight at a time: whatever it is, it ends within its limit, in one of our own errors."""
    survived: list[str] = []
    places = anyio.CapacityLimiter(8)

    async def survive(mode: str) -> None:
        async with places:
            with anyio.fail_after(20):
                try:
                    async with open_child(
                        evil(mode), max_message=1_000_000, stdout="devnull", stderr="capture"
                    ) as channel:
                        with anyio.move_on_after(0.3):
                            await channel.request("anything")
                        await channel.destroy(grace=0.1)
                except ChannelClosed:
                    pass
            assert channel.returncode is not None, mode
            survived.append(mode)

    async with anyio.create_task_group() as group:
        for mode in MODES:
            group.start_soon(survive, mode)
    assert sorted(survived) == sorted(MODES)


async def test_a_child_that_ends_its_half_of_the_conversation_politely_is_no_violation() -> None:
    async with open_child(evil(write(READY), exit_with(0))) as channel:
        with anyio.fail_after(10):
            await channel.listen_once("ready")
            with pytest.raises(ChannelClosed) as caught:
                await channel.listen_once("more")
    assert type(caught.value) is ChannelClosed
