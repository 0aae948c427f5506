package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// pause is how long a member waits before it joins again after an error.
const pause = 100 * time.Millisecond

// member processes what it is given as a member of a group, and commits behind it, until told to leave.
type member struct {
	group     sarama.ConsumerGroup
	leaving   context.CancelFunc
	done      chan struct{}
	lock      sync.Mutex
	file      *os.File
	processed int64
}

func newMember(bootstrap []string, group, topic, path string) (*member, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	consumers, err := sarama.NewConsumerGroup(bootstrap, group, config())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{group: consumers, leaving: cancel, done: make(chan struct{}), file: file}
	go func() {
		for err := range consumers.Errors() {
			fmt.Fprintln(os.Stderr, "told of", err)
		}
	}()
	go m.run(ctx, topic)
	return m, nil
}

func (m *member) run(ctx context.Context, topic string) {
	defer close(m.done)
	for ctx.Err() == nil {
		if err := m.group.Consume(ctx, []string{topic}, m); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "a session ended:", err)
			time.Sleep(pause)
		}
	}
}

// Setup has nothing to do.
func (m *member) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup commits what was processed since the last time.
func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	session.Commit()
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if err := m.process(message); err != nil {
				return err
			}
			session.MarkMessage(message, "")
			if len(claim.Messages()) == 0 {
				session.Commit()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// process writes a record down. Partitions come side by side.
func (m *member) process(message *sarama.ConsumerMessage) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.processed++
	_, err := fmt.Fprintf(m.file, "%d %d %s\n", message.Partition, message.Offset, message.Value)
	return err
}

func (m *member) leave() (int64, error) {
	m.leaving()
	<-m.done
	return m.processed, errors.Join(m.group.Close(), m.file.Close())
}
