package highwater;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Produces until told to stop, at a bounded rate, and writes down every outcome; see ../README.md. */
final class Stream extends Thread {
    /** How long its producer waits for an answer. */
    static final Map<String, Object> PATIENCE = Map.of("request.timeout.ms", 10000);

    private static final int WAITING = 2000;
    private static final int PER_TURN = 5;
    private static final int PAUSE_MS = 10;

    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final int partitions;
    private final String name;
    private final BufferedWriter file;
    private final AtomicLong outcomes = new AtomicLong();
    private volatile boolean stopping;
    private volatile Exception failure;
    private long sent;

    Stream(KafkaProducer<byte[], byte[]> producer, String topic, int partitions, String name, String path)
            throws IOException {
        this.producer = producer;
        this.topic = topic;
        this.partitions = partitions;
        this.name = name;
        this.file = Files.newBufferedWriter(Path.of(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        setDaemon(true);
    }

    @Override
    public void run() {
        try {
            while (!stopping) {
                if (sent - outcomes.get() < WAITING) {
                    for (int i = 0; i < PER_TURN; i++) {
                        send();
                    }
                }
                Thread.sleep(PAUSE_MS);
                synchronized (file) {
                    file.flush();
                }
            }
        } catch (Exception error) {
            failure = error;
        }
    }

    private void send() {
        int partition = (int) (sent % partitions);
        long sequence = sent / partitions;
        byte[] value = (name + ":" + partition + ":" + sequence).getBytes(StandardCharsets.UTF_8);
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
            String outcome = error == null
                    ? "ack " + partition + " " + sequence + " " + metadata.offset()
                    : "fail " + partition + " " + sequence + " " + error.toString().replace('\n', ' ');
            try {
                synchronized (file) {
                    file.write(outcome + "\n");
                }
            } catch (IOException broken) {
                failure = broken;
            }
            outcomes.incrementAndGet();
        });
        sent++;
    }

    long end() throws Exception {
        stopping = true;
        join();
        producer.flush();
        producer.close();
        file.close();
        if (failure != null) {
            throw failure;
        }
        return sent;
    }
}
