"""What both Python programs share: the command loop and the record files. See ../README.md."""

import struct
import sys


class Record:
    __slots__ = ("partition", "offset", "timestamp", "key", "value", "headers")

    def __init__(self, partition, offset, timestamp, key, value, headers):
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers


def read_records(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 0

    def number(format, size):
        nonlocal at
        (value,) = struct.unpack_from(format, data, at)
        at += size
        return value

    def text():
        nonlocal at
        length = number(">i", 4)
        if length < 0:
            return None
        at += length
        return data[at - length : at]

    while at < len(data):
        partition, offset, timestamp = number(">i", 4), number(">q", 8), number(">q", 8)
        key, value = text(), text()
        headers = [(text().decode(), text()) for _ in range(number(">i", 4))]
        yield Record(partition, offset, timestamp, key, value, headers)


def write_records(path, records):
    def text(value):
        return struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value

    count = 0
    with open(path, "wb") as file:
        for record in records:
            file.write(struct.pack(">iqq", record.partition, record.offset, record.timestamp))
            file.write(text(record.key) + text(record.value) + struct.pack(">i", len(record.headers)))
            for key, value in record.headers:
                file.write(text(key.encode()) + text(value))
            count += 1
    return count


def serve(client):
    """Answers commands with the method of the same name, `-` read as `_`."""
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        try:
            answer = getattr(client, command.replace("-", "_"))(*words)
        except Exception as error:  # noqa: BLE001: whatever failed, the harness is told.
            answer = ["error", f"{type(error).__name__}: {error}"]
        else:
            answer = ["ok"] + ([] if answer is None else answer if isinstance(answer, list) else [answer])
        print("\t".join(str(word).replace("\n", " ").replace("\t", " ") for word in answer), flush=True)
