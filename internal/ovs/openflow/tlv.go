package openflow

import (
	"context"
	"encoding/binary"
	"fmt"
)

// TLV maps a Geneve option to the field tun_metadata<Index>.
type TLV struct {
	Class  uint16
	Type   uint8
	Length uint8 // of the option's content, in bytes; a multiple of 4
	Index  uint16
}

// String returns the mapping as ovs-ofctl writes it.
func (t TLV) String() string {
	return fmt.Sprintf("{class=%#x,type=%#x,len=%d}->tun_metadata%d", t.Class, t.Type, t.Length, t.Index)
}

const tlvAdd = 0

// EnsureTLV makes the bridge map the option, so that flows can use the field.
// It leaves other mappings alone and replaces none, as flows may use them.
func (c *Conn) EnsureTLV(ctx context.Context, want TLV) error {
	have, err := c.tlvs(ctx)
	if err != nil {
		return fmt.Errorf("read the TLV map of %s: %w", c.path, err)
	}
	for _, t := range have {
		switch {
		case t == want:
			return nil
		case t.Index == want.Index || t.Class == want.Class && t.Type == want.Type:
			return fmt.Errorf("bridge %s maps the Geneve option %s, which is in the way of %s; if nothing else needs it, "+
				"remove the flows that use tun_metadata, then the map with `ovs-ofctl del-tlv-map %s`", c.bridge(), t, want, c.bridge())
		}
	}
	if err := c.addTLV(ctx, want); err != nil {
		return fmt.Errorf("map the Geneve option %s on %s: %w", want, c.path, err)
	}
	return nil
}

// tlvs reads the bridge's map.
func (c *Conn) tlvs(ctx context.Context) ([]TLV, error) {
	body, err := c.call(ctx, typeExperimenter, appendNiciraHeader(nil, niciraTLVRequest), typeExperimenter)
	if err != nil {
		return nil, err
	}
	return decodeTLVs(body)
}

func (c *Conn) addTLV(ctx context.Context, t TLV) error {
	b := appendNiciraHeader(nil, niciraTLVMod)
	b = append(b, 0, tlvAdd, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, t.Class)
	b = append(b, t.Type, t.Length)
	b = binary.BigEndian.AppendUint16(b, t.Index)
	return c.command(ctx, typeExperimenter, append(b, 0, 0))
}

// niciraHeaderLen is what of a message's body appendNiciraHeader makes.
const niciraHeaderLen = 8

func appendNiciraHeader(b []byte, subtype uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, niciraVendor)
	return binary.BigEndian.AppendUint32(b, subtype)
}

// decodeTLVs reads the body of the reply to a TLV table request: Nicira's
// header (8 bytes), the table's limits (16), and the mappings (8 each).
func decodeTLVs(b []byte) ([]TLV, error) {
	if len(b) < 24 || len(b)%8 != 0 ||
		binary.BigEndian.Uint32(b) != niciraVendor || binary.BigEndian.Uint32(b[4:]) != niciraTLVReply {
		return nil, errMalformed
	}
	var ts []TLV
	for b = b[24:]; len(b) > 0; b = b[8:] {
		ts = append(ts, TLV{
			Class:  binary.BigEndian.Uint16(b),
			Type:   b[2],
			Length: b[3],
			Index:  binary.BigEndian.Uint16(b[4:]),
		})
	}
	return ts, nil
}
