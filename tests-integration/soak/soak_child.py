"""What the workers of the soak run: mostly right, sometimes wrong. As functions, and as the child of a conversation."""

import time

BAD = 20  # every twentieth input is a bad one: 5 %


def double(number: int) -> int:
    """Return the double, after a moment; refuse a bad number."""
    time.sleep(number % 7 / 1000)
    if number % BAD == 0:
        raise ValueError(f"{number} is a bad one")
    return number * 2


def main() -> None:
    """Answer requests, and events with events."""
    from worker_ipc.blocking import open_parent

    with open_parent() as channel:
        channel.handle("double", double)
        channel.send("ready")
        for message in channel.listen("ask"):
            try:
                channel.send("answer", {"double": double(message["number"])})
            except ValueError as error:
                channel.send("answer", {"refused": str(error)})


if __name__ == "__main__":
    main()
