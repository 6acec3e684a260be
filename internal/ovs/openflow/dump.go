package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// FlowStat is a flow that the bridge holds.
type FlowStat struct {
	Table    uint8
	Priority uint16
	Cookie   uint64
	Match    []byte // OXM fields as they came, without padding
	Packets  uint64
	Bytes    uint64
	Age      time.Duration // since it was made

	Instructions []byte // as they came
}

// AppendFlowMod adds the message that would make the flow, as AppendFlowMods
// does for one of ours: two that are equal make equal flows. Open vSwitch may
// show one that we have made in other words, which ovs-ofctl(8) prints alike.
func (s *FlowStat) AppendFlowMod(b []byte) ([]byte, error) {
	start := len(b)
	b = appendFlowModHead(b, 0, s.Cookie, s.Table, s.Priority)
	b = binary.BigEndian.AppendUint16(b, 1) // OXM
	b = binary.BigEndian.AppendUint16(b, uint16(4+len(s.Match)))
	b = append(b, s.Match...)
	b = append(b, make([]byte, -(4+len(s.Match))&7)...)
	b = append(b, s.Instructions...)
	return b, endMessage(b, start)
}

const (
	multipartFlow      = 1
	multipartAggregate = 2
	multipartMore      = 1 // flag: another reply follows
)

// dumpBacklog is how many replies, of up to 64 KiB, may wait for the loop over
// a dump before the connection stops reading.
const dumpBacklog = 16

// Dump yields the bridge's flows, in no order, whose cookies agree with cookie
// in the bits of mask; a mask of 0 yields all. A FlowStat's Match is valid
// until the next one, and so are its Instructions. An error ends the sequence.
//
// The loop must not make other requests on the connection: while it does not
// take what comes in, nothing else comes in either.
func (c *Conn) Dump(ctx context.Context, cookie, mask uint64) iter.Seq2[FlowStat, error] {
	return c.DumpTable(ctx, allTables, cookie, mask)
}

// DumpTable is Dump for one table.
func (c *Conn) DumpTable(ctx context.Context, table uint8, cookie, mask uint64) iter.Seq2[FlowStat, error] {
	return func(yield func(FlowStat, error) bool) {
		if err := c.dump(ctx, table, cookie, mask, func(s FlowStat) bool { return yield(s, nil) }); err != nil {
			yield(FlowStat{}, fmt.Errorf("dump the flows of %s: %w", c.path, err))
		}
	}
}

// dump calls yield for every flow. It returns nil when yield returned false.
func (c *Conn) dump(ctx context.Context, table uint8, cookie, mask uint64, yield func(FlowStat) bool) error {
	xid, err := c.reserve(1)
	if err != nil {
		return err
	}
	replies := make(chan message, dumpBacklog)
	left := make(chan struct{})
	defer close(left)
	r := &request{first: xid, last: xid, deliver: func(m message) {
		m.body = slices.Clone(m.body)
		select {
		case replies <- m:
		case <-left:
		case <-c.done:
		}
	}}
	c.expect(r)
	defer c.forget(r)
	if err := c.write(ctx, appendDumpRequest(nil, xid, table, cookie, mask)); err != nil {
		return err
	}
	for more := true; more; {
		select {
		case m := <-replies:
			if more, err = decodeFlowStats(m, yield); err != nil {
				return err
			}
		case <-c.done:
			return c.lostErr()
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", context.Cause(ctx))
		}
	}
	return nil
}

func appendDumpRequest(b []byte, xid uint32, table uint8, cookie, mask uint64) []byte {
	const size = headerLen + 8 + 32 + 8
	b = append(b, version, typeMultipartRequest, 0, size)
	b = binary.BigEndian.AppendUint32(b, xid)
	b = append(b, 0, multipartFlow, 0, 0, 0, 0, 0, 0)
	b = append(b, table, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, mask)
	return binary.BigEndian.AppendUint64(b, noMatch)
}

var errMalformed = errors.New("malformed reply")

// flowStatsLen is the size of an ofp_flow_stats up to the length of its match.
const flowStatsLen = 52

// decodeFlowStats calls yield for the flows of one reply to a dump and reports
// whether there is more to come. It reports false once yield has.
func decodeFlowStats(m message, yield func(FlowStat) bool) (more bool, err error) {
	if m.typ == typeError {
		return false, decodeError(m.body)
	}
	b := m.body
	if m.typ != typeMultipartReply || len(b) < 8 || binary.BigEndian.Uint16(b) != multipartFlow {
		return false, errMalformed
	}
	more = binary.BigEndian.Uint16(b[2:])&multipartMore != 0
	for b = b[8:]; len(b) > 0; {
		if len(b) < flowStatsLen {
			return false, errMalformed
		}
		n := int(binary.BigEndian.Uint16(b))
		matchEnd := 48 + int(binary.BigEndian.Uint16(b[50:]))
		if n > len(b) || matchEnd < flowStatsLen || matchEnd > n {
			return false, errMalformed
		}
		s := FlowStat{
			Table:    b[2],
			Priority: binary.BigEndian.Uint16(b[12:]),
			Cookie:   binary.BigEndian.Uint64(b[24:]),
			Packets:  binary.BigEndian.Uint64(b[32:]),
			Bytes:    binary.BigEndian.Uint64(b[40:]),
			Age:      time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Second + time.Duration(binary.BigEndian.Uint32(b[8:])),
			Match:    b[flowStatsLen:matchEnd:matchEnd],
		}
		s.Instructions = b[min((matchEnd+7)&^7, n):n:n] // behind the match's padding
		if !yield(s) {
			return false, nil
		}
		b = b[n:]
	}
	return more, nil
}

// Count returns how many of the bridge's flows have cookies that agree with
// cookie in the bits of mask. It costs far less than a dump.
func (c *Conn) Count(ctx context.Context, cookie, mask uint64) (int, error) {
	const countOfs = 8 + 8 + 8 // in the reply, behind the counters of packets and bytes
	// The request is a dump's, but for its type.
	request := appendDumpRequest(nil, 0, allTables, cookie, mask)[headerLen:]
	request[1] = multipartAggregate
	b, err := c.call(ctx, typeMultipartRequest, request, typeMultipartReply)
	if err == nil && (len(b) < aggregateLen || binary.BigEndian.Uint16(b) != multipartAggregate) {
		err = errMalformed
	}
	if err != nil {
		return 0, fmt.Errorf("count the flows of %s: %w", c.path, err)
	}
	return int(binary.BigEndian.Uint32(b[countOfs:])), nil
}
