// The program around sarama, as a member of groups alone; see ../README.md.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const (
	sessionTimeout    = 6 * time.Second
	heartbeatInterval = 500 * time.Millisecond
)

type program struct {
	bootstrap []string
	member    *member
}

func main() {
	p := &program{bootstrap: strings.Split(os.Args[1], ",")}
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
	switch command {
	case "version":
		return []string{"sarama " + libraryVersion()}, nil
	case "join":
		member, err := newMember(p.bootstrap, words[0], words[1], words[2])
		p.member = member
		return nil, err
	case "leave":
		processed, err := p.member.leave()
		return []string{strconv.FormatInt(processed, 10)}, err
	case "committed":
		partitions, err := strconv.Atoi(words[2])
		if err != nil {
			return nil, err
		}
		return p.committed(words[0], words[1], int32(partitions))
	default:
		return nil, fmt.Errorf("no command %s", command)
	}
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V3_6_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	config.Consumer.Group.Session.Timeout = sessionTimeout
	config.Consumer.Group.Heartbeat.Interval = heartbeatInterval
	config.Consumer.Retry.Backoff = 50 * time.Millisecond
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	return config
}

func (p *program) committed(group, topic string, partitions int32) ([]string, error) {
	admin, err := sarama.NewClusterAdmin(p.bootstrap, config())
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	wanted := make([]int32, 0, partitions)
	for partition := range partitions {
		wanted = append(wanted, partition)
	}
	offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: wanted})
	if err != nil {
		return nil, err
	}
	answer := make([]string, 0, partitions)
	for _, partition := range wanted {
		at := int64(-1)
		if block := offsets.GetBlock(topic, partition); block != nil {
			at = block.Offset
		}
		answer = append(answer, strconv.FormatInt(at, 10))
	}
	return answer, nil
}

func libraryVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/IBM/sarama" {
				return module.Version
			}
		}
	}
	return "(version unknown)"
}
