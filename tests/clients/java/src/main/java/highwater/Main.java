package highwater;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client; see ../README.md. */
public final class Main {
    private static final long TIMEOUT_S = 60;

    private final Map<String, Object> base = new HashMap<>();
    private final Admin admin;
    private Stream streaming;
    private Member member;

    private Main(String bootstrap) {
        base.put("bootstrap.servers", bootstrap);
        base.put("reconnect.backoff.ms", 20);
        base.put("reconnect.backoff.max.ms", 200);
        admin = Admin.create(base);
    }

    public static void main(String[] arguments) throws Exception {
        Main program = new Main(arguments[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            List<String> words = Arrays.asList(line.split("\t"));
            String answer;
            try {
                String result = program.answer(words.get(0), words.subList(1, words.size()));
                answer = result.isEmpty() ? "ok" : "ok\t" + result;
            } catch (Exception error) {
                error.printStackTrace();
                answer = "error\t" + error.toString().replace('\n', ' ').replace('\t', ' ');
            }
            System.out.println(answer);
            System.out.flush();
        }
        System.exit(0);
    }

    private String answer(String command, List<String> words) throws Exception {
        switch (command) {
            case "version":
                return "kafka-clients (Java) " + libraryVersion();
            case "create-topic":
                NewTopic topic = new NewTopic(words.get(0), Integer.parseInt(words.get(1)), (short) 1);
                admin.createTopics(List.of(topic)).all().get(TIMEOUT_S, TimeUnit.SECONDS);
                return "";
            case "list-topics":
                return String.join("\t", new TreeSet<>(admin.listTopics().names().get(TIMEOUT_S, TimeUnit.SECONDS)));
            case "delete-topic":
                admin.deleteTopics(List.of(words.get(0))).all().get(TIMEOUT_S, TimeUnit.SECONDS);
                return "";
            case "produce":
                return "" + produce(words.get(0), words.get(1), words.get(2), words.get(3), words.get(4));
            case "consume":
                return "" + consume(words.get(0), Integer.parseInt(words.get(1)), words.get(2));
            case "offset":
                return "" + offset(at(words), words.get(2));
            case "delete-records":
                RecordsToDelete before = RecordsToDelete.beforeOffset(Long.parseLong(words.get(2)));
                return "" + admin.deleteRecords(Map.of(at(words), before)).lowWatermarks().get(at(words))
                        .get(TIMEOUT_S, TimeUnit.SECONDS).lowWatermark();
            case "stream":
                String name = words.get(3);
                streaming = new Stream(producer("none", name, words.get(2), Stream.PATIENCE), words.get(0),
                        Integer.parseInt(words.get(1)), name, words.get(4));
                streaming.start();
                return "";
            case "stop":
                return "" + streaming.end();
            case "join":
                member = new Member(base, words.get(0), words.get(1), words.get(2), words.get(3));
                member.start();
                return "";
            case "leave":
                return "" + member.leave();
            case "committed":
                return committed(words.get(0), words.get(1), Integer.parseInt(words.get(2)));
            default:
                throw new IllegalArgumentException("no command " + command);
        }
    }

    private String committed(String group, String topic, int partitions) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get(TIMEOUT_S, TimeUnit.SECONDS);
        return IntStream.range(0, partitions).mapToObj(number -> offsets.get(new TopicPartition(topic, number)))
                .map(offset -> offset == null ? "-1" : "" + offset.offset()).collect(Collectors.joining("\t"));
    }

    private static String libraryVersion() throws IOException {
        Properties properties = new Properties();
        try (InputStream in = Main.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            properties.load(in);
        }
        return properties.getProperty("version");
    }

    private static TopicPartition at(List<String> words) {
        return new TopicPartition(words.get(0), Integer.parseInt(words.get(1)));
    }

    private KafkaProducer<byte[], byte[]> producer(
            String codec, String clientId, String mode, Map<String, Object> more) {
        boolean idempotent = mode.equals("idempotent");
        Map<String, Object> config = new HashMap<>(base);
        config.putAll(more);
        config.put("client.id", clientId);
        config.put("acks", "all");
        config.put("enable.idempotence", idempotent);
        // Without sequence numbers, only one request at a time keeps the order when one is sent again.
        config.put("max.in.flight.requests.per.connection", idempotent ? 5 : 1);
        config.put("compression.type", codec);
        config.put("retry.backoff.ms", 20);
        config.put("batch.size", clientId.startsWith("cut-") ? 2048 : 16384);
        return new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private int produce(String topic, String codec, String clientId, String mode, String path) throws Exception {
        List<Future<RecordMetadata>> outcomes = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(codec, clientId, mode, Map.of())) {
            for (ProducerRecord<byte[], byte[]> record : Records.read(topic, path)) {
                outcomes.add(producer.send(record));
            }
            producer.flush();
        }
        for (Future<RecordMetadata> outcome : outcomes) {
            outcome.get(0, TimeUnit.SECONDS);
        }
        return outcomes.size();
    }

    private int consume(String topic, int partitions, String path) throws Exception {
        Map<String, Object> config = new HashMap<>(base);
        config.put("auto.offset.reset", "none");
        config.put("enable.auto.commit", false);
        config.put("max.poll.records", 10000);
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                Records.Writer writer = new Records.Writer(path)) {
            List<TopicPartition> all =
                    IntStream.range(0, partitions).mapToObj(number -> new TopicPartition(topic, number)).toList();
            Map<TopicPartition, Long> starts = consumer.beginningOffsets(all);
            Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(all));
            ends.entrySet().removeIf(end -> end.getValue() <= starts.get(end.getKey()));
            consumer.assign(ends.keySet());
            ends.keySet().forEach(at -> consumer.seek(at, starts.get(at)));
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(TIMEOUT_S);
            while (!ends.isEmpty()) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("nothing new for " + TIMEOUT_S + " s; still to come: " + ends);
                }
                ConsumerRecords<byte[], byte[]> polled = consumer.poll(Duration.ofMillis(500));
                if (!polled.isEmpty()) {
                    deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(TIMEOUT_S);
                }
                for (ConsumerRecord<byte[], byte[]> record : polled) {
                    if (record.timestampType() != TimestampType.CREATE_TIME) {
                        throw new IllegalStateException("a record's timestamp is of kind " + record.timestampType());
                    }
                    TopicPartition at = new TopicPartition(record.topic(), record.partition());
                    if (ends.containsKey(at)) {
                        writer.write(record);
                        if (record.offset() + 1 >= ends.get(at)) {
                            ends.remove(at);
                        }
                    }
                }
            }
            return writer.count();
        }
    }

    private long offset(TopicPartition at, String spec) throws Exception {
        OffsetSpec asked = switch (spec) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max-timestamp" -> OffsetSpec.maxTimestamp();
            default -> OffsetSpec.forTimestamp(Long.parseLong(spec));
        };
        ListOffsetsResultInfo answer =
                admin.listOffsets(Map.of(at, asked)).partitionResult(at).get(TIMEOUT_S, TimeUnit.SECONDS);
        return answer.offset();
    }
}
