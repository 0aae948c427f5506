"""kafka-python. See ../README.md."""

import sys
import time

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from harness import Member, Record, read_records, serve, write_records

TIMEOUT = 60
CREATE_TIME = 0


class KafkaPython:
    def __init__(self, bootstrap):
        self.base = {
            "bootstrap_servers": bootstrap,
            "reconnect_backoff_ms": 20,
            "reconnect_backoff_max_ms": 200,
        }
        self.admin = KafkaAdminClient(**self.base)

    def version(self):
        return f"kafka-python {kafka.__version__}"

    def create_topic(self, topic, partitions):
        topics = {topic: {"num_partitions": int(partitions), "replication_factor": 1}}
        self.admin.create_topics(topics, wait_for_metadata=True)

    def list_topics(self):
        return sorted(self.admin.list_topics())

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def produce(self, topic, codec, client_id, mode, path):
        producer = KafkaProducer(
            **self.base,
            client_id=client_id,
            acks="all",
            enable_idempotence=mode == "idempotent",
            compression_type=None if codec == "none" else codec,
            linger_ms=5,
            retry_backoff_ms=20,
            batch_size=2048 if client_id.startswith("cut-") else 16384,
            max_in_flight_requests_per_connection=5 if mode == "idempotent" else 1,
        )
        try:
            futures = [
                producer.send(
                    topic,
                    partition=record.partition,
                    timestamp_ms=record.timestamp,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                )
                for record in read_records(path)
            ]
            producer.flush(timeout=TIMEOUT)
            for future in futures:
                future.get(timeout=0)
            return len(futures)
        finally:
            producer.close(timeout=1)

    def consume(self, topic, partitions, path):
        # Whole batches of many records are handed out at once; the rest of the settings are the defaults.
        consumer = KafkaConsumer(
            **self.base, group_id=None, enable_auto_commit=False, auto_offset_reset="none", max_poll_records=10000
        )
        try:
            return write_records(path, self.records(consumer, topic, int(partitions)))
        finally:
            consumer.close()

    def records(self, consumer, topic, partitions):
        all_partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        starts = consumer.beginning_offsets(all_partitions)
        ends = {at: end for at, end in consumer.end_offsets(all_partitions).items() if starts[at] < end}
        consumer.assign(list(ends))
        for at in ends:
            consumer.seek(at, starts[at])
        deadline = time.monotonic() + TIMEOUT
        while ends:
            if time.monotonic() > deadline:
                raise RuntimeError(f"nothing new for {TIMEOUT} s; still to come, with their ends: {ends}")
            for at, messages in consumer.poll(timeout_ms=500).items():
                deadline = time.monotonic() + TIMEOUT
                if at not in ends:
                    continue
                for message in messages:
                    if message.timestamp_type != CREATE_TIME:
                        raise RuntimeError(f"a record's timestamp is of kind {message.timestamp_type}")
                    yield Record(
                        message.partition,
                        message.offset,
                        message.timestamp,
                        message.key,
                        message.value,
                        message.headers or [],
                    )
                if messages and messages[-1].offset + 1 >= ends[at]:
                    del ends[at]

    def offset(self, topic, partition, spec):
        named = {
            "earliest": OffsetSpec.EARLIEST,
            "latest": OffsetSpec.LATEST,
            "max-timestamp": OffsetSpec.MAX_TIMESTAMP,
        }
        where = TopicPartition(topic, int(partition))
        answer = self.admin.list_partition_offsets({where: named.get(spec) or int(spec)})
        return -1 if answer.get(where) is None else answer[where].offset

    def delete_records(self, topic, partition, before):
        where = TopicPartition(topic, int(partition))
        answer = self.admin.delete_records({where: int(before)})
        return answer[where]["low_watermark"]

    def consumer(self, group, **more):
        return KafkaConsumer(
            **self.base, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest", **more
        )

    def join(self, group, topic, path, _protocol):
        consumer = self.consumer(group, session_timeout_ms=6000, heartbeat_interval_ms=500)
        consumer.subscribe([topic])

        def poll():
            try:
                polled = consumer.poll(timeout_ms=200)
            except KafkaError as error:
                print(f"told of {error!r}", file=sys.stderr, flush=True)
                time.sleep(0.1)
                return
            for messages in polled.values():
                for message in messages:
                    yield message.partition, message.offset, message.value

        self.member = Member(poll, consumer.commit, consumer.close, KafkaError, path)
        self.member.start()

    def leave(self):
        return self.member.leave()

    def committed(self, group, topic, partitions):
        consumer = self.consumer(group)
        try:
            offsets = (consumer.committed(TopicPartition(topic, partition)) for partition in range(int(partitions)))
            return [-1 if offset is None else offset for offset in offsets]
        finally:
            consumer.close()


serve(KafkaPython(sys.argv[1]))
