package openflow

import (
	"encoding/binary"
	"fmt"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Action types (ofp_action_type).
const (
	actionOutput       = 0
	actionPushVLAN     = 17
	actionPopVLAN      = 18
	actionDecTTL       = 24
	actionSetField     = 25
	actionExperimenter = 0xffff
)

// Subtypes of Nicira's actions.
const (
	niciraMove          = 6
	niciraLoad          = 7
	niciraMultipath     = 10
	niciraBundleLoad    = 13
	niciraResubmitTable = 14
	niciraOutputReg     = 15
	niciraCT            = 35
	niciraNAT           = 36
	niciraController2   = 37
	niciraCheckLarger   = 49
)

// PushVLAN is two actions on the wire: one makes a tag, the other sets its id.
const etherVLAN = 0x8100 // IEEE 802.1Q

// appendActions adds a list of actions.
func appendActions(b []byte, actions []flows.Action) ([]byte, error) {
	for _, a := range actions {
		var err error
		if b, err = appendAction(b, a); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendAction(b []byte, a flows.Action) ([]byte, error) {
	switch a := a.(type) {
	case flows.Load:
		h, err := bitsHeader(a.Dst)
		if err != nil {
			return nil, err
		}
		if a.Value>>(a.Dst.N-1)>>1 != 0 {
			return nil, fmt.Errorf("load of %#x into %d bits of %s", a.Value, a.Dst.N, a.Dst.Field)
		}
		b = appendNicira(b, niciraLoad, 24)
		b = binary.BigEndian.AppendUint16(b, ofsBits(a.Dst))
		b = binary.BigEndian.AppendUint32(b, h)
		return binary.BigEndian.AppendUint64(b, a.Value), nil
	case flows.Move:
		src, err := bitsHeader(a.Src)
		if err != nil {
			return nil, err
		}
		dst, err := bitsHeader(a.Dst)
		if err != nil {
			return nil, err
		}
		if a.Src.N != a.Dst.N {
			return nil, fmt.Errorf("move of %d bits of %s to %d of %s", a.Src.N, a.Src.Field, a.Dst.N, a.Dst.Field)
		}
		b = appendNicira(b, niciraMove, 24)
		b = binary.BigEndian.AppendUint16(b, a.Src.N)
		b = binary.BigEndian.AppendUint16(b, a.Src.Ofs)
		b = binary.BigEndian.AppendUint16(b, a.Dst.Ofs)
		b = binary.BigEndian.AppendUint32(b, src)
		return binary.BigEndian.AppendUint32(b, dst), nil
	case flows.Output:
		return appendOutput(b, a.Port), nil
	case flows.OutputInPort:
		return appendOutput(b, portIn), nil
	case flows.OutputField:
		h, err := bitsHeader(a.Src)
		if err != nil {
			return nil, err
		}
		b = appendNicira(b, niciraOutputReg, 24)
		b = binary.BigEndian.AppendUint16(b, ofsBits(a.Src))
		b = binary.BigEndian.AppendUint32(b, h)
		return append(b, 0, 0, 0, 0, 0, 0, 0, 0), nil // max_len, padding
	case flows.DecTTL:
		return append(b, 0, actionDecTTL, 0, 8, 0, 0, 0, 0), nil
	case flows.PushVLAN:
		if a.ID == 0 || a.ID > topology.MaxTag {
			return nil, fmt.Errorf("push of VLAN tag %d, want 1 to %d", a.ID, topology.MaxTag)
		}
		b = append(b, 0, actionPushVLAN, 0, 8, etherVLAN>>8, etherVLAN&0xff, 0, 0)
		b = append(b, 0, actionSetField, 0, 16)
		b = binary.BigEndian.AppendUint32(b, fieldHeaders[flows.VLAN])
		b = binary.BigEndian.AppendUint16(b, flows.VLANPresent|a.ID)
		return append(b, 0, 0, 0, 0, 0, 0), nil
	case flows.PopVLAN:
		return append(b, 0, actionPopVLAN, 0, 8, 0, 0, 0, 0), nil
	case flows.Resubmit:
		b = appendNicira(b, niciraResubmitTable, 16)
		b = binary.BigEndian.AppendUint16(b, portIn16)
		return append(b, byte(a.Table), 0, 0, 0), nil
	case flows.Punt:
		return appendController(b, false, byte(a.Why)), nil
	case flows.Hold:
		return appendController(b, true, byte(a.Why), byte(a.Table)), nil
	case flows.Choose:
		return appendBundleLoad(b, a)
	case flows.Spread:
		return appendMultipath(b, a)
	case flows.CheckLarger:
		return appendCheckLarger(b, a)
	case flows.Track:
		return appendTrack(b, a)
	case flows.LimitTo:
		return nil, fmt.Errorf("limit to meter %d is not the first action", a.Meter)
	case flows.Goto:
		return nil, fmt.Errorf("goto of table %d is not the last action", a.Table)
	}
	return nil, fmt.Errorf("no encoding of action %T is known", a)
}

func appendOutput(b []byte, port uint32) []byte {
	b = append(b, 0, actionOutput, 0, 16)
	b = binary.BigEndian.AppendUint32(b, port)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0) // max_len, padding
}

// appendNicira begins an action of Nicira's that is size bytes long.
func appendNicira(b []byte, subtype uint16, size uint8) []byte {
	b = append(b, actionExperimenter>>8, actionExperimenter&0xff, 0, size)
	b = binary.BigEndian.AppendUint32(b, niciraVendor)
	return binary.BigEndian.AppendUint16(b, subtype)
}

// bitsHeader returns the header of the field that bits are a part of.
func bitsHeader(bits flows.Bits) (uint32, error) {
	h, err := fieldHeader(bits.Field)
	if err != nil {
		return 0, err
	}
	if size := h & 0xff; bits.N == 0 || uint32(bits.Ofs)+uint32(bits.N) > size*8 {
		return 0, fmt.Errorf("bits %d to %d of %s, which has %d", bits.Ofs, int(bits.Ofs)+int(bits.N)-1, bits.Field, size*8)
	}
	return h, nil
}

// ofsBits is how Nicira's actions write which bits of a field they mean.
func ofsBits(b flows.Bits) uint16 { return b.Ofs<<6 | (b.N - 1) }
