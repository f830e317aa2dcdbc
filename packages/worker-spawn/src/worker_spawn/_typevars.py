"""What a described worker takes and returns; `Any` where a name alone (of a method, of a function) does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # `default` is Python 3.13's; every type checker knows it under this name
    from typing_extensions import TypeVar as TypeVarWithDefault

    InputT = TypeVarWithDefault("InputT", default=Any)
    ResultT = TypeVarWithDefault("ResultT", default=Any)
else:
    InputT = TypeVar("InputT")
    ResultT = TypeVar("ResultT")
