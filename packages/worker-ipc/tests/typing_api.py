"""What a type checker knows about the public interface. Never run: mypy and pyright read it; what must fail, fails."""

from collections.abc import Callable
from typing import Any, assert_type

from worker_ipc import (
    ChannelClosed,
    ChannelStatistics,
    ChildChannel,
    ChildStream,
    Conversation,
    Listener,
    ParentChannel,
    PendingRequest,
    RemoteError,
    Wait,
    open_child,
    open_parent,
    open_stream,
)
from worker_ipc.codecs import Codec, ContentLength, JsonLines, Pickled, TextLines


async def events() -> None:
    async with open_child(["program"]) as channel:
        assert_type(channel, ParentChannel)
        assert_type(channel.listen_once("type"), Wait)
        assert_type(await channel.listen_once("type"), dict[str, Any])
        assert_type(channel.listen("type"), Listener)
        async for message in channel.listen():
            assert_type(message, dict[str, Any])
        with channel.listen() as listener:
            assert_type(await anext(listener), dict[str, Any])
        assert_type(channel.listen_for("type", print), Callable[[], None])
        assert_type(channel.statistics(), ChannelStatistics)
        assert_type(channel.returncode, int | None)
        with channel.conversation() as conversation:
            assert_type(conversation, Conversation)

        await channel.send("type", {"any": ["data"]})
        await channel.send("type", ["data"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await channel.send(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        channel.listen_for("type", lambda: None)  # type: ignore[arg-type,misc]  # pyright: ignore[reportArgumentType]
        channel.statistics().sent = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
        channel.returncode = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def settle(result: Any, error: RemoteError | ChannelClosed | None) -> None: ...


async def handler(message: dict[str, Any]) -> None: ...


async def requests(channel: ParentChannel) -> None:
    answer: str = await channel.request("method", ["positional"], timeout=1)
    answer = await channel.request("method", {"keyword": 1})
    assert_type(channel.request_nowait("method", None, settle), PendingRequest)
    assert_type(channel.handle("method", len), Callable[[], None])
    channel.listen_for("type", handler)
    await channel.request("method", 7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    channel.handle("method", answer)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def child() -> None:
    async with open_parent(codec=Pickled()) as channel:
        assert_type(channel, ChildChannel)
        await channel.destroy()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


class Numbers:
    """A codec of one's own needs no base class."""

    def encode(self, message: int, /) -> bytes:
        return b"%d\n" % message

    def decoder(self, max_message: int, /) -> "NumbersDecoder":
        return NumbersDecoder()


class NumbersDecoder:
    pending = 0

    def feed(self, data: bytes | bytearray | memoryview, /) -> list[int]:
        return [len(data)]

    def eof(self) -> list[int]:
        return []


async def streams() -> None:
    async with open_stream(["bc"]) as stream:
        assert_type(stream, ChildStream[str])
        await stream.send("6 * 7")
        assert_type(await stream.receive(), str)
        async for line in stream:
            assert_type(line, str)
        await stream.send(b"6 * 7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    async with open_stream(["bc"], TextLines()) as stream:
        assert_type(stream, ChildStream[str])
    async with open_stream(["counter"], Numbers(), over="channel") as counter:
        assert_type(await counter.receive(), int)
    async with open_stream(["server"], ContentLength()) as server:
        assert_type(await server.receive(), Any)
    open_stream(["bc"], over="tcp")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue,reportArgumentType]


number_codec: Codec[int] = Numbers()
json_codec: Codec[Any] = JsonLines(interop="node")
text_codec: Codec[int] = TextLines()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
