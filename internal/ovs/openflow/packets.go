package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
)

// aggregateLen is the size of the body of a reply to a request for aggregate
// statistics: a multipart header, then packets, bytes, and the number of flows.
const aggregateLen = 8 + 8 + 8 + 4 + 4

// CountPackets returns how many packets the bridge's flows have matched, by cookie:
// of a cookie that no flow has, none. All requests are on their way at once, and
// Open vSwitch finds a flow by its whole cookie without a search.
func (c *Conn) CountPackets(ctx context.Context, cookies []uint64) (map[uint64]uint64, error) {
	packets := make(map[uint64]uint64, len(cookies))
	if len(cookies) == 0 {
		return packets, nil
	}
	first, err := c.reserve(len(cookies))
	if err != nil {
		return nil, err
	}
	var b []byte
	for i, cookie := range cookies {
		start := len(b)
		b = appendDumpRequest(b, first+uint32(i), allTables, cookie, ^uint64(0))
		b[start+headerLen+1] = multipartAggregate // else it is a dump's
	}
	var failure error
	left := len(cookies)
	done := make(chan struct{})
	r := &request{first: first, last: first + uint32(left) - 1}
	r.deliver = func(m message) {
		switch {
		case m.typ == typeError:
			failure = decodeError(m.body)
		case m.typ != typeMultipartReply || len(m.body) < aggregateLen || binary.BigEndian.Uint16(m.body) != multipartAggregate:
			failure = errMalformed
		default:
			packets[cookies[m.xid-first]] = binary.BigEndian.Uint64(m.body[8:])
		}
		if left--; left == 0 {
			c.forget(r)
			close(done)
		}
	}
	c.expect(r)
	defer c.forget(r)
	if err := c.write(ctx, b); err != nil {
		return nil, err
	}
	select {
	case <-done:
	case <-c.done:
		return nil, c.lostErr()
	case <-ctx.Done():
		return nil, fmt.Errorf("count packets at %s: no answer: %w", c.path, context.Cause(ctx))
	}
	if failure != nil {
		return nil, fmt.Errorf("count packets at %s: %w", c.path, failure)
	}
	return packets, nil
}
