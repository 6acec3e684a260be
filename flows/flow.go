package flows

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cespare/xxhash/v2"

	"tuplenet/internal/topology"
)

// Flow is one OpenFlow flow. Table, Priority and Match identify it within a
// bridge; two flows that agree in them are the same flow.
type Flow struct {
	Table    Table
	Priority uint16
	Match    []Match  // ordered by Field, each Field at most once
	Actions  []Action // a Goto, if there is one, is last; empty drops the packet
}

// Value is the content of a field, up to 128 bits: Hi holds the upper 64.
type Value struct{ Hi, Lo uint64 }

// Match requires that the bits of Field that Mask sets have Value's. Value has
// no bit outside Mask.
type Match struct {
	Field Field
	Value Value
	Mask  Value
}

// Exact matches all of a field that is at most 64 bits wide.
func Exact(f Field, v uint64) Match {
	return Match{Field: f, Value: Value{Lo: v}, Mask: f.fullMask()}
}

// Masked matches the bits of a field that mask sets.
func Masked(f Field, v, mask uint64) Match {
	return Match{Field: f, Value: Value{Lo: v & mask}, Mask: Value{Lo: mask}}
}

// IsExact reports whether the match covers its whole field.
func (m Match) IsExact() bool { return m.Mask == m.Field.fullMask() }

// Bits is a range of a field's bits: N of them, from bit Ofs (0 is the least
// significant).
type Bits struct {
	Field Field
	Ofs   uint16
	N     uint16
}

// All is the whole field.
func All(f Field) Bits { return Bits{f, 0, f.Width()} }

// Action is something done to a packet. The types below are all there are;
// internal/ovs/openflow turns them into bytes and into text.
type Action interface {
	// appendTo adds a canonical encoding to b; equal actions, and no others,
	// have equal encodings. It feeds the cookie.
	appendTo(b []byte) []byte
}

type (
	// Load writes Value, at most 64 bits of it, to Dst.
	Load struct {
		Dst   Bits
		Value uint64
	}
	// Move copies Src to Dst, which is as wide.
	Move struct{ Src, Dst Bits }
	// Output sends the packet out of an OpenFlow port, but never out of the
	// one that it came in by.
	Output struct{ Port uint32 }
	// OutputField sends the packet out of the port whose number Src holds.
	OutputField struct{ Src Bits }
	// OutputInPort sends the packet back to where it came from.
	OutputInPort struct{}
	// DecTTL decrements the IP TTL.
	DecTTL struct{}
	// PushVLAN puts a VLAN tag of that id, 1 to topology.MaxTag, around the frame.
	PushVLAN struct{ ID uint16 }
	// PopVLAN takes the outer VLAN tag off.
	PopVLAN struct{}
	// Resubmit looks the packet up in a table, which may stand before the
	// present one, and comes back.
	Resubmit struct{ Table Table }
	// Goto goes on in a later table. It can only be the last action.
	Goto struct{ Table Table }

	// LimitTo passes packets on up to a meter's rate and drops the others. It
	// can only be the first action.
	LimitTo struct{ Meter Meter }
	// Punt sends a copy of the packet, whole, to the agent.
	Punt struct{ Why Reason }
	// Hold sends the packet to the agent, which lets it go on with the actions
	// that follow. Without an agent it goes no further. Table is that of the flow:
	// of a packet that waits Open vSwitch does not tell it.
	Hold struct {
		Why   Reason
		Table Table
	}
	// Choose writes to Dst, of 32 bits, the first of the live ports that a hash
	// of the packet's Fields prefers (highest random weight), or NoPort if none
	// is live.
	Choose struct {
		Fields Hash
		Ports  []uint32
		Dst    Bits
	}
	// Spread writes a number below N to Dst, chosen by a hash of the packet's
	// Fields (highest random weight).
	Spread struct {
		Fields Hash
		N      uint16
		Dst    Bits
	}
	// CheckLarger sets the bit Dst if the packet, its Ethernet header
	// included, has more than Size bytes, and clears it otherwise.
	CheckLarger struct {
		Size uint16
		Dst  Bits
	}
	// Track looks the packet up among a zone's connections, translates it as
	// its connection is translated, and goes on in Table. With Commit, a packet
	// of no connection makes one, which is translated as NAT says from then on, or
	// not at all. It can only be the last action.
	Track struct {
		Zone   uint16
		Commit bool
		NAT    Translation
		Table  Table
	}
)

// Translation is what a new connection has done to its packets, and undone to
// the replies. Without addresses it is nothing.
type Translation struct {
	Type    topology.NATType
	Addr    netip.Addr // IPv4
	MinPort uint16     // range of ports to draw from at random; 0: ports stay
	MaxPort uint16
}

// The first byte of each action's encoding.
const (
	tagLoad = iota + 1
	tagMove
	tagOutput
	tagOutputField
	tagOutputInPort
	tagDecTTL
	tagResubmit
	tagGoto
	tagLimitTo
	tagPunt
	tagChoose
	tagSpread
	tagCheckLarger
	tagTrack
	tagHold
	tagPushVLAN
	tagPopVLAN
)

func (b Bits) appendTo(buf []byte) []byte {
	buf = append(buf, byte(b.Field))
	buf = binary.BigEndian.AppendUint16(buf, b.Ofs)
	return binary.BigEndian.AppendUint16(buf, b.N)
}

func (a Load) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint64(a.Dst.appendTo(append(b, tagLoad)), a.Value)
}
func (a Move) appendTo(b []byte) []byte { return a.Dst.appendTo(a.Src.appendTo(append(b, tagMove))) }
func (a Output) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint32(append(b, tagOutput), a.Port)
}
func (a OutputField) appendTo(b []byte) []byte  { return a.Src.appendTo(append(b, tagOutputField)) }
func (a OutputInPort) appendTo(b []byte) []byte { return append(b, tagOutputInPort) }
func (a DecTTL) appendTo(b []byte) []byte       { return append(b, tagDecTTL) }
func (a PopVLAN) appendTo(b []byte) []byte      { return append(b, tagPopVLAN) }
func (a Resubmit) appendTo(b []byte) []byte     { return append(b, tagResubmit, byte(a.Table)) }
func (a Goto) appendTo(b []byte) []byte         { return append(b, tagGoto, byte(a.Table)) }
func (a LimitTo) appendTo(b []byte) []byte      { return append(b, tagLimitTo, byte(a.Meter)) }
func (a Punt) appendTo(b []byte) []byte         { return append(b, tagPunt, byte(a.Why)) }
func (a Hold) appendTo(b []byte) []byte         { return append(b, tagHold, byte(a.Why), byte(a.Table)) }
func (a PushVLAN) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint16(append(b, tagPushVLAN), a.ID)
}
func (a Choose) appendTo(b []byte) []byte {
	b = a.Dst.appendTo(append(b, tagChoose, byte(a.Fields)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Ports)))
	for _, p := range a.Ports {
		b = binary.BigEndian.AppendUint32(b, p)
	}
	return b
}
func (a Spread) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint16(a.Dst.appendTo(append(b, tagSpread, byte(a.Fields))), a.N)
}
func (a CheckLarger) appendTo(b []byte) []byte {
	return binary.BigEndian.AppendUint16(a.Dst.appendTo(append(b, tagCheckLarger)), a.Size)
}
func (a Track) appendTo(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(append(b, tagTrack), a.Zone)
	b = append(b, byte(a.Table), 0)
	if a.Commit {
		b[len(b)-1] = 1
	}
	b = append(append(b, a.NAT.Type...), 0)
	if a.NAT.Addr.IsValid() {
		b = append(b, a.NAT.Addr.AsSlice()...)
	}
	b = binary.BigEndian.AppendUint16(b, a.NAT.MinPort)
	return binary.BigEndian.AppendUint16(b, a.NAT.MaxPort)
}

// appendIdentity adds an encoding of what identifies the flow.
func (f *Flow) appendIdentity(b []byte) []byte {
	b = append(b, byte(f.Table))
	b = binary.BigEndian.AppendUint16(b, f.Priority)
	b = append(b, byte(len(f.Match)))
	for _, m := range f.Match {
		b = append(b, byte(m.Field))
		b = binary.BigEndian.AppendUint64(b, m.Value.Hi)
		b = binary.BigEndian.AppendUint64(b, m.Value.Lo)
		b = binary.BigEndian.AppendUint64(b, m.Mask.Hi)
		b = binary.BigEndian.AppendUint64(b, m.Mask.Lo)
	}
	return b
}

// Cookies of this project carry CookieTag in the bits of CookieMask; the rest
// is a hash of the flow. A flow in the bridge with another cookie is somebody
// else's and is left alone.
const (
	CookieTag  = uint64(0x7e7) << 52
	CookieMask = uint64(0xfff) << 52
)

// cookieSalt is part of every hash. Change it when the same flow must count as
// another one.
const cookieSalt = "tuplenet flow 1"

// Hash returns a hash of the flow's identity and its cookie, which also covers
// the actions. Both are the same in every process and on every node. It uses
// buf as scratch space and returns it for the next call.
func (f *Flow) Hash(buf []byte) (identity, cookie uint64, scratch []byte) {
	buf = append(buf[:0], cookieSalt...)
	buf = f.appendIdentity(buf)
	identity = xxhash.Sum64(buf)
	for _, a := range f.Actions {
		buf = a.appendTo(buf)
	}
	return identity, CookieTag | xxhash.Sum64(buf)&^CookieMask, buf
}

// sortMatch brings the match into its one order.
func (f *Flow) sortMatch() {
	slices.SortFunc(f.Match, func(a, b Match) int { return cmp.Compare(a.Field, b.Field) })
}

// check says what is wrong with a flow that a rule returned: a mistake in the
// rule, which the engine reports.
func (f *Flow) check() error {
	for i, m := range f.Match {
		switch {
		case i > 0 && f.Match[i-1].Field == m.Field:
			return fmt.Errorf("matches twice on %s", m.Field)
		case m.Value.Lo&^m.Mask.Lo != 0 || m.Value.Hi&^m.Mask.Hi != 0:
			return fmt.Errorf("value of %s has bits outside its mask", m.Field)
		}
	}
	for i, a := range f.Actions {
		last := i == len(f.Actions)-1
		switch a := a.(type) {
		case Goto:
			if !last {
				return fmt.Errorf("goto is not the last action")
			}
			if a.Table <= f.Table {
				return fmt.Errorf("goto to table %d is not forward", a.Table)
			}
		case Track:
			if !last {
				return fmt.Errorf("track is not the last action")
			}
			if a.Table <= f.Table {
				return fmt.Errorf("track to table %d is not forward", a.Table)
			}
		case LimitTo:
			if i != 0 {
				return fmt.Errorf("limit is not the first action")
			}
		}
	}
	return nil
}
