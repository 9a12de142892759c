"""Groups of what belongs together: union-find over pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def connected(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return for every name the least name that it is connected to.

    Examples:
        >>> connected(["a", "b", "c", "d"], [("d", "b"), ("b", "c")])
        {'a': 'a', 'b': 'b', 'c': 'b', 'd': 'b'}
    """
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for pair in pairs:
        low, high = sorted(root(name) for name in pair)
        parent[high] = low
    return {name: root(name) for name in names}
