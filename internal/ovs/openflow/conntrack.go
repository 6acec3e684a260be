package openflow

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Tuple tells the two directions of a connection apart.
type Tuple uint8

// The tuples of a connection: Original is how its first packet came, before
// any translation; Reply is how answers come, also before any.
const (
	Original Tuple = 0
	Reply    Tuple = 1
)

// Properties of a flush (nx_ct_flush_tlv_type); the first two are Tuples. And
// those of a tuple (nx_ct_flush_tuple_tlv_type).
const (
	flushZone = 2
	tupleDst  = 1
)

// FlushConnections removes the connections of a zone in whose tuple dst, an
// IPv4 address, is the destination. An Open vSwitch before 3.1 cannot be told
// so much; all of the zone go then.
func (c *Conn) FlushConnections(ctx context.Context, zone uint16, tuple Tuple, dst netip.Addr) error {
	err := c.command(ctx, typeExperimenter, appendFlush(nil, zone, tuple, dst))
	if refused := (*Error)(nil); errors.As(err, &refused) && *refused == badSubtype {
		err = c.command(ctx, typeExperimenter, appendFlushZone(nil, zone))
	}
	if err != nil {
		return fmt.Errorf("remove the connections to %s in zone %d of %s: %w", dst, zone, c.path, err)
	}
	return nil
}

// appendFlush adds the body of a flush. Without a protocol it is about all.
func appendFlush(b []byte, zone uint16, tuple Tuple, dst netip.Addr) []byte {
	b = appendNiciraHeader(b, niciraCTFlush)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // protocol, padding
	b = append(b, 0, byte(tuple), 0, 8+24, 0, 0, 0, 0)
	address := dst.As16() // as IPv6 has it
	b = append(b, 0, tupleDst, 0, 4+16)
	b = append(append(b, address[:]...), 0, 0, 0, 0)
	b = append(b, 0, flushZone, 0, 6)
	return append(binary.BigEndian.AppendUint16(b, zone), 0, 0)
}

func appendFlushZone(b []byte, zone uint16) []byte {
	b = appendNiciraHeader(b, niciraCTFlushZone)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return binary.BigEndian.AppendUint16(b, zone)
}
