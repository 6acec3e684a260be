package explain

import (
	"fmt"
	"net/netip"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Names knows what numbers stand for.
type Names struct {
	Model *topology.Model   // nil: nothing is known
	Ports map[uint32]string // what is behind the bridge's OpenFlow ports: "lsp-alice (veth1)", "tunnel to host-bob"
}

func (n Names) get(key topology.Key) topology.Entity {
	if n.Model == nil {
		return nil
	}
	return n.Model.Get(key)
}

// datapath names a switch or router by its id.
func (n Names) datapath(id uint32) string {
	switch e := n.get(topology.Datapath(id)).(type) {
	case topology.Switch:
		return "switch " + e.Name
	case topology.Router:
		return "router " + e.Name
	}
	return fmt.Sprintf("datapath %d", id)
}

// port names a port of a datapath by its id.
func (n Names) port(datapath uint32, id uint16) string {
	if id == topology.PortID(topology.OuterIP) {
		return "outer port"
	}
	switch e := n.get(topology.Datapath(datapath)).(type) {
	case topology.Switch:
		if p, ok := n.get(topology.PortAt(e.Name, id)).(topology.SwitchPort); ok {
			return p.Name
		}
	case topology.Router:
		if p, ok := n.get(topology.RouterPortAt(e.Name, id)).(topology.RouterPort); ok {
			return p.Name
		}
	}
	return fmt.Sprintf("port %d", id)
}

// ofport names what is behind an OpenFlow port.
func (n Names) ofport(port uint32) string {
	if name, ok := n.Ports[port]; ok {
		return name
	}
	switch port {
	case flows.NoPort:
		return "none"
	case 0xfffffffe:
		return "LOCAL"
	}
	return fmt.Sprintf("OpenFlow port %d", port)
}

// mac writes a MAC, behind it the port of the datapath that has it.
func (n Names) mac(datapath uint32, value uint64) string {
	var mac topology.MAC
	for i := range mac {
		mac[i] = byte(value >> (8 * (len(mac) - 1 - i)))
	}
	if e, ok := n.get(topology.Datapath(datapath)).(topology.Switch); ok {
		if p, ok := n.get(topology.PortWithMAC(e.Name, mac)).(topology.SwitchPort); ok {
			return mac.String() + " (" + p.Name + ")"
		}
	}
	return mac.String()
}

func address(value uint64) string {
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}).String()
}

// flagWords are the bits of flows.RegFlags.
var flagWords = []struct {
	bit  uint64
	word string
}{
	{flows.FlagLoopback, "loopback"},
	{flows.FlagTraced, "traced"},
	{flows.FlagRedirected, "redirected"},
	{flows.FlagTranslated, "translated"},
}

// flags says which of the flags in mask are set and which are not.
func flags(value, mask uint64) string {
	var words []string
	for _, f := range flagWords {
		switch {
		case mask&f.bit == 0:
		case value&f.bit != 0:
			words = append(words, f.word)
		default:
			words = append(words, "not "+f.word)
		}
		mask &^= f.bit
	}
	if mask != 0 {
		words = append(words, fmt.Sprintf("flags=%#x/%#x", value&mask, mask))
	}
	return strings.Join(words, " ")
}
