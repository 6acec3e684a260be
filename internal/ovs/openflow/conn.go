package openflow

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Conn is a connection to a bridge. Its methods may be called from several
// goroutines at once; bundles then queue up behind each other.
type Conn struct {
	path string
	nc   net.Conn

	done      chan struct{} // closed by fail
	readEnded chan struct{}

	// Only the owner of writeMu writes, or sets the write deadline.
	writeMu sync.Mutex

	// bundleMu is held for the length of a bundle. It guards bundleBuf, which
	// saves encoding the next one into fresh memory.
	bundleMu  sync.Mutex
	bundleBuf []byte

	// mu guards what follows.
	mu      sync.Mutex
	nextXID uint32
	pending []*request
	lost    error // why the connection was lost, nil while it is not
}

// request waits for the messages with certain transaction ids.
type request struct {
	first, last uint32
	// deliver takes such a message. The goroutine that reads calls it, so it
	// must not wait for another message; the body is valid during the call.
	deliver func(message)
}

// errClosed is what a Conn's requests fail with after Close.
var errClosed = errors.New("connection closed")

// Dial connects to the bridge whose OpenFlow socket is path, such as
// /var/run/openvswitch/br-int.mgmt, and agrees on OpenFlow 1.4 with it. The
// context bounds the dialing only.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the bridge at %s: %w", path, err)
	}
	c := &Conn{path: path, nc: nc, done: make(chan struct{}), readEnded: make(chan struct{}), nextXID: 1}
	r := bufio.NewReaderSize(nc, maxMessageLen)
	buf := make([]byte, maxMessageLen)

	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	err = hello(c.bridge(), nc, r, buf)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("speak OpenFlow to the bridge at %s: %w", path, err)
	}
	go c.read(r, buf)
	return c, nil
}

// bridge returns the bridge's name.
func (c *Conn) bridge() string { return strings.TrimSuffix(filepath.Base(c.path), ".mgmt") }

// Close closes the connection; requests under way fail.
func (c *Conn) Close() error {
	c.fail(errClosed)
	<-c.readEnded
	return nil
}

// Done returns a channel that is closed when the connection is lost or closed.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection was lost. It returns nil while it is not.
func (c *Conn) Err() error {
	if err := c.lostErr(); err != nil {
		return fmt.Errorf("bridge at %s: %w", c.path, err)
	}
	return nil
}

// Barrier returns after the bridge has processed all messages that were sent
// before it. With a deadline, it also tells whether ovs-vswitchd still answers.
func (c *Conn) Barrier(ctx context.Context) error {
	_, err := c.call(ctx, typeBarrierRequest, nil, typeBarrierReply)
	if err != nil {
		return fmt.Errorf("barrier on %s: %w", c.path, err)
	}
	return nil
}

// WriteRaw writes encoded messages, see AppendFlowMods.
func (c *Conn) WriteRaw(ctx context.Context, b []byte) error {
	if err := c.write(ctx, b); err != nil {
		return fmt.Errorf("write to %s: %w", c.path, err)
	}
	return nil
}

// read hands messages to the requests that wait for them until the connection
// is lost.
func (c *Conn) read(r *bufio.Reader, buf []byte) {
	defer close(c.readEnded)
	for {
		m, err := readMessage(r, buf)
		if err == nil && m.version != version {
			err = fmt.Errorf("a message has version %d, want %d", m.version, version)
		}
		if err != nil {
			c.fail(fmt.Errorf("connection lost: %w", err))
			return
		}
		if m.typ == typeEchoRequest {
			reply := append(appendHeader(nil, typeEchoReply, m.xid), m.body...)
			binary.BigEndian.PutUint16(reply[2:], uint16(len(reply)))
			// Apart from reading: the writer may be stuck in a bundle until
			// Open vSwitch has got rid of its replies, that is, until we read.
			go c.write(context.Background(), reply)
			continue
		}
		// A message without a request is one for a request that was given up,
		// or one that nobody asked for, such as a port's status.
		if req := c.find(m.xid); req != nil {
			req.deliver(m)
		}
	}
}

func (c *Conn) find(xid uint32) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.pending {
		if r.first <= xid && xid <= r.last {
			return r
		}
	}
	return nil
}

// reserve returns the first of n successive transaction ids. 0 is none: the
// messages that nobody asked for have it, see ReceivePackets.
func (c *Conn) reserve(n int) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return 0, c.lost
	}
	if uint64(n) > math.MaxUint32-uint64(c.nextXID) {
		c.nextXID = 1
	}
	first := c.nextXID
	c.nextXID += uint32(n)
	return first, nil
}

func (c *Conn) expect(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, r)
}

func (c *Conn) forget(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.pending, r); i >= 0 {
		c.pending = slices.Delete(c.pending, i, i+1)
	}
}

// fail ends the connection; the first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return
	}
	c.lost = err
	close(c.done)
	c.nc.Close()
}

func (c *Conn) lostErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// write writes b whole, or the connection is lost: what follows half a message
// would make no sense.
func (c *Conn) write(ctx context.Context, b []byte) error {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { c.nc.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := c.nc.Write(b)
	if !stop() {
		err = context.Cause(ctx) // it has set, or is about to set, the deadline for good
	}
	if err != nil {
		c.fail(fmt.Errorf("connection lost while writing: %w", err))
		return c.lostErr()
	}
	return nil
}

// outcome is how the messages of an exchange fared.
type outcome struct {
	reply  message // to the last message; it may be an error
	err    *Error  // the first error reply to any of them
	errXID uint32  // the message that it is about
}

// exchange writes b, which holds messages with the transaction ids from first
// to last, and waits for the answer to the one with last. Answers and errors
// that come in for the others meanwhile, also for some written earlier, count
// as well. The error is about the connection or the context.
func (c *Conn) exchange(ctx context.Context, first, last uint32, b []byte) (outcome, error) {
	var out outcome
	answered := make(chan struct{})
	r := &request{first: first, last: last}
	r.deliver = func(m message) {
		if m.typ == typeError && out.err == nil {
			out.err, out.errXID = decodeError(m.body), m.xid
		}
		if m.xid == last {
			out.reply = m
			out.reply.body = slices.Clone(m.body)
			c.forget(r)
			close(answered)
		}
	}
	c.expect(r)
	defer c.forget(r)
	if err := c.write(ctx, b); err != nil {
		return outcome{}, err
	}
	select {
	case <-answered:
		return out, nil
	case <-c.done:
		return outcome{}, c.lostErr()
	case <-ctx.Done():
		return outcome{}, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
}

// call makes a request of one message, whose answer has type want, and returns
// the answer's body.
func (c *Conn) call(ctx context.Context, typ uint8, body []byte, want uint8) ([]byte, error) {
	xid, err := c.reserve(1)
	if err != nil {
		return nil, err
	}
	b := append(appendHeader(nil, typ, xid), body...)
	if err := endMessage(b, 0); err != nil {
		return nil, err
	}
	out, err := c.exchange(ctx, xid, xid, b)
	switch {
	case err != nil:
		return nil, err
	case out.err != nil:
		return nil, out.err
	case out.reply.typ != want:
		return nil, fmt.Errorf("answer of type %d, want %d", out.reply.typ, want)
	}
	return out.reply.body, nil
}

// command makes a request of one message, which the bridge answers only if it
// refuses it, and returns when the bridge has processed it: a barrier goes
// after it.
func (c *Conn) command(ctx context.Context, typ uint8, body []byte) error {
	xid, err := c.reserve(2)
	if err != nil {
		return err
	}
	b := append(appendHeader(nil, typ, xid), body...)
	if err := endMessage(b, 0); err != nil {
		return err
	}
	barrier := len(b)
	b = appendHeader(b, typeBarrierRequest, xid+1)
	if err := endMessage(b, barrier); err != nil {
		return err
	}
	out, err := c.exchange(ctx, xid, xid+1, b)
	switch {
	case err != nil:
		return err
	case out.err != nil:
		return out.err
	}
	return nil
}
