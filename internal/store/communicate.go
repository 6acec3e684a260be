package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Tools and agents talk through etcd. A tool writes a command for the agent of
// a chassis, and agents, not that one alone, write answers. Everything stands
// under leases, so that nothing stays.
//
//	communicate/push/<system-id>/cmd/<command id>                    a command, for 10 s
//	communicate/cmd_result/<command id>/<sequence>/<system-id>       an answer, for 30 s
//	communicate/answer/<system-id>/<command id>/<sequence>           an answer of an agent that may write under its own name alone
const (
	commandTTL = 10 * time.Second
	answerTTL  = 30 * time.Second
)

// Properties is what a command or an answer says: names and values, of which
// neither holds "," or "=".
type Properties map[string]string

func (p Properties) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name + "=" + p[name])
	}
	return b.String()
}

// parseProperties reads what String wrote, or somebody else; what has no "=" is
// skipped.
func parseProperties(value string) Properties {
	p := Properties{}
	for part := range strings.SplitSeq(value, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			p[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return p
}

// Command is what the agent of a chassis is asked to do.
type Command struct {
	ID uint16 // that the answers carry
	Properties
}

// Answer is what an agent says to a command.
type Answer struct {
	Command  uint16
	Sequence int // orders the answers to one command
	Chassis  string
	Properties
}

// Conversation is a tool's: it asks agents, and hears their answers. Its methods
// may be called at the same time.
type Conversation struct {
	store   *Store
	lease   clientv3.LeaseID
	answers chan Answer
	last    atomic.Uint32 // command id
}

// Converse begins a conversation, which ends with ctx, or when the lease of its
// commands cannot be renewed any more.
func (s *Store) Converse(ctx context.Context) (*Conversation, error) {
	const doing = "talking to the agents"
	ctx, end := context.WithCancel(ctx)
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := s.client.Grant(try, int64(commandTTL.Seconds()))
	if err != nil {
		end()
		return nil, s.failed(doing, err)
	}
	renewals, err := s.client.KeepAlive(ctx, lease.ID)
	if err != nil {
		end()
		return nil, s.failed(doing, err)
	}
	head, err := s.client.Get(try, s.layout.version())
	if err != nil {
		end()
		return nil, s.failed(doing, err)
	}
	c := &Conversation{store: s, lease: lease.ID, answers: make(chan Answer, 1024)}
	c.last.Store(rand.Uint32())
	from, upTo := s.layout.allAnswers()
	stream := s.client.Watch(clientv3.WithRequireLeader(ctx), from, clientv3.WithRange(upTo),
		clientv3.WithRev(head.Header.Revision+1), clientv3.WithFilterDelete())
	go func() {
		defer end()
		for range renewals {
		}
	}()
	go func() {
		defer close(c.answers)
		for resp := range stream {
			for _, event := range resp.Events {
				a, ok := s.layout.answer(event.Kv)
				if !ok {
					continue
				}
				select {
				case c.answers <- a:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return c, nil
}

// Answers returns the channel of all answers that are given from the beginning
// of the conversation on, to whosever commands. It is closed when the
// conversation ends.
func (c *Conversation) Answers() <-chan Answer { return c.answers }

// End takes back what was asked. Answers stay until their leases end.
func (c *Conversation) End(ctx context.Context) error {
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if _, err := c.store.client.Revoke(try, c.lease); err != nil {
		return c.store.failed("ending a conversation with the agents", err)
	}
	return nil
}

// Ask asks the agents of some chassis one thing, and returns the id that their
// answers will carry. It is free among commands of a moment ago. A conversation
// counts its ids up from a random one, so that two tools hardly meet, and it never
// meets itself; who wants certainty looks at what answers say.
func (c *Conversation) Ask(ctx context.Context, chassis []string, what Properties) (uint16, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	from, end := c.store.layout.allAnswers()
	given, err := c.store.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithKeysOnly())
	if err != nil {
		return 0, c.store.failed("asking agents", err)
	}
	used := map[uint16]bool{0: true}
	for _, kv := range given.Kvs {
		a, _ := c.store.layout.answer(kv)
		used[a.Command] = true
	}
	id := uint16(c.last.Add(1))
	for used[id] {
		id = uint16(c.last.Add(1))
	}
	for part := range slices.Chunk(chassis, maxOps) {
		ops := make([]clientv3.Op, len(part))
		for i, name := range part {
			ops[i] = clientv3.OpPut(c.store.layout.commands(name)+"cmd/"+strconv.Itoa(int(id)), what.String(), clientv3.WithLease(c.lease))
		}
		if _, err := c.store.client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return 0, c.store.failed("asking agents", err)
		}
	}
	return id, nil
}

// Commands delivers what the agent of a chassis is asked to do from now on,
// until ctx ends, which closes the channel. While etcd is away nobody can ask.
func (s *Store) Commands(ctx context.Context, chassis string) <-chan Command {
	out := make(chan Command, 64)
	directory := s.layout.commands(chassis) + "cmd/"
	go func() {
		defer close(out)
		for wait := minWait; ctx.Err() == nil; wait = longer(wait) {
			// A stream that breaks ends (see endBrokenStreams), and its
			// commands with it: whoever asked has given up, or asks again.
			stream := s.client.Watch(clientv3.WithRequireLeader(ctx), directory, clientv3.WithPrefix(),
				clientv3.WithFilterDelete(), clientv3.WithCreatedNotify())
			for resp := range stream {
				wait = minWait
				for _, event := range resp.Events {
					id, err := strconv.ParseUint(strings.TrimPrefix(string(event.Kv.Key), directory), 10, 16)
					if err != nil {
						continue // nobody could be answered
					}
					select {
					case out <- Command{uint16(id), parseProperties(string(event.Kv.Value))}:
					case <-ctx.Done():
						return
					}
				}
			}
			if !sleep(ctx, wait) {
				return
			}
		}
	}()
	return out
}

// Answer writes answers, at most 128, in one transaction under one lease: where
// nodes of the original write theirs, or in the chassis' own place if etcd denies
// that.
func (s *Store) Answer(ctx context.Context, answers []Answer) error {
	const doing = "answering a command"
	try, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := s.client.Grant(try, int64(answerTTL.Seconds()))
	if err != nil {
		return s.failed(doing, err)
	}
	for _, path := range []func(Answer) string{s.layout.answerTo, s.layout.answerBy} {
		ops := make([]clientv3.Op, len(answers))
		for i, a := range answers {
			ops[i] = clientv3.OpPut(path(a), a.Properties.String(), clientv3.WithLease(lease.ID))
		}
		if _, err = s.client.Txn(try).Then(ops...).Commit(); err == nil {
			return nil
		}
		if err = s.failed(doing, err); !errors.Is(err, ErrDenied) {
			return err
		}
	}
	return err
}

// answerTo and answerBy return where an answer is kept: with others to the same
// command, or with others by the same chassis.
func (l layout) answerTo(a Answer) string {
	return fmt.Sprintf("%s%d/%d/%s", l.answers(), a.Command, a.Sequence, a.Chassis)
}

func (l layout) answerBy(a Answer) string {
	return fmt.Sprintf("%s%d/%d", l.answersBy(a.Chassis), a.Command, a.Sequence)
}

// answer reads an answer, or an answer's key without its value; ok tells whether
// it is one.
func (l layout) answer(kv *mvccpb.KeyValue) (a Answer, ok bool) {
	path := string(kv.Key)
	parts := strings.Split(strings.TrimPrefix(path, l.answers()), "/")
	if own, _ := l.allAnswers(); strings.HasPrefix(path, own) {
		chassis, rest, _ := strings.Cut(strings.TrimPrefix(path, own), "/")
		parts = append(strings.Split(rest, "/"), chassis)
	}
	if len(parts) != 3 {
		return Answer{}, false
	}
	id, err := strconv.ParseUint(parts[0], 10, 16)
	if err != nil {
		return Answer{}, false
	}
	sequence, err := strconv.ParseUint(parts[1], 10, 31)
	if err != nil {
		return Answer{}, false
	}
	return Answer{uint16(id), int(sequence), parts[2], parseProperties(string(kv.Value))}, true
}
