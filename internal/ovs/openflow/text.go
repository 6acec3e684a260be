package openflow

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"

	"github.com/digitalocean/go-openvswitch/ovs"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Text renders a flow for people, in the language of ovs-ofctl(8): what
// `ovs-ofctl add-flow` takes. Addresses are written as addresses, registers in
// hex.
func Text(f *flows.Flow, cookie uint64) (string, error) {
	of := ovs.Flow{Priority: int(f.Priority), Table: int(f.Table), Cookie: cookie}
	for _, m := range f.Match {
		of.Matches = append(of.Matches, matchText(m))
	}
	for _, a := range f.Actions {
		of.Actions = append(of.Actions, actionText{a})
	}
	if len(f.Actions) == 0 {
		of.Actions = []ovs.Action{ovs.Drop()}
	}
	text, err := of.MarshalText()
	return string(text), err
}

// matchText renders a match; it is an ovs.Match.
type matchText flows.Match

// GoString returns Go source for the match, as ovs.Match demands.
func (m matchText) GoString() string { return fmt.Sprintf("%#v", flows.Match(m)) }

// MarshalText returns field=value or field=value/mask.
func (m matchText) MarshalText() ([]byte, error) {
	if _, err := fieldHeader(m.Field); err != nil {
		return nil, err
	}
	b := append([]byte(m.Field.String()), '=')
	b = appendValue(b, m.Field, m.Value.Lo)
	if flows.Match(m).IsExact() {
		return b, nil
	}
	b = append(b, '/')
	if n := bits.LeadingZeros32(^uint32(m.Mask.Lo)); isIPv4(m.Field) && uint32(m.Mask.Lo)<<n == 0 {
		return fmt.Appendf(b, "%d", n), nil
	}
	return appendValue(b, m.Field, m.Mask.Lo), nil
}

func isIPv4(f flows.Field) bool {
	switch f {
	case flows.TunSrc, flows.TunDst, flows.IPSrc, flows.IPDst, flows.ARPSpa, flows.ARPTpa:
		return true
	}
	return false
}

func appendValue(b []byte, f flows.Field, v uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], v)
	switch f {
	case flows.EthDst, flows.EthSrc, flows.ARPSha, flows.ARPTha:
		return append(b, net.HardwareAddr(raw[2:]).String()...)
	case flows.InPort:
		return append(b, portText(uint32(v))...)
	case flows.IPProto, flows.IPTTL, flows.ICMPType, flows.ICMPCode, flows.ARPOp:
		return fmt.Appendf(b, "%d", v)
	}
	if isIPv4(f) {
		return netip.AddrFrom4([4]byte(raw[4:])).AppendTo(b)
	}
	return fmt.Appendf(b, "%#x", v)
}

func portText(port uint32) string {
	if port == portLocal {
		return "LOCAL"
	}
	return fmt.Sprint(port)
}

// actionText renders an action; it is an ovs.Action.
type actionText struct{ flows.Action }

// GoString returns Go source for the action, as ovs.Action demands.
func (a actionText) GoString() string { return fmt.Sprintf("%#v", a.Action) }

// MarshalText returns the action as ovs-actions(7) has it.
func (a actionText) MarshalText() ([]byte, error) {
	switch a := a.Action.(type) {
	case flows.Load:
		return fmt.Appendf(nil, "load:%#x->%s", a.Value, bitsText(a.Dst)), nil
	case flows.Move:
		return fmt.Appendf(nil, "move:%s->%s", bitsText(a.Src), bitsText(a.Dst)), nil
	case flows.Output:
		return fmt.Appendf(nil, "output:%s", portText(a.Port)), nil
	case flows.OutputField:
		return fmt.Appendf(nil, "output:%s", bitsText(a.Src)), nil
	case flows.OutputInPort:
		return []byte("in_port"), nil
	case flows.DecTTL:
		return []byte("dec_ttl"), nil
	case flows.PushVLAN:
		return fmt.Appendf(nil, "push_vlan:%#x,set_field:%d->vlan_vid", etherVLAN, flows.VLANPresent|a.ID), nil
	case flows.PopVLAN:
		return []byte("pop_vlan"), nil
	case flows.Resubmit:
		return fmt.Appendf(nil, "resubmit(,%d)", a.Table), nil
	case flows.Goto:
		return fmt.Appendf(nil, "goto_table:%d", a.Table), nil
	case flows.LimitTo:
		return fmt.Appendf(nil, "meter:%d", a.Meter.ID()), nil
	case flows.Punt:
		return fmt.Appendf(nil, "controller(userdata=%02x)", uint8(a.Why)), nil
	case flows.Hold:
		return fmt.Appendf(nil, "controller(userdata=%02x.%02x,pause)", uint8(a.Why), uint8(a.Table)), nil
	case flows.Choose:
		return chooseText(a), nil
	case flows.Spread:
		return fmt.Appendf(nil, "multipath(%s,0,hrw,%d,0,%s)", a.Fields, a.N, bitsText(a.Dst)), nil
	case flows.CheckLarger:
		return fmt.Appendf(nil, "check_pkt_larger(%d)->%s", a.Size, bitsText(a.Dst)), nil
	case flows.Track:
		return trackText(a), nil
	}
	return nil, fmt.Errorf("no text of action %T is known", a.Action)
}

func chooseText(a flows.Choose) []byte {
	b := fmt.Appendf(nil, "bundle_load(%s,0,hrw,ofport,%s,members:", a.Fields, bitsText(a.Dst))
	for i, p := range a.Ports {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, portText(p)...)
	}
	return append(b, ')')
}

func trackText(a flows.Track) []byte {
	b := []byte("ct(")
	if a.Commit {
		b = append(b, "commit,"...)
	}
	b = fmt.Appendf(b, "table=%d,zone=%d", a.Table, a.Zone)
	if translates(a) {
		b = append(b, ",nat"...)
	}
	if a.NAT != (flows.Translation{}) {
		key := "src"
		if a.NAT.Type == topology.DNAT {
			key = "dst"
		}
		b = fmt.Appendf(b, "(%s=%s", key, a.NAT.Addr)
		if a.NAT.MinPort != 0 {
			b = fmt.Appendf(b, ":%d-%d,random", a.NAT.MinPort, a.NAT.MaxPort)
		}
		b = append(b, ')')
	}
	return append(b, ')')
}

// bitsText renders a field or a part of it, such as reg5[16..31].
func bitsText(b flows.Bits) string {
	name := b.Field.String()
	if b.Field == flows.InPort {
		name = "in_port_oxm" // in an action, in_port is Nicira's, of 16 bits
	}
	switch {
	case b == flows.All(b.Field):
		return name + "[]"
	case b.N == 1:
		return fmt.Sprintf("%s[%d]", name, b.Ofs)
	}
	return fmt.Sprintf("%s[%d..%d]", name, b.Ofs, b.Ofs+b.N-1)
}
