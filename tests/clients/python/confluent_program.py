"""confluent-kafka, which is librdkafka. See ../README.md."""

import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from harness import Member, Record, read_records, serve, write_records

TIMEOUT = 60


class Confluent:
    def __init__(self, bootstrap):
        self.base = {"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200}
        self.admin = AdminClient(dict(self.base))
        self.streaming = None

    def version(self):
        return f"confluent-kafka {confluent_kafka.__version__} (librdkafka {confluent_kafka.libversion()[0]})"

    def create_topic(self, topic, partitions):
        new = NewTopic(topic, num_partitions=int(partitions), replication_factor=1)
        self.admin.create_topics([new], operation_timeout=TIMEOUT)[topic].result(TIMEOUT)

    def list_topics(self):
        return sorted(self.admin.list_topics(timeout=TIMEOUT).topics)

    def delete_topic(self, topic):
        self.admin.delete_topics([topic], operation_timeout=TIMEOUT)[topic].result(TIMEOUT)

    def producer(self, client_id, mode, codec="none", **more):
        config = dict(self.base, **more)
        config["client.id"] = client_id
        config["acks"] = "all"
        config["compression.type"] = codec
        config["enable.idempotence"] = mode == "idempotent"
        config["linger.ms"] = 5
        config["retry.backoff.ms"] = 20
        if mode == "plain":
            # Without sequence numbers, only one request at a time keeps the order when one is sent again.
            config["max.in.flight.requests.per.connection"] = 1
        if client_id.startswith("cut-"):
            config["batch.num.messages"] = 50
        return Producer(config)

    def produce(self, topic, codec, client_id, mode, path):
        producer = self.producer(client_id, mode, codec)
        acknowledged, failures = 0, []

        def delivered(error, _message):
            nonlocal acknowledged
            if error is None:
                acknowledged += 1
            else:
                failures.append(str(error))

        for record in read_records(path):
            while True:
                try:
                    producer.produce(
                        topic,
                        partition=record.partition,
                        timestamp=record.timestamp,
                        key=record.key,
                        value=record.value,
                        headers=record.headers,
                        on_delivery=delivered,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        left = producer.flush(TIMEOUT)
        if failures or left:
            raise RuntimeError(f"{len(failures)} deliveries failed, first: {failures[:1]}; {left} without outcome")
        return acknowledged

    def consume(self, topic, partitions, path):
        config = dict(self.base)
        config.update(
            {
                "group.id": "unused",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "check.crcs": True,
                "enable.partition.eof": False,
            }
        )
        consumer = Consumer(config)
        try:
            return write_records(path, self.records(consumer, topic, int(partitions)))
        finally:
            consumer.close()

    def records(self, consumer, topic, partitions):
        ends, assignment = {}, []
        for partition in range(partitions):
            start, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=TIMEOUT)
            if start < end:
                ends[partition] = end
                assignment.append(TopicPartition(topic, partition, start))
        consumer.assign(assignment)
        deadline = time.monotonic() + TIMEOUT
        while ends:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing new for {TIMEOUT} s; still to come, with their ends: {ends}")
            for message in consumer.consume(10000, timeout=0.5):
                if message.error():
                    raise RuntimeError(f"partition {message.partition()}: {message.error()}")
                deadline = time.monotonic() + TIMEOUT
                kind, timestamp = message.timestamp()
                if kind != confluent_kafka.TIMESTAMP_CREATE_TIME:
                    raise RuntimeError(f"a record's timestamp is of kind {kind}, not CreateTime")
                if message.partition() not in ends:
                    continue
                yield Record(
                    message.partition(),
                    message.offset(),
                    timestamp,
                    message.key(),
                    message.value(),
                    message.headers() or [],
                )
                if message.offset() + 1 >= ends[message.partition()]:
                    del ends[message.partition()]

    def offset(self, topic, partition, spec):
        named = {
            "earliest": OffsetSpec.earliest,
            "latest": OffsetSpec.latest,
            "max-timestamp": OffsetSpec.max_timestamp,
        }
        asked = named[spec]() if spec in named else OffsetSpec.for_timestamp(int(spec))
        where = TopicPartition(topic, int(partition))
        answer = self.admin.list_offsets(
            {where: asked}, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT
        )
        return answer[where].result(TIMEOUT).offset

    def delete_records(self, topic, partition, before):
        where = TopicPartition(topic, int(partition), int(before))
        return self.admin.delete_records([where])[where].result(TIMEOUT).low_watermark

    def stream(self, topic, partitions, mode, name, path):
        if self.streaming is not None:
            raise RuntimeError("already streaming")
        producer = self.producer(name, mode, **Stream.PATIENCE)
        self.streaming = Stream(producer, topic, int(partitions), name, path)
        self.streaming.start()

    def stop(self):
        stream, self.streaming = self.streaming, None
        return stream.stop()

    def consumer(self, group, **more):
        config = dict(self.base)
        config.update({"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}, **more)
        return Consumer(config)

    def join(self, group, topic, path, protocol):
        # In the new protocol the broker says how long a session is.
        classic = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        more = {
            "classic": classic,
            "cooperative": {"partition.assignment.strategy": "cooperative-sticky", **classic},
            "consumer": {"group.protocol": "consumer"},
        }
        consumer = self.consumer(group, **more[protocol])
        consumer.subscribe([topic])

        def poll():
            for message in consumer.consume(500, timeout=0.2):
                if message.error():
                    print(f"told of {message.error()}", file=sys.stderr, flush=True)
                    if message.error().fatal():
                        raise confluent_kafka.KafkaException(message.error())
                    continue
                yield message.partition(), message.offset(), message.value()

        def commit():
            consumer.commit(asynchronous=False)

        self.member = Member(poll, commit, consumer.close, confluent_kafka.KafkaException, path)
        self.member.start()

    def leave(self):
        return self.member.leave()

    def committed(self, group, topic, partitions):
        consumer = self.consumer(group)
        try:
            places = [TopicPartition(topic, partition) for partition in range(int(partitions))]
            return [max(place.offset, -1) for place in consumer.committed(places, timeout=TIMEOUT)]
        finally:
            consumer.close()


class Stream(threading.Thread):
    """Produces until told to stop, at a bounded rate, and writes down every outcome."""

    # How long its producer waits for an answer.
    PATIENCE = {"socket.timeout.ms": 10000, "request.timeout.ms": 10000}
    WAITING = 2000
    PER_TURN = 5
    PAUSE = 0.01

    def __init__(self, producer, topic, partitions, name, path):
        super().__init__(daemon=True)
        self.producer, self.topic, self.partitions, self.name = producer, topic, partitions, name
        self.file = open(path, "a", encoding="utf-8")
        self.stopping = threading.Event()
        self.sent = 0

    def delivered(self, partition, sequence):
        def write(error, message):
            if error is None:
                offset = message.offset()
                self.file.write(f"ack {partition} {sequence} {-1 if offset is None or offset < 0 else offset}\n")
            else:
                self.file.write(f"fail {partition} {sequence} {error}\n")

        return write

    def run(self):
        while not self.stopping.is_set():
            if len(self.producer) < self.WAITING:
                for _ in range(self.PER_TURN):
                    sequence, partition = divmod(self.sent, self.partitions)
                    self.producer.produce(
                        self.topic,
                        partition=partition,
                        value=f"{self.name}:{partition}:{sequence}".encode(),
                        on_delivery=self.delivered(partition, sequence),
                    )
                    self.sent += 1
            self.producer.poll(self.PAUSE)
            self.file.flush()
            self.stopping.wait(self.PAUSE)

    def stop(self):
        self.stopping.set()
        self.join()
        left = self.producer.flush(TIMEOUT)
        self.file.close()
        if left:
            raise RuntimeError(f"{left} records are still without an outcome after {TIMEOUT} s")
        return self.sent


serve(Confluent(sys.argv[1]))
