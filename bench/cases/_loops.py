"""The three event loops under which ours is measured."""

LOOPS = ("asyncio", "uvloop", "trio")
