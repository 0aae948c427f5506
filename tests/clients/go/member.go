package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = 500 * time.Millisecond
)

// member processes what it polls as a member of a group, and commits behind it, until told to leave; see ../README.md.
type member struct {
	client    *kgo.Client
	file      *os.File
	leaving   context.CancelFunc
	done      chan error
	processed int64
}

func newMember(base []kgo.Opt, group, topic, path string) (*member, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(slices.Clone(base),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.BlockRebalanceOnPoll(),
	)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{client: client, file: file, leaving: cancel, done: make(chan error, 1)}
	go func() { m.done <- m.run(ctx) }()
	return m, nil
}

func (m *member) run(ctx context.Context) error {
	defer m.client.CloseAllowingRebalance()
	out := bufio.NewWriter(m.file)
	for ctx.Err() == nil {
		fetches := m.client.PollFetches(ctx)
		fetches.EachError(func(_ string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) {
				fmt.Fprintf(os.Stderr, "partition %d: %v\n", partition, err)
			}
		})
		records := fetches.Records()
		for _, record := range records {
			fmt.Fprintf(out, "%d %d %s\n", record.Partition, record.Offset, record.Value)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		m.processed += int64(len(records))
		if len(records) > 0 {
			if err := m.client.CommitRecords(context.Background(), records...); err != nil {
				fmt.Fprintln(os.Stderr, "a commit failed:", err)
			}
		}
		m.client.AllowRebalance()
	}
	return nil
}

func (m *member) leave() (int64, error) {
	m.leaving()
	err := <-m.done
	return m.processed, errors.Join(err, m.file.Close())
}

func (p *program) committed(ctx context.Context, group, topic string, partitions int32) ([]string, error) {
	offsets, err := p.admin.FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	answer := make([]string, 0, partitions)
	for partition := range partitions {
		at := int64(-1)
		if offset, found := offsets.Lookup(topic, partition); found {
			at = offset.At
		}
		answer = append(answer, strconv.FormatInt(at, 10))
	}
	return answer, nil
}
