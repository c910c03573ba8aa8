"""Decodes Thrift's compact protocol, in which Parquet writes its footer and the headers of pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MOST_NESTING = 16
_BOOLEANS, _INTEGERS = (1, 2), (4, 5, 6)
_BYTE, _DOUBLE, _TEXT, _LIST, _SET, _MAP, _STRUCT = 3, 7, 8, 9, 10, 11, 12


class Compact:
    """A document and the place in it.

    Args:
        content: begins with a struct.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields of the struct here by their numbers: integers, bytes, lists, and dictionaries for structs.

        Raises:
            IndexError: if the bytes end too early.
            ValueError: if they cannot be decoded.
        """
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._integer()
            # A field's boolean is its type.
            fields[number] = kind == 1 if kind in _BOOLEANS else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _TEXT:
            return self._bytes(self._varint())
        if kind == _BYTE or kind in _BOOLEANS:
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if depth >= _MOST_NESTING:
            raise ValueError("nested too deeply")
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self._byte()
            size = self._varint() if head >> 4 == 15 else head >> 4
            return self._several(size, lambda: self._value(head & 15, depth + 1))
        if kind == _MAP:
            size = self._varint()
            kinds = self._byte() if size else 0
            return self._several(
                size, lambda: (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1))
            )
        raise ValueError(f"no type {kind}")

    def _several(self, size: int, read: Callable[[], Any]) -> list[Any]:
        # Each takes a byte or more.
        if size > len(self._content) - self.position:
            raise IndexError("a list goes beyond the end")
        return [read() for _ in range(size)]

    def _byte(self) -> int:
        self.position += 1
        return self._content[self.position - 1]

    def _bytes(self, n_bytes: int) -> bytes:
        begin = self.position
        self.position += n_bytes
        if self.position > len(self._content):
            raise IndexError("a text goes beyond the end")
        return self._content[begin : self.position]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number is too long")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
