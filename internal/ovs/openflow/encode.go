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

// Instruction types (ofp_instruction_type).
const (
	instrGoto  = 1
	instrApply = 4
	instrMeter = 6
)

// AppendFlowMods adds the plain OpenFlow messages for mods to buf, one after
// the other and outside of any bundle. Their xid is 0, which no request for an
// answer uses, so that nobody hears of one that is refused. It serves to measure
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
	if m.Command == Delete {
		b = appendFlowModHead(b, xid, m.Cookie, allTables, 0)
		binary.BigEndian.PutUint64(b[start+headerLen+8:], ^uint64(0)) // the whole cookie
		b[start+headerLen+17] = flowModDelete
		b = binary.BigEndian.AppendUint64(b, noMatch)
		return b, endMessage(b, start)
	}
	b = appendFlowModHead(b, xid, m.Cookie, uint8(m.Flow.Table), m.Flow.Priority)
	var err error
	if b, err = appendMatch(b, m.Flow.Match); err != nil {
		return nil, err
	}
	if b, err = appendInstructions(b, m.Flow.Actions); err != nil {
		return nil, err
	}
	return b, endMessage(b, start)
}

// appendFlowModHead adds what of an ofp_flow_mod that adds a flow stands before
// the match.
func appendFlowModHead(b []byte, xid uint32, cookie uint64, table uint8, priority uint16) []byte {
	b = appendHeader(b, typeFlowMod, xid)
	b = binary.BigEndian.AppendUint64(b, cookie)
	b = binary.BigEndian.AppendUint64(b, 0) // cookie mask
	b = append(b, table, flowModAdd, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, priority)
	b = binary.BigEndian.AppendUint32(b, noBuffer)
	b = binary.BigEndian.AppendUint32(b, anyPort)
	b = binary.BigEndian.AppendUint32(b, anyGroup)
	return append(b, 0, 0, 0, 0) // flags, importance
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

// appendInstructions adds the instructions for a flow's actions. OpenFlow makes
// three kinds of them: LimitTo, which comes first, and Goto, which comes last,
// are instructions of their own; all others stand in one Apply-Actions. No
// instruction drops the packet.
func appendInstructions(b []byte, actions []flows.Action) ([]byte, error) {
	var last *flows.Goto
	if n := len(actions); n > 0 {
		if g, ok := actions[n-1].(flows.Goto); ok {
			last, actions = &g, actions[:n-1]
		}
	}
	if len(actions) > 0 {
		if limit, ok := actions[0].(flows.LimitTo); ok {
			b = append(b, 0, instrMeter, 0, 8)
			b = binary.BigEndian.AppendUint32(b, limit.Meter.ID())
			actions = actions[1:]
		}
	}
	if len(actions) > 0 {
		start := len(b)
		b = append(b, 0, instrApply, 0, 0, 0, 0, 0, 0)
		var err error
		if b, err = appendActions(b, actions); err != nil {
			return nil, err
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
