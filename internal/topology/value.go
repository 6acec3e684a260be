package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Parse reads the value that the store holds under key. The error names what
// is wrong with the value, not the key; callers add it.
func Parse(key Key, value string) (Stored, error) {
	if key.Kind == KindBinding {
		return parseBinding(key)
	}
	if err := CheckName(key.Name); err != nil {
		return nil, err
	}
	if key.Kind == KindPresence || key.Kind == KindContender {
		return parseAddress(key, value)
	}
	p := parsePairs(value)
	var e Stored
	switch key.Kind {
	case KindSwitch:
		e = Switch{Name: key.Name, ID: p.id("id"), Secured: p.on("security"), Extra: p.extra()}
	case KindSwitchPort:
		e = p.switchPort(key)
	case KindRouter:
		e = Router{Name: key.Name, ID: p.id("id"), Chassis: p.optional("chassis"), Extra: p.extra()}
	case KindRouterPort:
		e = RouterPort{Router: key.Parent, Name: key.Name, Net: p.prefix("ip", "prefix"), MAC: p.mac("mac"),
			Peer: p.optional("peer"), Extra: p.extra()}
	case KindStaticRoute:
		e = StaticRoute{Router: key.Parent, Name: key.Name, Net: p.prefix("ip", "prefix"),
			NextHop: p.addr("next_hop"), OutPort: p.required("outport"), Extra: p.extra()}
	case KindNAT:
		e = NAT{Router: key.Parent, Name: key.Name, Net: p.prefix("ip", "prefix"),
			XlateIP: p.addr("xlate_ip"), Type: p.natType("xlate_type"), Extra: p.extra()}
	case KindChassis:
		e = Chassis{Name: key.Name, IP: p.tunnelAddr("ip"), Tick: p.tick("tick"), MTU: p.mtu("mtu"), Extra: p.extra()}
	case KindAbsence:
		e = Absence{Chassis: key.Name, Since: p.tick("since")}
	default:
		return nil, fmt.Errorf("the store holds no %s", key.Kind)
	}
	if p.err != nil {
		return nil, p.err
	}
	return e, nil
}

// Value implements Stored.
func (s Switch) Value() string {
	return join(s.Extra, "id", strconv.FormatUint(uint64(s.ID), 10), "security", onOrNothing(s.Secured))
}

// Value implements Stored.
func (p SwitchPort) Value() string {
	tag := ""
	if p.Tag != 0 {
		tag = strconv.Itoa(int(p.Tag))
	}
	return join(p.Extra, "ip", p.IP.String(), "mac", p.MAC.String(), "peer", p.Peer, "chassis", p.Chassis,
		"parent", p.Parent, "tag", tag, "security", onOrNothing(p.Secured), "owner", p.Owner, "pool", p.Pool)
}

// on is the value of what is switched on. What is off is not written.
const on = "on"

func onOrNothing(is bool) string {
	if is {
		return on
	}
	return ""
}

// Value implements Stored.
func (r Router) Value() string {
	return join(r.Extra, "id", strconv.FormatUint(uint64(r.ID), 10), "chassis", r.Chassis)
}

// Value implements Stored.
func (p RouterPort) Value() string {
	return join(p.Extra, "ip", p.Net.Addr().String(), "prefix", strconv.Itoa(p.Net.Bits()), "mac", p.MAC.String(), "peer", p.Peer)
}

// Value implements Stored.
func (r StaticRoute) Value() string {
	return join(r.Extra, "ip", r.Net.Addr().String(), "prefix", strconv.Itoa(r.Net.Bits()),
		"next_hop", r.NextHop.String(), "outport", r.OutPort)
}

// Value implements Stored.
func (n NAT) Value() string {
	return join(n.Extra, "ip", n.Net.Addr().String(), "prefix", strconv.Itoa(n.Net.Bits()),
		"xlate_ip", n.XlateIP.String(), "xlate_type", string(n.Type))
}

// Value implements Stored. The tick stands last, where older agents look for it.
func (c Chassis) Value() string {
	var b strings.Builder
	b.WriteString("ip=" + c.IP.String())
	if c.MTU != 0 {
		b.WriteString(",mtu=" + strconv.Itoa(c.MTU))
	}
	if c.Extra != "" {
		b.WriteString("," + string(c.Extra))
	}
	b.WriteString(",tick=" + strconv.FormatInt(c.Tick, 10))
	return b.String()
}

// stoppedMark follows the address of a chassis whose agent has been stopped.
const stoppedMark = ",stopped"

// parseAddress reads a value that is an address and no pairs.
func parseAddress(key Key, value string) (Stored, error) {
	address, stopped := value, false
	if key.Kind == KindPresence {
		address, stopped = strings.CutSuffix(value, stoppedMark)
	}
	ip, err := ParseAddr(address)
	if err != nil {
		return nil, err
	}
	if key.Kind == KindPresence {
		return Presence{Chassis: key.Name, IP: ip, Stopped: stopped}, nil
	}
	return Contender{Chassis: key.Name, IP: ip}, nil
}

// parseBinding reads a binding, which its key says alone.
func parseBinding(key Key) (Stored, error) {
	sw, port, _ := strings.Cut(key.Name, "/")
	for _, name := range []string{key.Parent, sw, port} {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	return Binding{Chassis: key.Parent, Switch: sw, Port: port}, nil
}

// Value implements Stored.
func (p Presence) Value() string {
	if p.Stopped {
		return p.IP.String() + stoppedMark
	}
	return p.IP.String()
}

// Value implements Stored.
func (c Contender) Value() string { return c.IP.String() }

// Value implements Stored.
func (a Absence) Value() string { return "since=" + strconv.FormatInt(a.Since, 10) }

// Value implements Stored. The key has it all.
func (b Binding) Value() string { return "" }

// ParseAddr parses an IPv4 address. Addresses are netip.Addr everywhere, so
// that this is the place to widen when IPv6 comes.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("invalid IP %q, want an IPv4 address such as 10.20.1.10", s)
	}
	return a, nil
}

// ParsePrefix parses an IPv4 network or an address in its network, such as
// 10.20.1.1/24; the host bits are kept.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("invalid CIDR %q, want an address and a prefix length such as 10.20.1.1/24", s)
	}
	return p, nil
}

// IsUnicast reports whether a machine can have the address.
func IsUnicast(ip netip.Addr) bool {
	return !ip.IsUnspecified() && !ip.IsLoopback() && !ip.IsMulticast() && ip != OuterIP
}

// IsHost reports whether an address in network is neither the network's own
// nor its broadcast address. A network of two addresses has neither.
func IsHost(ip netip.Addr, network netip.Prefix) bool {
	return network.Bits() >= 31 || ip != network.Masked().Addr() && network.Contains(ip.Next())
}

// join prints pairs in their order, without those that are empty, and what
// others added after them.
func join(extra Extra, pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i] + "=" + pairs[i+1])
	}
	if extra != "" {
		b.WriteString("," + string(extra))
	}
	return b.String()
}

// pairs is a value under the parser: what is still to be read, and the first
// thing that was wrong with it.
type pairs struct {
	rest []pair
	err  error
}

type pair struct{ key, value string }

func parsePairs(s string) *pairs {
	p := &pairs{}
	for _, field := range strings.Split(s, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		k, v, ok := strings.Cut(field, "=")
		if !ok || k == "" {
			p.fail("%q is not a key=value pair", field)
			continue
		}
		p.rest = append(p.rest, pair{k, v})
	}
	return p
}

func (p *pairs) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// optional takes key out of the pairs. Where a key stands twice, the last one
// counts, as it always did for readers that build a map.
func (p *pairs) optional(key string) string {
	value := ""
	p.rest = slices.DeleteFunc(p.rest, func(kv pair) bool {
		if kv.key == key {
			value = kv.value
		}
		return kv.key == key
	})
	return value
}

func (p *pairs) required(key string) string {
	v := p.optional(key)
	if v == "" {
		p.fail("%s is missing", key)
	}
	return v
}

func (p *pairs) switchPort(key Key) SwitchPort {
	port := SwitchPort{Switch: key.Parent, Name: key.Name, IP: p.addr("ip"), MAC: p.mac("mac"),
		Peer: p.optional("peer"), Chassis: p.optional("chassis"), Parent: p.optional("parent"), Tag: p.tag("tag"),
		Secured: p.on("security"), Owner: p.optional("owner"), Pool: p.optional("pool"), Extra: p.extra()}
	switch {
	case (port.Parent == "") != (port.Tag == 0):
		p.fail("a child port has both a parent and a tag")
	case port.Parent != "" && (port.Peer != "" || port.IP == OuterIP):
		p.fail("a child port leads to a workload, not to a router or out")
	case port.Parent == key.Name:
		p.fail("a port cannot be its own parent")
	}
	return port
}

// on reads what may be switched on.
func (p *pairs) on(key string) bool {
	v := p.optional(key)
	if v != "" && v != on && v != "off" {
		p.fail("invalid %s %q, want on or off", key, v)
	}
	return v == on
}

// tag is a VLAN id that may be missing.
func (p *pairs) tag(key string) uint16 {
	v := p.optional(key)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 || n > MaxTag {
		p.fail("invalid %s %q, want a VLAN id from 1 to %d", key, v, MaxTag)
	}
	return uint16(n)
}

func (p *pairs) id(key string) uint32 {
	v := p.required(key)
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n == 0 || n > MaxID {
		p.fail("invalid %s %q, want a number from 1 to %d", key, v, MaxID)
	}
	return uint32(n)
}

func (p *pairs) addr(key string) netip.Addr {
	a, err := ParseAddr(p.required(key))
	if err != nil {
		p.fail("%s: %w", key, err)
	}
	return a
}

// mtu is a number that may be missing. One that is no MTU is none: the record
// is needed for more than that.
func (p *pairs) mtu(key string) int {
	n, err := strconv.ParseUint(p.optional(key), 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// tunnelAddr is an address that one host can have and another can send to.
func (p *pairs) tunnelAddr(key string) netip.Addr {
	a := p.addr(key)
	if a.IsValid() && (a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == OuterIP) {
		p.fail("invalid %s %s, no tunnel leads there", key, a)
	}
	return a
}

func (p *pairs) prefix(ipKey, bitsKey string) netip.Prefix {
	a, v := p.addr(ipKey), p.required(bitsKey)
	bits, err := strconv.Atoi(v)
	if err != nil || bits < 0 || bits > 32 {
		p.fail("invalid %s %q, want a number from 0 to 32", bitsKey, v)
	}
	return netip.PrefixFrom(a, bits)
}

func (p *pairs) mac(key string) MAC {
	m, err := ParseMAC(p.required(key))
	if err != nil {
		p.fail("%s: %w", key, err)
	}
	if m == (MAC{}) && p.err == nil {
		p.fail("invalid %s %s, it stands for no port", key, m)
	}
	if m.IsMulticast() && m != OuterMAC {
		p.fail("invalid %s %s, a port cannot have a multicast address", key, m)
	}
	return m
}

func (p *pairs) natType(key string) NATType {
	t := NATType(p.required(key))
	if t != SNAT && t != DNAT {
		p.fail("invalid %s %q, want snat or dnat", key, t)
	}
	return t
}

// maxTick is far in the future, and far from an overflow.
const maxTick = 1 << 40

func (p *pairs) tick(key string) int64 {
	v := p.required(key)
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || n > maxTick {
		p.fail("invalid %s %q, want Unix seconds", key, v)
	}
	return n
}

// extra returns what nobody asked for, in one order, so that equal values
// compare equal.
func (p *pairs) extra() Extra {
	if len(p.rest) == 0 {
		return ""
	}
	slices.SortStableFunc(p.rest, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	out := make([]string, len(p.rest))
	for i, kv := range p.rest {
		out[i] = kv.key + "=" + kv.value
	}
	return Extra(strings.Join(out, ","))
}
