package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

// peer plays the bridge in a test of what Open vSwitch does only when it is
// broken, or not on demand.
type peer struct {
	t   *testing.T
	nc  net.Conn
	buf []byte
}

// listen accepts one connection and runs bridge on it. It returns the path to
// dial. The connection stays open until the test ends, or bridge closes it.
func listen(t *testing.T, bridge func(p *peer)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "openflow")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "br0.mgmt")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(ended)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		bridge(&peer{t: t, nc: nc, buf: make([]byte, maxMessageLen)})
		<-stop
	}()
	t.Cleanup(func() {
		close(stop)
		l.Close()
		<-ended
		os.RemoveAll(dir)
	})
	return path
}

// send sends a message of the given version.
func (p *peer) send(ver, typ uint8, xid uint32, body ...byte) {
	b := append(appendHeader(nil, typ, xid), body...)
	b[0] = ver
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	p.nc.Write(b) // the other side may have closed on purpose
}

// receive returns the next message, which has to be of type want.
func (p *peer) receive(want uint8) message {
	m, err := readMessage(p.nc, p.buf)
	if err != nil || m.typ != want {
		p.t.Errorf("the bridge received a message of type %d (error %v), want %d", m.typ, err, want)
	}
	return m
}

// hello answers a HELLO as Open vSwitch does.
func (p *peer) hello() {
	p.receive(typeHello)
	p.send(6, typeHello, 1, 0, helloBitmap, 0, 8, 0, 0, 0, 0x7e)
}

func dial(t *testing.T, path string) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDial(t *testing.T) {
	const refused = "does not offer OpenFlow 1.4"
	for name, test := range map[string]struct {
		bridge func(p *peer)
		want   string // in the error; empty for none
	}{
		"bitmap":          {(*peer).hello, ""},
		"plain 1.4":       {func(p *peer) { p.send(5, typeHello, 1) }, ""},
		"plain 1.5":       {func(p *peer) { p.send(6, typeHello, 1) }, ""},
		"plain 1.3":       {func(p *peer) { p.send(4, typeHello, 1) }, refused},
		"bitmap without":  {func(p *peer) { p.send(6, typeHello, 1, 0, 1, 0, 8, 0, 0, 0, 0x5e) }, refused},
		"unknown element": {func(p *peer) { p.send(6, typeHello, 1, 0, 9, 0, 4, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0x5e) }, refused},
		"broken element":  {func(p *peer) { p.send(5, typeHello, 1, 0, 1, 0, 99) }, ""},
		"error":           {func(p *peer) { p.send(5, typeError, 1, 0, 0, 0, 0) }, "OFPHFC_INCOMPATIBLE"},
		"no hello":        {func(p *peer) { p.send(5, typeBarrierReply, 1) }, "in the place of a HELLO"},
		"hangs up":        {func(p *peer) { p.nc.Close() }, "br0.mgmt"},
		"impossible size": {func(p *peer) { p.nc.Write([]byte{5, 0, 0, 7, 0, 0, 0, 0}) }, "claims to be 7 bytes long"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Dial(t.Context(), listen(t, test.bridge))
			if err == nil {
				c.Close()
			}
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := Dial(ctx, listen(t, func(*peer) {})); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the deadline", err)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if _, err := Dial(t.Context(), "/nonexistent/br0.mgmt"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("error is %v, want that of a missing file", err)
		}
	})
}

// TestDialVersion meets a real bridge that does not offer the version, and
// does as the error says.
func TestDialVersion(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	o.Vsctl("add-br", "br0", "--", "set", "bridge", "br0", "protocols=OpenFlow10,OpenFlow13")
	_, err := Dial(t.Context(), o.Mgmt("br0"))
	if err == nil || !strings.Contains(err.Error(), "`ovs-vsctl add bridge br0 protocols OpenFlow14`") {
		t.Errorf("error is %v, want one that names the remedy", err)
	}
	o.Vsctl("add", "bridge", "br0", "protocols", "OpenFlow14")
	if err := dial(t, o.Mgmt("br0")).Barrier(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEcho(t *testing.T) {
	echoed := make(chan message, 1)
	path := listen(t, func(p *peer) {
		p.hello()
		p.send(5, 12, 0, 1, 2, 3) // a port's status, which nobody asked for
		p.send(5, typeEchoRequest, 1, 'h', 'i')
		echoed <- p.receive(typeEchoReply)
	})
	dial(t, path)
	if m := <-echoed; m.xid != 1 || string(m.body) != "hi" {
		t.Errorf("the answer to the echo request is %+v", m)
	}
}

// TestLost loses the connection in the middle of each request.
func TestLost(t *testing.T) {
	mods := []Mod{{Add, &flows.Flow{}, 1}}
	for name, test := range map[string]struct {
		request  func(ctx context.Context, c *Conn) error
		messages []uint8 // that the bridge takes before it hangs up
	}{
		"barrier": {func(ctx context.Context, c *Conn) error { return c.Barrier(ctx) }, []uint8{typeBarrierRequest}},
		"bundle": {func(ctx context.Context, c *Conn) error { return c.Commit(ctx, mods) },
			[]uint8{typeBundleControl, typeBundleAdd, typeBundleControl}},
		"TLV":   {func(ctx context.Context, c *Conn) error { return c.EnsureTLV(ctx, option) }, []uint8{typeExperimenter}},
		"meter": {func(ctx context.Context, c *Conn) error { return c.EnsureMeters(ctx, flows.Meters) }, []uint8{typeMultipartRequest}},
		"packets": {func(ctx context.Context, c *Conn) error {
			return c.ReceivePackets(ctx, func(PacketIn) {}, func(error) {})
		}, []uint8{typeExperimenter}},
		"flush": {func(ctx context.Context, c *Conn) error {
			return c.FlushConnections(ctx, 1, Reply, netip.MustParseAddr("192.0.2.1"))
		}, []uint8{typeExperimenter}},
		"count": {func(ctx context.Context, c *Conn) error { _, err := c.Count(ctx, 0, 0); return err }, []uint8{typeMultipartRequest}},
		"dump": {func(ctx context.Context, c *Conn) error {
			for _, err := range c.Dump(ctx, 0, 0) {
				return err
			}
			return nil
		}, []uint8{typeMultipartRequest}},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, listen(t, func(p *peer) {
				p.hello()
				for _, typ := range test.messages {
					p.receive(typ)
				}
				p.nc.Close()
			}))
			err := test.request(t.Context(), c)
			if err == nil || !strings.Contains(err.Error(), "connection lost") || !strings.Contains(err.Error(), c.path) {
				t.Errorf("error is %v, want one of a lost connection that names the bridge", err)
			}
			<-c.Done()
			if c.Err() == nil {
				t.Error("Err is nil after the connection was lost")
			}
			if err := test.request(t.Context(), c); err == nil {
				t.Error("a request on a lost connection succeeded")
			}
		})
	}
}

// TestHung shows that a deadline ends each request to a bridge that has
// stopped answering, and whether the connection can be used afterwards.
func TestHung(t *testing.T) {
	for name, test := range map[string]struct {
		request func(ctx context.Context, c *Conn) error
		usable  bool
	}{
		"barrier": {func(ctx context.Context, c *Conn) error { return c.Barrier(ctx) }, true},
		"bundle":  {func(ctx context.Context, c *Conn) error { return c.Commit(ctx, adds(3, 1, 1)) }, false},
		// More than a socket holds.
		"write": {func(ctx context.Context, c *Conn) error { return c.WriteRaw(ctx, make([]byte, 8<<20)) }, false},
		"count": {func(ctx context.Context, c *Conn) error { _, err := c.Count(ctx, 0, 0); return err }, true},
		"dump": {func(ctx context.Context, c *Conn) error {
			for _, err := range c.Dump(ctx, 0, 0) {
				return err
			}
			return nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, listen(t, (*peer).hello))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := test.request(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v, want the deadline", err)
			}
			if usable := c.Err() == nil; usable != test.usable {
				t.Errorf("connection usable: %v (%v), want %v", usable, c.Err(), test.usable)
			}
			if err := test.request(ctx, c); err == nil {
				t.Error("a request under a context that has ended succeeded")
			}
		})
	}
}

// TestMisbehaviour ends the connection, or fails the request, over what no
// bridge sends.
func TestMisbehaviour(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(p *peer)
		want   string
	}{
		"other version": {func(p *peer) { p.send(4, typeBarrierReply, 1) }, "has version 4"},
		"short message": {func(p *peer) { p.nc.Write([]byte{5, 21, 0, 4, 0, 0, 0, 1}) }, "claims to be 4 bytes"},
		"other type":    {func(p *peer) { p.send(5, typeMultipartReply, 1) }, "answer of type 19, want 21"},
		"error":         {func(p *peer) { p.send(5, typeError, 1, 0, 1, 0, 5) }, "OFPBRC_EPERM"},
		"empty error":   {func(p *peer) { p.send(5, typeError, 1) }, "OFPHFC_INCOMPATIBLE"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, listen(t, func(p *peer) {
				p.hello()
				p.receive(typeBarrierRequest)
				test.answer(p)
			}))
			if err := c.Barrier(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestShortCount cuts the answer to a question for the number of flows.
func TestShortCount(t *testing.T) {
	c := dial(t, listen(t, func(p *peer) {
		p.hello()
		m := p.receive(typeMultipartRequest)
		p.send(5, typeMultipartReply, m.xid, append([]byte{0, multipartAggregate}, make([]byte, 29)...)...)
	}))
	if n, err := c.Count(t.Context(), 0, 0); !errors.Is(err, errMalformed) {
		t.Errorf("%d flows are counted, error %v, want %v", n, err, errMalformed)
	}
}

// TestBundleRefused refuses the bundle itself.
func TestBundleRefused(t *testing.T) {
	c := dial(t, listen(t, func(p *peer) {
		p.hello()
		open := p.receive(typeBundleControl)
		p.send(5, typeError, open.xid, 0, 17, 0, 5)
		p.receive(typeBundleAdd)
		end := p.receive(typeBundleControl)
		p.send(5, typeError, end.xid, 0, 17, 0, 2)
		decide := p.receive(typeBundleControl)
		if typ := binary.BigEndian.Uint16(decide.body[4:]); typ != bundleDiscard {
			t.Errorf("bundle control of type %d, want %d", typ, bundleDiscard)
		}
		p.send(5, typeError, decide.xid, 0, 17, 0, 2)
	}))
	err := c.Commit(t.Context(), []Mod{{Delete, nil, 1}})
	var of *Error
	if !errors.As(err, &of) || *of != (Error{17, 5}) {
		t.Errorf("error is %v, want OFPBFC_OUT_OF_BUNDLES", err)
	}
	if c.Err() == nil {
		t.Error("the connection outlived a bundle whose fate is unknown")
	}
}

// TestXIDs goes through the end of the transaction ids.
func TestXIDs(t *testing.T) {
	c := &Conn{nextXID: 1<<32 - 3}
	for i, want := range []uint32{1<<32 - 3, 1, 11} {
		n := []int{2, 10, 1}[i]
		if got, err := c.reserve(n); err != nil || got != want {
			t.Errorf("reserve %d: %d, error %v, want %d", n, got, err, want)
		}
	}
}

func TestClose(t *testing.T) {
	c := dial(t, listen(t, (*peer).hello))
	failed := make(chan error)
	go func() { failed <- c.Barrier(t.Context()) }()
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-failed; !errors.Is(err, errClosed) {
		t.Errorf("the request under way ended in %v, want %v", err, errClosed)
	}
}
