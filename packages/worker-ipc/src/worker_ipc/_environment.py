"""What a child is told through its environment: the parent's variables, yours, and the channel's two.

The variables of *our own* parent's channel never pass: this process may run under Node or pm2 itself, and a child that
found them would adopt a number that means nothing to it, or something else (Node aborts).
"""

import os
from collections.abc import Collection, Mapping

__all__ = ("CHANNEL_VARIABLES", "make_environment")

CHANNEL_VARIABLES = ("NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID")
"""Node's own names; the third one would make a Node child believe that it is a cluster worker."""


def make_environment(
    env: Mapping[str, str] | None, inherit: bool | Collection[str], channel_fd: int | None
) -> dict[str, str]:
    """Return the whole environment of a child.

    `inherit` says what comes from this process: True is everything, False nothing, a collection of names only those
    (an allow-list, so that a secret in the parent's environment stays there). `env` is added and wins.
    """
    if isinstance(inherit, str):
        raise TypeError(f"inherit_env must be a bool or a collection of names, got the string {inherit!r}")
    if isinstance(inherit, bool):
        result = dict(os.environ) if inherit else {}
    else:
        result = {name: os.environ[name] for name in inherit if name in os.environ}
    for name in CHANNEL_VARIABLES:
        result.pop(name, None)
    if env is not None:
        for name, value in env.items():
            _check_value(name, value)
        result.update(env)
    if channel_fd is not None:
        result["NODE_CHANNEL_FD"] = str(channel_fd)
        result["NODE_CHANNEL_SERIALIZATION_MODE"] = "json"
    return result


def _check_value(name: str, value: object) -> None:
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"env[{name!r}] must be a string, got {value!r:.100}")
