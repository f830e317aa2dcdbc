"""What `spawned_worker` may be told: an option of a wrong kind is refused by name, before there is a child.

Without this, the first start or the first input would trip over it, in code that knows no option by its name.
"""

from __future__ import annotations

from typing import Any


def exception_classes(keep_after: Any) -> tuple[type[Exception], ...]:
    """Return one class, or what an iterable of classes holds, as what `isinstance` takes. TypeError for all else.

    A cancellation or Ctrl-C can't be kept after: wherever it arrives, the child is left in the middle of its answer.
    """
    if isinstance(keep_after, (type, str)) or not hasattr(keep_after, "__iter__"):
        keep_after = (keep_after,)
    classes = tuple(keep_after)  # once: it may be an iterator
    for kind in classes:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"keep_after must be a subclass of Exception, or an iterable of them, got {kind!r:.100}")
    return classes
