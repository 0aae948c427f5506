package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readRecords reads one of the harness's record files; see ../README.md.
func readRecords(topic, path string) ([]*kgo.Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	reader := recordReader{data}
	var records []*kgo.Record
	for len(reader.data) > 0 {
		record := &kgo.Record{Topic: topic, Partition: reader.number32()}
		reader.number64()
		record.Timestamp = time.UnixMilli(reader.number64())
		record.Key = reader.bytes()
		record.Value = reader.bytes()
		for left := reader.number32(); left > 0; left-- {
			key := string(reader.bytes())
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: key, Value: reader.bytes()})
		}
		records = append(records, record)
	}
	return records, nil
}

type recordReader struct{ data []byte }

func (r *recordReader) number32() int32 {
	number := int32(binary.BigEndian.Uint32(r.data))
	r.data = r.data[4:]
	return number
}

func (r *recordReader) number64() int64 {
	number := int64(binary.BigEndian.Uint64(r.data))
	r.data = r.data[8:]
	return number
}

func (r *recordReader) bytes() []byte {
	length := r.number32()
	if length < 0 {
		return nil
	}
	bytes := r.data[:length:length]
	r.data = r.data[length:]
	return bytes
}

// recordWriter writes such a file.
type recordWriter struct {
	file   *os.File
	buffer *bufio.Writer
	count  int
}

func newRecordWriter(path string) (*recordWriter, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &recordWriter{file: file, buffer: bufio.NewWriterSize(file, 1<<20)}, nil
}

func (w *recordWriter) write(record *kgo.Record) error {
	if kind := record.Attrs.TimestampType(); kind != 0 {
		return fmt.Errorf("a record's timestamp is of kind %d, not CreateTime", kind)
	}
	w.number(uint32(record.Partition))
	w.long(uint64(record.Offset))
	w.long(uint64(record.Timestamp.UnixMilli()))
	w.bytes(record.Key)
	w.bytes(record.Value)
	w.number(uint32(len(record.Headers)))
	for _, header := range record.Headers {
		w.bytes([]byte(header.Key))
		w.bytes(header.Value)
	}
	w.count++
	return nil
}

func (w *recordWriter) close() error {
	if err := w.buffer.Flush(); err != nil {
		return err
	}
	return w.file.Close()
}

// Writes to a bufio.Writer fail for good once they failed, so that close reports it.
func (w *recordWriter) number(number uint32) {
	_, _ = w.buffer.Write(binary.BigEndian.AppendUint32(nil, number))
}

func (w *recordWriter) long(number uint64) {
	_, _ = w.buffer.Write(binary.BigEndian.AppendUint64(nil, number))
}

func (w *recordWriter) bytes(bytes []byte) {
	if bytes == nil {
		w.number(^uint32(0))
		return
	}
	w.number(uint32(len(bytes)))
	_, _ = w.buffer.Write(bytes)
}
