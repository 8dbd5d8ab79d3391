"""Protocol Buffers written the plain way, apart from the code under test."""


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value & (1 << 64) - 1)


def fixed64(field: int, value: int) -> bytes:
    return varint(field << 3 | 1) + value.to_bytes(8, "little")


def part(field: int, *pieces: bytes) -> bytes:
    data = b"".join(pieces)
    return varint(field << 3 | 2) + varint(len(data)) + data
