"""What both Python programs share: the command loop and the record files. See ../README.md."""

import struct
import sys
import threading


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


class Member(threading.Thread):
    """A member of a group: processes what it polls, and commits behind it, until told to leave.

    `poll` gives (partition, offset, value) of new records; `commit` may fail with one of `failures`, after which the
    records are processed again, by this member or another.
    """

    def __init__(self, poll, commit, close, failures, path):
        super().__init__(daemon=True)
        self.poll, self.commit, self.close, self.failures = poll, commit, close, failures
        self.file = open(path, "a", encoding="utf-8")
        self.leaving = threading.Event()
        self.processed = 0
        self.error = None

    def run(self):
        try:
            while not self.leaving.is_set():
                self.turn()
            self.close()
        except Exception as error:  # noqa: BLE001: the harness is told when it asks to leave.
            print(f"the member failed: {error!r}", file=sys.stderr, flush=True)
            self.error = error

    def turn(self):
        records = list(self.poll())
        if not records:
            return
        for partition, offset, value in records:
            self.file.write(f"{partition} {offset} {value.decode()}\n")
        self.file.flush()
        self.processed += len(records)
        try:
            self.commit()
        except self.failures as error:
            print(f"a commit failed: {error!r}", file=sys.stderr, flush=True)

    def leave(self):
        self.leaving.set()
        self.join()
        if self.error is not None:
            raise self.error
        return self.processed


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
