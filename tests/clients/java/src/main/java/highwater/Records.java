package highwater;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** The record files that are exchanged with the harness; see ../README.md. */
final class Records {
    private Records() {}

    static List<ProducerRecord<byte[], byte[]>> read(String topic, String path) throws IOException {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(path)))) {
            while (true) {
                int partition;
                try {
                    partition = in.readInt();
                } catch (EOFException end) {
                    return records;
                }
                in.readLong();
                long timestamp = in.readLong();
                byte[] key = bytes(in);
                byte[] value = bytes(in);
                List<Header> headers = new ArrayList<>();
                for (int left = in.readInt(); left > 0; left--) {
                    String name = new String(bytes(in), StandardCharsets.UTF_8);
                    headers.add(new RecordHeader(name, bytes(in)));
                }
                records.add(new ProducerRecord<>(topic, partition, timestamp, key, value, headers));
            }
        }
    }

    private static byte[] bytes(DataInputStream in) throws IOException {
        int length = in.readInt();
        return length < 0 ? null : in.readNBytes(length);
    }

    /** Writes a record file. */
    static final class Writer implements AutoCloseable {
        private final DataOutputStream out;
        private int count;

        Writer(String path) throws IOException {
            out = new DataOutputStream(new BufferedOutputStream(new FileOutputStream(path)));
        }

        void write(ConsumerRecord<byte[], byte[]> record) throws IOException {
            out.writeInt(record.partition());
            out.writeLong(record.offset());
            out.writeLong(record.timestamp());
            bytes(record.key());
            bytes(record.value());
            Header[] headers = record.headers().toArray();
            out.writeInt(headers.length);
            for (Header header : headers) {
                bytes(header.key().getBytes(StandardCharsets.UTF_8));
                bytes(header.value());
            }
            count++;
        }

        int count() {
            return count;
        }

        private void bytes(byte[] bytes) throws IOException {
            out.writeInt(bytes == null ? -1 : bytes.length);
            if (bytes != null) {
                out.write(bytes);
            }
        }

        @Override
        public void close() throws IOException {
            out.close();
        }
    }
}
