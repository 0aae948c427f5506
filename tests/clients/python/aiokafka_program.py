"""aiokafka, as a member of groups alone. See ../README.md."""

import asyncio
import sys
import threading
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from harness import Member, serve

TIMEOUT = 60


class Aiokafka:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def wait(self, work, timeout=TIMEOUT):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def version(self):
        return f"aiokafka {aiokafka.__version__}"

    async def consumer(self, group, **more):
        # It takes the loop that runs when it is made.
        return AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            retry_backoff_ms=50,
            **more,
        )

    def join(self, group, topic, path, _protocol):
        consumer = self.wait(self.consumer(group, session_timeout_ms=6000, heartbeat_interval_ms=500))
        self.wait(consumer.start())
        consumer.subscribe([topic])

        def poll():
            try:
                polled = self.wait(consumer.getmany(timeout_ms=200, max_records=500))
            except KafkaError as error:
                print(f"told of {error!r}", file=sys.stderr, flush=True)
                time.sleep(0.1)
                return
            for messages in polled.values():
                for message in messages:
                    yield message.partition, message.offset, message.value

        def commit():
            self.wait(consumer.commit())

        self.member = Member(poll, commit, lambda: self.wait(consumer.stop()), KafkaError, path)
        self.member.start()

    def leave(self):
        return self.member.leave()

    def committed(self, group, topic, partitions):
        consumer = self.wait(self.consumer(group))
        self.wait(consumer.start())
        try:
            places = (TopicPartition(topic, partition) for partition in range(int(partitions)))
            offsets = [self.wait(consumer.committed(place)) for place in places]
            return [-1 if offset is None else offset for offset in offsets]
        finally:
            self.wait(consumer.stop())


serve(Aiokafka(sys.argv[1]))
