"""A reader of Thrift's compact protocol for tests, written from its specification and not from the code under test."""

from __future__ import annotations

from typing import Any


class ThriftReader:
    """Reads structs as mappings from field number to value; lists as lists, text as bytes."""

    def __init__(self, octets: bytes, at: int = 0) -> None:
        self.octets, self.at = octets, at

    def byte(self) -> int:
        self.at += 1
        return self.octets[self.at - 1]

    def varint(self) -> int:
        number = shift = 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    def signed(self) -> int:
        number = self.varint()
        return number // 2 if number % 2 == 0 else -(number + 1) // 2

    def value(self, kind: int) -> Any:
        if kind == 3:
            return int.from_bytes([self.byte()], "little", signed=True)
        if kind in (4, 5, 6):
            return self.signed()
        if kind == 8:
            many = self.varint()
            self.at += many
            return self.octets[self.at - many : self.at]
        if kind == 9:
            head = self.byte()
            many = self.varint() if head >> 4 == 15 else head >> 4
            return [self.value(head & 15) for _ in range(many)]
        assert kind == 12, kind
        return self.struct()

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            number = number + (head >> 4) if head >> 4 else self.signed()
            assert number not in fields
            fields[number] = head & 15 == 1 if head & 15 in (1, 2) else self.value(head & 15)
        return fields
