package openflow

import (
	"encoding/binary"
	"fmt"

	"tuplenet/flows"
)

// Command says what a Mod does.
type Command uint8

const (
	// Add installs Mod.Flow under Mod.Cookie, in the place of the flow with
	// the same table, priority and match if there is one.
	Add Command = iota
	// Delete removes every flow whose cookie is Mod.Cookie, in all tables.
	// Open vSwitch refuses 0, as flows of its own have it.
	Delete
)

// Mod is one change of a bridge's flows.
type Mod struct {
	Command Command
	Flow    *flows.Flow // of Add
	Cookie  uint64
}

// Flow-mod commands (ofp_flow_mod_command).
const (
	flowModAdd    = 0
	flowModDelete = 3
)

// Instruction and action types.
const (
	instrGoto  = 1
	instrApply = 4

	actionOutput       = 0
	actionDecTTL       = 24
	actionExperimenter = 0xffff
)

// Subtypes of Nicira's actions.
const (
	niciraMove          = 6
	niciraLoad          = 7
	niciraResubmitTable = 14
	niciraOutputReg     = 15
)

// AppendFlowMods adds the plain OpenFlow messages for mods to buf, one after
// the other and outside of any bundle. Their xid is 0, which no request of a
// Conn uses, so that nobody hears of one that is refused. It serves to measure
// what the bridge itself can do (see Conn.WriteRaw); Commit makes changes.
func AppendFlowMods(buf []byte, mods []Mod) ([]byte, error) {
	for i := range mods {
		var err error
		if buf, err = appendFlowMod(buf, 0, &mods[i]); err != nil {
			return nil, &FlowError{Index: i, Err: err}
		}
	}
	return buf, nil
}

// noMatch is a match on nothing, with its padding.
const noMatch = 0x0001_0004_0000_0000

// appendFlowMod adds an ofp_flow_mod. Flows have no timeouts, no flags and no
// importance.
func appendFlowMod(b []byte, xid uint32, m *Mod) ([]byte, error) {
	start := len(b)
	b = appendHeader(b, typeFlowMod, xid)
	b = binary.BigEndian.AppendUint64(b, m.Cookie)
	if m.Command == Delete {
		b = binary.BigEndian.AppendUint64(b, ^uint64(0)) // the whole cookie
		b = append(b, allTables, flowModDelete, 0, 0, 0, 0, 0, 0)
	} else {
		b = binary.BigEndian.AppendUint64(b, 0)
		b = append(b, byte(m.Flow.Table), flowModAdd, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, m.Flow.Priority)
	}
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	b = append(b, 0, 0, 0, 0) // flags, importance
	var err error
	if m.Command == Delete {
		b = binary.BigEndian.AppendUint64(b, noMatch)
	} else {
		if b, err = appendMatch(b, m.Flow.Match); err != nil {
			return nil, err
		}
		if b, err = appendInstructions(b, m.Flow.Actions); err != nil {
			return nil, err
		}
	}
	return b, endMessage(b, start)
}

func appendMatch(b []byte, match []flows.Match) ([]byte, error) {
	start := len(b)
	b = append(b, 0, 1, 0, 0) // OXM; the length is set below
	for i := range match {
		m := &match[i]
		h, err := fieldHeader(m.Field)
		if err != nil {
			return nil, err
		}
		size := h & 0xff
		if m.Value.Hi|m.Mask.Hi != 0 || (m.Value.Lo|m.Mask.Lo)>>(size*8-1)>>1 != 0 {
			return nil, fmt.Errorf("match on %s is wider than the field's %d bits", m.Field, size*8)
		}
		if m.IsExact() {
			b = binary.BigEndian.AppendUint32(b, h)
			b = appendUint(b, m.Value.Lo, size)
		} else {
			b = binary.BigEndian.AppendUint32(b, h+size|oxmHasMask)
			b = appendUint(b, m.Value.Lo, size)
			b = appendUint(b, m.Mask.Lo, size)
		}
	}
	n := len(b) - start
	if n > maxMessageLen {
		return nil, errTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(n)) // without the padding
	return append(b, make([]byte, -n&7)...), nil
}

// appendUint adds the lower size bytes of v.
func appendUint(b []byte, v uint64, size uint32) []byte {
	return binary.BigEndian.AppendUint64(b, v<<(64-size*8))[:len(b)+int(size)]
}

// appendInstructions adds one Apply-Actions instruction with all actions up to
// a Goto, which is an instruction of its own. No instruction drops the packet.
func appendInstructions(b []byte, actions []flows.Action) ([]byte, error) {
	var last *flows.Goto
	if n := len(actions); n > 0 {
		if g, ok := actions[n-1].(flows.Goto); ok {
			last, actions = &g, actions[:n-1]
		}
	}
	if len(actions) > 0 {
		start := len(b)
		b = append(b, 0, instrApply, 0, 0, 0, 0, 0, 0)
		for _, a := range actions {
			var err error
			if b, err = appendAction(b, a); err != nil {
				return nil, err
			}
		}
		n := len(b) - start
		if n > maxMessageLen {
			return nil, errTooLong
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	}
	if last != nil {
		b = append(b, 0, instrGoto, 0, 8, byte(last.Table), 0, 0, 0)
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
		b = binary.BigEndian.AppendUint16(b, a.Dst.Ofs<<6|(a.Dst.N-1))
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
		b = binary.BigEndian.AppendUint16(b, a.Src.Ofs<<6|(a.Src.N-1))
		b = binary.BigEndian.AppendUint32(b, h)
		return append(b, 0, 0, 0, 0, 0, 0, 0, 0), nil // max_len, padding
	case flows.DecTTL:
		return append(b, 0, actionDecTTL, 0, 8, 0, 0, 0, 0), nil
	case flows.Resubmit:
		b = appendNicira(b, niciraResubmitTable, 16)
		b = binary.BigEndian.AppendUint16(b, portIn16)
		return append(b, byte(a.Table), 0, 0, 0), nil
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
