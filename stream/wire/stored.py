"""Which state records of one kind differ from those that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from stream.wire.state import key

T = TypeVar("T")
Place = tuple[object, ...]
"""Names a record within its kind."""


class Stored(Generic[T]):
    """The stored records of one kind, by their contents: what stayed the same costs a comparison, and no
    encoding. Contents must not change once they are given."""

    def __init__(self, kind: str, encode: Callable[[T], bytes]) -> None:
        self.kind = kind
        self._encode = encode
        self._contents: dict[Place, T] = {}
        self._found: dict[bytes, int] = {}
        """Key → hash of the value: records of an earlier owner, until the first look at all that there is."""

    def find(self, name: bytes, value: bytes) -> None:
        """A record that an earlier owner has stored."""
        self._found[name] = hash(value)

    def changed(self, contents: Iterable[tuple[Place, T]]) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write; those that may have changed are given, the first time all."""
        for place, content in contents:
            if place in self._contents and self._contents[place] == content:
                continue
            self._contents[place] = content
            name, value = key(self.kind, *place), self._encode(content)
            if self._found.pop(name, None) != hash(value):
                yield name, value
        for name in self._found:
            yield name, None
        self._found.clear()

    def all(self, contents: Iterable[tuple[Place, T]]) -> Iterator[tuple[bytes, bytes | None]]:
        """Records to write, and None for those to delete; all that there is is given."""
        now = dict(contents)
        yield from self.changed(now.items())
        for place in self._contents.keys() - now.keys():
            del self._contents[place]
            yield key(self.kind, *place), None
