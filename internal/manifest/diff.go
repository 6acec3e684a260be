package manifest

import (
	"strconv"

	"tuplenet/internal/topology"
)

// Difference is a field of an object that a change sets, changes or takes away.
// Empty is a field that the object does not have.
type Difference struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

// Differences returns the fields in which what is there and what is to be
// differ.
func (c Change) Differences() []Difference {
	before, after := properties(c.Before), properties(c.After)
	names := after
	if after == nil {
		names = before
	}
	var list []Difference
	for i, p := range names {
		d := Difference{Field: p[0]}
		if before != nil {
			d.Old = before[i][1]
		}
		if after != nil {
			d.New = after[i][1]
		}
		if d.Old != d.New {
			list = append(list, d)
		}
	}
	return list
}

// properties returns the fields of an object by the names that descriptions
// use, each with its value.
func properties(e topology.Stored) [][2]string {
	switch e := e.(type) {
	case topology.Switch:
		return [][2]string{{"id", decimal(e.ID)}, {"port_security", trueOrNothing(e.Secured)}}
	case topology.Router:
		return [][2]string{{"id", decimal(e.ID)}, {"chassis", e.Chassis}}
	case topology.SwitchPort:
		peer, bridge := e.Peer, ""
		if isPatch(e) {
			peer, bridge = "", e.Peer
		}
		return [][2]string{{"ip", address(e)}, {"mac", e.MAC.String()}, {"peer", peer}, {"bridge", bridge}, {"chassis", e.Chassis},
			{"parent", e.Parent}, {"tag", tag(e)}, {"port_security", trueOrNothing(e.Secured)}, {"pool", e.Pool}}
	case topology.RouterPort:
		return [][2]string{{"cidr", e.Net.String()}, {"mac", e.MAC.String()}, {"peer", e.Peer}}
	case topology.StaticRoute:
		return [][2]string{{"cidr", e.Net.String()}, {"next_hop", e.NextHop.String()}, {"outport", e.OutPort}}
	case topology.NAT:
		return [][2]string{{"type", string(e.Type)}, {"cidr", e.Net.String()}, {"ip", e.XlateIP.String()}}
	}
	return nil
}

// address returns a switch port's address as descriptions have it.
func address(p topology.SwitchPort) string {
	if p.Outer() {
		return outer
	}
	return p.IP.String()
}

// tag returns a child's tag, and nothing of other ports.
func tag(p topology.SwitchPort) string {
	if p.Tag == 0 {
		return ""
	}
	return decimal(uint32(p.Tag))
}

func trueOrNothing(is bool) string {
	if is {
		return "true"
	}
	return ""
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
