"""Prometheus' remote write 1.0 from Python alone: enough of protobuf and snappy to send series of numbers."""
import struct

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def snappy(data):
    """A valid block that does not compress: literals of at most 64 KiB."""
    out = bytearray(varint(len(data)))
    for i in range(0, len(data), 65536):
        piece = data[i:i + 65536]
        out += b"\xf4" + struct.pack("<H", len(piece) - 1) + piece
    return bytes(out)


def value_bytes(v):
    """The stale marker's bits must survive: Python's floats keep them, a conversion might not."""
    return struct.pack("<Q", 0x7FF0000000000002) if v is None else struct.pack("<d", v)


def series(labels, samples):
    """labels: dict; samples: [(ms, float, or None for a stale marker)]."""
    out = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return out + b"".join(field(2, b"\x09" + value_bytes(v) + b"\x10" + varint(t)) for t, v in samples)


HEADERS = {"content-type": "application/x-protobuf", "content-encoding": "snappy", "x-prometheus-remote-write-version": "0.1.0"}


def request(all_series):
    """The body for POST /api/v1/write. all_series: [(labels, samples)]."""
    return snappy(b"".join(field(1, series(labels, samples)) for labels, samples in all_series))
