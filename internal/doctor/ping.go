package doctor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// pingTries is how often a probe is sent before it counts as lost.
	pingTries = 3
	// pingHeaders is the length of the IP and the ICMP header of an echo.
	pingHeaders = ipv4.HeaderLen + 8
)

// pinger sends ICMP echo requests that must not be fragmented. Any number of
// goroutines may use one.
type pinger struct {
	conn net.PacketConn
	id   int           // tells our answers from those of other processes
	wait time.Duration // for the answer

	mu      sync.Mutex
	seq     int // of the request sent last
	waiting map[int]request
}

// request is one that waits for its answer.
type request struct {
	to       netip.Addr
	data     int // bytes that it carries
	answered chan<- struct{}
}

// newPinger opens a raw socket that sends from an address of this host.
func newPinger(ctx context.Context, from netip.Addr, wait time.Duration) (*pinger, error) {
	var config net.ListenConfig
	config.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		control := raw.Control(func(fd uintptr) {
			// DF in every packet, whatever the kernel has heard of the path's MTU.
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		})
		return errors.Join(control, err)
	}
	conn, err := config.ListenPacket(ctx, "ip4:icmp", from.String())
	if err != nil {
		return nil, fmt.Errorf("open a socket for ICMP at %s: %w", from, err)
	}
	var answers ipv4.ICMPFilter
	answers.SetAll(true)
	answers.Accept(ipv4.ICMPTypeEchoReply)
	if err := ipv4.NewPacketConn(conn).SetICMPFilter(&answers); err != nil {
		conn.Close()
		return nil, fmt.Errorf("filter the ICMP messages of a socket: %w", err)
	}
	p := &pinger{conn: conn, id: rand.IntN(1 << 16), wait: wait, waiting: map[int]request{}}
	go p.receive()
	return p, nil
}

func (p *pinger) close() { p.conn.Close() }

// receive hands out answers until the socket is closed.
func (p *pinger) receive() {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // what a packet did wrong is nothing to the next
		}
		message, err := icmp.ParseMessage(unix.IPPROTO_ICMP, buffer[:n])
		if err != nil {
			continue
		}
		echo, ok := message.Body.(*icmp.Echo)
		if !ok || message.Type != ipv4.ICMPTypeEchoReply || echo.ID != p.id {
			continue
		}
		source, _ := netip.ParseAddr(from.String())
		p.mu.Lock()
		if r, ok := p.waiting[echo.Seq]; ok && r.to == source && r.data == len(echo.Data) {
			delete(p.waiting, echo.Seq)
			close(r.answered)
		}
		p.mu.Unlock()
	}
}

// ping reports whether an IP packet of size bytes gets to an address, told by
// an answer.
func (p *pinger) ping(ctx context.Context, to netip.Addr, size int) (bool, error) {
	answered := make(chan struct{})
	seq := p.expect(request{to, size - pingHeaders, answered})
	defer p.forget(seq)
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: p.id, Seq: seq, Data: make([]byte, size-pingHeaders)}}
	packet, err := message.Marshal(nil)
	if err != nil {
		return false, err
	}
	for range pingTries {
		_, err := p.conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()})
		switch {
		case errors.Is(err, unix.EMSGSIZE):
			return false, nil // the way there is by a NIC of this host with a smaller MTU
		case err != nil && !errors.Is(err, unix.ENOBUFS): // a full queue is a lost packet
			return false, err
		}
		select {
		case <-answered:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(p.wait / pingTries):
		}
	}
	return false, nil
}

// expect takes a sequence number for a request that is about to be sent.
func (p *pinger) expect(r request) (seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq = (p.seq + 1) & 0xffff
	p.waiting[p.seq] = r
	return p.seq
}

func (p *pinger) forget(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, seq)
}
