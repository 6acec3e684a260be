package ovs

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/openflow"
)

// Packet is a packet that a flow sent to the agent (flows.Punt), with what its
// registers held; see flows.RegDatapath and those below it.
type Packet struct {
	Why      flows.Reason
	Table    flows.Table // of the flow
	Datapath uint32      // switch or router that it is in
	NextHop  netip.Addr  // IPv4; the zero Addr if it has none
	Ports    uint32      // destination port id (bits 16-31), source port id (bits 0-15)
	Flags    uint32
	Tunnel   uint32 // OpenFlow port of the tunnel to the destination's chassis
	Router   uint32 // that has routed it on this chassis; 0 for none
	Entry    uint16 // port id by which it came into that router
	InPort   uint32 // OpenFlow port that it came in by; 0 if that was cleared
	Cookie   uint64 // of the flow; 0 if the packet waits
	Data     []byte // the Ethernet frame

	// Of a packet that waits (flows.Hold): all that it carries along, without
	// its header fields; and itself, for Resume.
	Carried flows.State
	Held    openflow.Held
}

const (
	packetBacklog = 256
	// injectTimeout is for an ovs-vswitchd that reads nothing any more, and
	// for a socket that is full already.
	injectTimeout = time.Second
)

// packetConn is the connection that packets go over, apart from that of the
// flows, so that no packet waits for a bulk load.
type packetConn struct {
	packets chan Packet
	dropped atomic.Uint64
	conn    atomic.Pointer[openflow.Conn] // nil while away
}

// Packets returns the channel of the packets that flows send to the agent.
// What comes while 256 packets wait there is dropped: the senders try again.
// The channel is never closed.
func (d *Driver) Packets() <-chan Packet { return d.packet.packets }

// Dropped returns how many packets were dropped, most of them because nobody
// took those before them from Packets.
func (d *Driver) Dropped() uint64 { return d.packet.dropped.Load() }

// Inject makes the bridge execute actions on an Ethernet frame: Load, Move,
// Output, Resubmit and the like. It returns when the frame is on its way; that
// the bridge refuses the actions is logged. The error is ErrNotConnected while
// the bridge cannot be reached.
func (d *Driver) Inject(frame []byte, actions ...flows.Action) error {
	conn := d.packet.conn.Load()
	if conn == nil {
		return fmt.Errorf("inject a packet into bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	ctx, cancel := context.WithTimeout(context.Background(), injectTimeout)
	defer cancel()
	err := conn.PacketOut(ctx, frame, actions)
	if err != nil && conn.Err() != nil {
		return fmt.Errorf("inject a packet: %w: %w", ErrNotConnected, err)
	}
	return err
}

// Resume lets a packet that waits go on, under other flags. It returns what
// Inject returns.
func (d *Driver) Resume(p Packet, flags uint32) error {
	conn := d.packet.conn.Load()
	if conn == nil {
		return fmt.Errorf("resume a packet in bridge %s: %w", d.cfg.Bridge, ErrNotConnected)
	}
	ctx, cancel := context.WithTimeout(context.Background(), injectTimeout)
	defer cancel()
	err := conn.Resume(ctx, p.Held, flows.RegFlags, flags)
	if err != nil && conn.Err() != nil {
		return fmt.Errorf("resume a packet: %w: %w", ErrNotConnected, err)
	}
	return err
}

// dialPackets makes a connection that receives packets.
func (d *Driver) dialPackets(ctx context.Context, socket string) (*openflow.Conn, error) {
	conn, err := openflow.Dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	refusals := 0
	err = conn.ReceivePackets(ctx, d.receive, func(err error) {
		// One refusal is like the others, and there may be thousands.
		if refusals++; refusals == 1 {
			d.log.Warn("Open vSwitch and the agent disagree about packets; only the first case is logged", "error", err)
		}
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// set changes the connection and reports whether there was one.
func (p *packetConn) set(conn *openflow.Conn) (was bool) { return p.conn.Swap(conn) != nil }

// receive takes a packet from the bridge. Those that flows of others sent are
// not for the agent, though Open vSwitch sends them to everybody.
func (d *Driver) receive(in openflow.PacketIn) {
	switch {
	case in.Held != nil && len(in.UserData) == 2:
		// Of a packet that waits Open vSwitch tells neither table nor cookie.
		in.Table = in.UserData[1]
	case in.Cookie&flows.CookieMask != flows.CookieTag || len(in.UserData) != 1:
		return
	}
	if in.FullLen > len(in.Data) { // longer than a message can be
		d.packet.dropped.Add(1)
		return
	}
	p := Packet{
		Why:      flows.Reason(in.UserData[0]),
		Table:    flows.Table(in.Table),
		Datapath: uint32(in.Field(flows.RegDatapath)),
		NextHop:  addr4(uint32(in.Field(flows.RegNextHop))),
		Ports:    uint32(in.Field(flows.RegPorts)),
		Flags:    uint32(in.Field(flows.RegFlags)),
		Tunnel:   uint32(in.Field(flows.RegTunnel)),
		Router:   uint32(part(in, flows.BitsRouter)),
		Entry:    uint16(part(in, flows.BitsEntry)),
		InPort:   uint32(in.Field(flows.InPort)),
		Cookie:   in.Cookie,
		Data:     slices.Clone(in.Data),
	}
	if in.Held != nil {
		p.Held = slices.Clone(in.Held)
		for f := range p.Carried {
			if flows.Field(f) != flows.RegOption { // that is other registers
				p.Carried.Set(flows.All(flows.Field(f)), in.Field(flows.Field(f)))
			}
		}
	}
	select {
	case d.packet.packets <- p:
	default:
		d.packet.dropped.Add(1)
	}
}

// part returns some bits of a field.
func part(in openflow.PacketIn, b flows.Bits) uint64 {
	return in.Field(b.Field) >> b.Ofs & (1<<b.N - 1)
}

func addr4(a uint32) netip.Addr {
	if a == 0 {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}
