package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	streamWaiting = 2000
	streamPerTurn = 5
	streamPause   = 10 * time.Millisecond
)

// stream produces until told to stop, at a bounded rate, and writes down every outcome; see ../README.md.
type stream struct {
	producer   *kgo.Client
	topic      string
	partitions int64
	name       string
	stopping   chan struct{}
	done       chan struct{}
	outcomes   atomic.Int64
	sent       int64

	lock   sync.Mutex
	file   *os.File
	buffer *bufio.Writer
}

func newStream(producer *kgo.Client, topic string, partitions int64, name, path string) (*stream, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	s := &stream{
		producer: producer, topic: topic, partitions: partitions, name: name,
		stopping: make(chan struct{}), done: make(chan struct{}),
		file: file, buffer: bufio.NewWriter(file),
	}
	go s.run()
	return s, nil
}

func (s *stream) run() {
	defer close(s.done)
	ticks := time.NewTicker(streamPause)
	defer ticks.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-ticks.C:
		}
		for turn := 0; turn < streamPerTurn && s.sent-s.outcomes.Load() < streamWaiting; turn++ {
			s.send(s.sent%s.partitions, s.sent/s.partitions)
			s.sent++
		}
		s.lock.Lock()
		_ = s.buffer.Flush() // A failure is reported by the last flush.
		s.lock.Unlock()
	}
}

func (s *stream) send(partition, sequence int64) {
	record := &kgo.Record{
		Topic: s.topic, Partition: int32(partition),
		Value: fmt.Appendf(nil, "%s:%d:%d", s.name, partition, sequence),
	}
	s.producer.Produce(context.Background(), record, func(record *kgo.Record, err error) {
		s.lock.Lock()
		defer s.lock.Unlock()
		if err == nil {
			fmt.Fprintf(s.buffer, "ack %d %d %d\n", partition, sequence, record.Offset)
		} else {
			fmt.Fprintf(s.buffer, "fail %d %d %s\n", partition, sequence, strings.ReplaceAll(err.Error(), "\n", " "))
		}
		s.outcomes.Add(1)
	})
}

func (s *stream) stop(timeout time.Duration) (int64, error) {
	close(s.stopping)
	<-s.done
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.producer.Flush(ctx); err != nil {
		return 0, fmt.Errorf("%d records are still without an outcome: %w", s.sent-s.outcomes.Load(), err)
	}
	s.producer.Close()
	s.lock.Lock()
	defer s.lock.Unlock()
	if err := s.buffer.Flush(); err != nil {
		return 0, err
	}
	return s.sent, s.file.Close()
}
