package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// One member of etcd serves a store at a time: what it is asked and what it
// tells then go over one connection, so that it is known as a whole whether that
// is good for anything. A member that hangs keeps its connections open; gRPC
// would find out after 15 s at best.
const oneMember = `{"loadBalancingConfig": [{"pick_first": {}}]}`

// A watch asks every askInterval whether etcd is still there. A member that owes
// an answer for longer than answerPatience is left for another one.
const (
	askInterval    = time.Second
	answerPatience = 2 * time.Second
)

// failover leaves a member that does not answer.
type failover struct {
	mu    sync.Mutex // guards last
	last  time.Time  // a member was left
	leave func()
	sight *sight
}

// now leaves the member, unless that has just been done: on a connection that is
// no good several streams find that out.
func (f *failover) now() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) > answerPatience/2 {
		f.last = time.Now()
		f.leave()
	}
}

// leaveMember makes connections go to the next endpoint.
func (s *Store) leaveMember() {
	all := s.client.Endpoints()
	s.client.SetEndpoints(slices.Concat(all[1:], all[:1])...)
	s.Reconnect()
}

// mind is the interceptor of streams that leaves a member which does not answer.
// All that a store sends on a stream (watches, their progress, renewals of
// leases) has an answer.
func (f *failover) mind(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(ctx, desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	m := &mindedStream{ClientStream: stream, sight: f.sight}
	m.late = time.AfterFunc(answerPatience, func() {
		if ctx.Err() == nil {
			f.now()
		}
	})
	m.late.Stop()
	return m, nil
}

// mindRead is the interceptor of calls that leaves a member which owes an answer to
// a read: before there is a stream, nothing else would. The client asks the next
// member the same. A write is another matter, as it may have been done.
func (f *failover) mindRead(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if method == "/etcdserverpb.KV/Range" {
		late := time.AfterFunc(answerPatience, f.now)
		defer late.Stop()
	}
	return call(ctx, method, req, reply, cc, opts...)
}

// mindedStream is a stream on which answers are waited for.
type mindedStream struct {
	grpc.ClientStream
	sight *sight

	mu   sync.Mutex // guards owed
	owed bool       // since late was started
	late *time.Timer
}

// SendMsg implements grpc.ClientStream.
func (m *mindedStream) SendMsg(msg any) error {
	m.mu.Lock()
	if !m.owed {
		m.owed = true
		m.late.Reset(answerPatience)
	}
	m.mu.Unlock()
	return m.ClientStream.SendMsg(msg)
}

// RecvMsg implements grpc.ClientStream.
func (m *mindedStream) RecvMsg(msg any) error {
	err := m.ClientStream.RecvMsg(msg)
	m.mu.Lock()
	m.owed = false
	m.late.Stop()
	m.mu.Unlock()
	if err == nil {
		m.sight.heard(msg)
	}
	return err
}
