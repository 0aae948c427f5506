package highwater;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Processes what it polls as a member of a group, and commits behind it, until told to leave; see ../README.md. */
final class Member extends Thread {
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final BufferedWriter file;
    private volatile boolean leaving;
    private long processed;
    private Exception failure;

    Member(Map<String, Object> base, String group, String topic, String path, String protocol) throws IOException {
        Map<String, Object> config = new HashMap<>(base);
        config.put("group.id", group);
        config.put("enable.auto.commit", false);
        config.put("auto.offset.reset", "earliest");
        config.put("group.protocol", protocol);
        // In the new protocol the broker says how long a session is.
        if (protocol.equals("classic")) {
            config.put("session.timeout.ms", 6000);
            config.put("heartbeat.interval.ms", 500);
        }
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        consumer.subscribe(List.of(topic));
        file = Files.newBufferedWriter(
                Path.of(path), StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        setDaemon(true);
    }

    @Override
    public void run() {
        try (consumer; file) {
            while (!leaving) {
                turn();
            }
        } catch (Exception error) {
            error.printStackTrace();
            failure = error;
        }
    }

    private void turn() throws IOException {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(Duration.ofMillis(200));
        if (records.isEmpty()) {
            return;
        }
        for (ConsumerRecord<byte[], byte[]> record : records) {
            String value = new String(record.value(), StandardCharsets.UTF_8);
            file.write(record.partition() + " " + record.offset() + " " + value + "\n");
        }
        file.flush();
        processed += records.count();
        try {
            consumer.commitSync();
        } catch (KafkaException error) {
            System.err.println("a commit failed: " + error);
        }
    }

    long leave() throws Exception {
        leaving = true;
        join();
        if (failure != null) {
            throw failure;
        }
        return processed;
    }
}
