package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"tuplenet/flows"
)

// PacketIn is a packet that a flow sent to the agent (flows.Punt), and what it
// carried with it.
type PacketIn struct {
	Table    uint8
	Cookie   uint64 // of the flow
	UserData []byte // of the flow's action
	Data     []byte // the Ethernet frame
	FullLen  int    // of the frame, in bytes; more than Data has if that was cut
	Held     Held   // not nil: the packet waits (flows.Hold)

	fields [len(fieldHeaders)]uint64
}

// Field returns the value that a register or another field of the packet's
// metadata had; 0 for all others.
func (p *PacketIn) Field(f flows.Field) uint64 {
	if int(f) >= len(p.fields) {
		return 0
	}
	return p.fields[f]
}

// Held is a packet that waits for Conn.Resume.
type Held []byte

// Resume lets a packet go on that waits, with a register changed that was not 0.
// Nobody waits for an answer; a refusal goes to ReceivePackets. A packet can be
// resumed once.
func (c *Conn) Resume(ctx context.Context, held Held, register flows.Field, value uint32) error {
	properties := slices.Clone(held)
	if !setField(properties, register, value) {
		return fmt.Errorf("resume a packet on %s: it has no %s", c.path, register)
	}
	b := appendHeader(nil, typeExperimenter, 0)
	b = append(appendNiciraHeader(b, niciraResume), properties...)
	err := endMessage(b, 0)
	if err == nil {
		err = c.write(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("resume a packet on %s: %w", c.path, err)
	}
	return nil
}

// Properties of a packet-in (nx_packet_in2_prop_type) that are of use here.
const (
	packetInPacket   = 0
	packetInFullLen  = 1
	packetInTable    = 3
	packetInCookie   = 4
	packetInMetadata = 6
	packetInUserData = 7

	packetInContinuation = 8
)

// packetIn2 is the format of packet-ins that has user data
// (nx_packet_in_format).
const packetIn2 = 2

// ReceivePackets makes the bridge send packet-ins over the connection from now
// on, which it does not by itself, and calls receive for each of them. What a
// PacketIn refers to is valid during the call. failed is called with what
// nobody else hears of: the bridge's refusal of a packet-out, and a packet-in
// that cannot be read. Both are called by the goroutine that reads, so they must
// not wait, nor make a request.
func (c *Conn) ReceivePackets(ctx context.Context, receive func(PacketIn), failed func(error)) error {
	// The bridge sends with transaction id 0 what it sends unasked, and
	// packet-outs have it, too.
	c.expect(&request{deliver: func(m message) {
		switch {
		case m.typ == typeError:
			failed(fmt.Errorf("packet-out on %s: %w", c.path, decodeError(m.body)))
		case isPacketIn(m):
			p, err := decodePacketIn(m.body[niciraHeaderLen:])
			if err != nil {
				failed(fmt.Errorf("packet-in on %s: %w", c.path, err))
				return
			}
			receive(p)
		}
	}})
	format := appendNiciraHeader(nil, niciraSetPacketInFormat)
	format = binary.BigEndian.AppendUint32(format, packetIn2)
	// For a connection like ours, which the bridge has not made itself, the
	// length of what it sends of a packet that misses all flows also is the
	// switch for all that it sends unasked.
	config := []byte{0, 0, 0xff, 0xff}
	err := c.command(ctx, typeExperimenter, format)
	if err == nil {
		err = c.command(ctx, typeSetConfig, config)
	}
	if err != nil {
		return fmt.Errorf("ask %s for packets: %w", c.path, err)
	}
	return nil
}

// PacketOut makes the bridge execute actions on a frame. Nobody waits for an
// answer; a refusal goes to ReceivePackets.
func (c *Conn) PacketOut(ctx context.Context, frame []byte, actions []flows.Action) error {
	b, err := appendPacketOut(nil, frame, actions)
	if err == nil {
		err = c.write(ctx, b)
	}
	if err != nil {
		return fmt.Errorf("packet-out on %s: %w", c.path, err)
	}
	return nil
}

func appendPacketOut(b, frame []byte, actions []flows.Action) ([]byte, error) {
	start := len(b)
	b = appendHeader(b, typePacketOut, 0)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	// Where it came in: not by the agent, but by a port that the datapath has.
	// Else what an action sets in_port to is not found when the packet comes back
	// from connection tracking, and it is lost.
	b = binary.BigEndian.AppendUint32(b, portLocal)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // the length is set below
	actionsAt := len(b)
	b, err := appendActions(b, actions)
	if err != nil {
		return nil, err
	}
	n := len(b) - actionsAt
	b = append(b, frame...)
	if err := endMessage(b, start); err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b[actionsAt-8:], uint16(n))
	return b, nil
}

func isPacketIn(m message) bool {
	return m.typ == typeExperimenter && len(m.body) >= niciraHeaderLen &&
		binary.BigEndian.Uint32(m.body) == niciraVendor && binary.BigEndian.Uint32(m.body[4:]) == niciraPacketIn2
}

// decodePacketIn reads the properties of a packet-in. It refers to b.
func decodePacketIn(b []byte) (PacketIn, error) {
	var p PacketIn
	for typ, content := range properties(b) {
		if typ == packetInContinuation {
			p.Held = b
		} else if typ == packetInMalformed || !p.property(typ, content) {
			return PacketIn{}, errMalformed
		}
	}
	p.FullLen = max(p.FullLen, len(p.Data))
	return p, nil
}

// packetInMalformed stands for what is no property.
const packetInMalformed = 0xffff

// properties yields the types and the contents of a packet-in's properties; the
// last one is packetInMalformed if the rest is none.
func properties(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) > 0 {
			if len(b) < 4 {
				yield(packetInMalformed, nil)
				return
			}
			typ, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
			if n < 4 || n > len(b) {
				yield(packetInMalformed, nil)
				return
			}
			if !yield(typ, b[4:n:n]) {
				return
			}
			b = b[min(len(b), (n+7)&^7):]
		}
	}
}

// setField changes a register in the properties of a packet-in, and reports
// whether it was there.
func setField(b []byte, register flows.Field, value uint32) bool {
	for typ, content := range properties(b) {
		if typ != packetInMetadata {
			continue
		}
		for h, v := range metadataFields(content) {
			if fieldOfHeader[h] == register && len(v) == 4 {
				binary.BigEndian.PutUint32(v, value)
				return true
			}
		}
	}
	return false
}

// property takes the content of a property; it reports false if that is not
// what it should be.
func (p *PacketIn) property(typ uint16, b []byte) (ok bool) {
	ok = true
	switch typ {
	case packetInPacket:
		p.Data = b
	case packetInFullLen:
		if ok = len(b) == 4; ok {
			p.FullLen = int(binary.BigEndian.Uint32(b))
		}
	case packetInTable:
		if ok = len(b) == 1; ok {
			p.Table = b[0]
		}
	case packetInCookie:
		// 64 bits are aligned: four bytes of padding stand before them.
		if ok = len(b) == 12; ok {
			p.Cookie = binary.BigEndian.Uint64(b[4:])
		}
	case packetInMetadata:
		return p.metadata(b)
	case packetInUserData:
		p.UserData = b
	}
	return ok
}

// metadata reads a list of fields; those that package flows does not know are
// skipped.
func (p *PacketIn) metadata(b []byte) (ok bool) {
	for h, content := range metadataFields(b) {
		if content == nil {
			return false
		}
		if f, known := fieldOfHeader[h]; known {
			var v uint64
			for _, x := range content {
				v = v<<8 | uint64(x)
			}
			p.fields[f] = v
		}
	}
	return true
}

// metadataFields yields the headers and the contents of fields; the last
// content is nil if the rest is no field.
func metadataFields(b []byte) iter.Seq2[uint32, []byte] {
	return func(yield func(uint32, []byte) bool) {
		for len(b) > 0 {
			if len(b) < 4 {
				yield(0, nil)
				return
			}
			h := binary.BigEndian.Uint32(b)
			n := int(h & 0xff)
			if b = b[4:]; n > len(b) {
				yield(0, nil)
				return
			}
			if !yield(h, b[:n:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// fieldOfHeader finds fields by their headers.
var fieldOfHeader = func() map[uint32]flows.Field {
	m := make(map[uint32]flows.Field)
	for f, h := range fieldHeaders {
		if h != 0 {
			m[h] = flows.Field(f)
		}
	}
	return m
}()
