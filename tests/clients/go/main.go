// The program around franz-go; see ../README.md.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const timeout = 60 * time.Second

type program struct {
	base      []kgo.Opt
	admin     *kadm.Client
	streaming *stream
	member    *member
}

func main() {
	base := []kgo.Opt{
		kgo.SeedBrokers(os.Args[1]),
		// Metadata is asked for when it is needed, and not kept for seconds.
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
	client, err := kgo.NewClient(base...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := &program{base: base, admin: kadm.NewClient(client)}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		answer, err := p.answer(words[0], words[1:])
		if err != nil {
			answer = []string{"error", strings.NewReplacer("\n", " ", "\t", " ").Replace(err.Error())}
		} else {
			answer = append([]string{"ok"}, answer...)
		}
		fmt.Println(strings.Join(answer, "\t"))
	}
}

func (p *program) answer(command string, words []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	switch command {
	case "version":
		return []string{"franz-go " + libraryVersion()}, nil
	case "create-topic":
		_, err := p.admin.CreateTopic(ctx, int32(number(words[1])), 1, nil, words[0])
		return nil, err
	case "list-topics":
		topics, err := p.admin.ListTopicsWithInternal(ctx)
		if err != nil {
			return nil, err
		}
		return topics.Names(), nil
	case "delete-topic":
		_, err := p.admin.DeleteTopic(ctx, words[0])
		return nil, err
	case "produce":
		return one(p.produce(ctx, words[0], words[1], words[2], words[3], words[4]))
	case "consume":
		return one(p.consume(words[0], int32(number(words[1])), words[2]))
	case "offset":
		return one(p.offset(ctx, words[0], int32(number(words[1])), words[2]))
	case "delete-records":
		return one(p.deleteRecords(ctx, words[0], int32(number(words[1])), number(words[2])))
	case "stream":
		producer, err := p.producer("none", words[3], words[2])
		if err != nil {
			return nil, err
		}
		p.streaming, err = newStream(producer, words[0], number(words[1]), words[3], words[4])
		return nil, err
	case "stop":
		return one(p.streaming.stop(timeout))
	case "join":
		member, err := newMember(p.base, words[0], words[1], words[2])
		p.member = member
		return nil, err
	case "leave":
		return one(p.member.leave())
	case "committed":
		return p.committed(ctx, words[0], words[1], int32(number(words[2])))
	default:
		return nil, fmt.Errorf("no command %s", command)
	}
}

func libraryVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				return module.Version
			}
		}
	}
	return "(version unknown)"
}

func one[T int | int64](number T, err error) ([]string, error) {
	return []string{fmt.Sprint(number)}, err
}

// number reads one of the harness's own numbers.
func number(word string) int64 {
	value, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func (p *program) producer(codec, clientID, mode string) (*kgo.Client, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	options := append(slices.Clone(p.base),
		kgo.ClientID(clientID),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if mode == "plain" {
		// Without sequence numbers, only one request at a time keeps the order when one is sent again.
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	if strings.HasPrefix(clientID, "cut-") {
		options = append(options, kgo.ProducerBatchMaxBytes(4096))
	}
	return kgo.NewClient(options...)
}

func (p *program) produce(ctx context.Context, topic, codec, clientID, mode, path string) (int, error) {
	records, err := readRecords(topic, path)
	if err != nil {
		return 0, err
	}
	producer, err := p.producer(codec, clientID, mode)
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	return len(records), producer.ProduceSync(ctx, records...).FirstErr()
}

func (p *program) consume(topic string, partitions int32, path string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	starts, err := p.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	ends, err := p.admin.ListEndOffsets(ctx, topic)
	if err = errors.Join(err, starts.Error(), ends.Error()); err != nil {
		return 0, err
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	for partition := range partitions {
		start, _ := starts.Lookup(topic, partition)
		end, _ := ends.Lookup(topic, partition)
		if start.Offset < end.Offset {
			left[partition] = end.Offset
			from[partition] = kgo.NewOffset().At(start.Offset)
		}
	}
	consumer, err := kgo.NewClient(append(slices.Clone(p.base),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)...)
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	writer, err := newRecordWriter(path)
	if err != nil {
		return 0, err
	}
	for len(left) > 0 {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, fmt.Errorf("%w; still to come, with their ends: %v", err, left)
		}
		for _, record := range fetches.Records() {
			end, reading := left[record.Partition]
			if !reading {
				continue
			}
			if err := writer.write(record); err != nil {
				return 0, err
			}
			if record.Offset+1 >= end {
				delete(left, record.Partition)
			}
		}
	}
	return writer.count, writer.close()
}

func (p *program) offset(ctx context.Context, topic string, partition int32, spec string) (int64, error) {
	var listed kadm.ListedOffsets
	var err error
	switch spec {
	case "earliest":
		listed, err = p.admin.ListStartOffsets(ctx, topic)
	case "latest":
		listed, err = p.admin.ListEndOffsets(ctx, topic)
	case "max-timestamp":
		listed, err = p.admin.ListMaxTimestampOffsets(ctx, topic)
	default:
		listed, err = p.admin.ListOffsetsAfterMilli(ctx, number(spec), topic)
	}
	if err = errors.Join(err, listed.Error()); err != nil {
		return 0, err
	}
	offset, found := listed.Lookup(topic, partition)
	if !found {
		return 0, fmt.Errorf("no answer for partition %d", partition)
	}
	return offset.Offset, offset.Err
}

func (p *program) deleteRecords(ctx context.Context, topic string, partition int32, before int64) (int64, error) {
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
	answers, err := p.admin.DeleteRecords(ctx, offsets)
	if err = errors.Join(err, answers.Error()); err != nil {
		return 0, err
	}
	answer, found := answers.Lookup(topic, partition)
	if !found {
		return 0, fmt.Errorf("no answer for partition %d", partition)
	}
	return answer.LowWatermark, answer.Err
}
