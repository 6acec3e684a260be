package explain

import (
	"fmt"
	"strings"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Actions says what a flow does to packets.
func (n Names) Actions(f *flows.Flow) string {
	switch {
	case len(f.Actions) == 0:
		return "drop"
	case f.Table == flows.TableForeign: // its action is there to be none
		return "ignore"
	}
	a := actor{matcher{names: n}}
	for _, m := range f.Match {
		if m.Field == flows.RegDatapath {
			a.datapath = uint32(m.Value.Lo)
		}
	}
	words := make([]string, len(f.Actions))
	for i, action := range f.Actions {
		words[i] = a.word(action)
	}
	return strings.Join(words, ", ")
}

// actor says what the actions of one flow mean. Its datapath is the one that
// the packet is in, which an action may change.
type actor struct{ matcher }

func (a *actor) word(action flows.Action) string {
	switch action := action.(type) {
	case flows.Load:
		return a.load(action)
	case flows.Move:
		return fieldName(action.Dst) + " := " + fieldName(action.Src)
	case flows.Output:
		return "output " + a.names.ofport(action.Port)
	case flows.OutputField:
		return "output by the " + fieldName(action.Src)
	case flows.OutputInPort:
		return "output where it came from"
	case flows.DecTTL:
		return "ttl - 1"
	case flows.PushVLAN:
		return fmt.Sprintf("VLAN tag %d on", action.ID)
	case flows.PopVLAN:
		return "VLAN tag off"
	case flows.Resubmit:
		return "through " + action.Table.String()
	case flows.Goto:
		if action.Table == flows.TableDrop {
			return "drop"
		}
		return "go to " + action.Table.String()
	case flows.LimitTo:
		return limit(action.Meter)
	case flows.Punt:
		return "tell the agent: " + action.Why.String()
	case flows.Hold:
		return "ask the agent: " + action.Why.String()
	case flows.Choose:
		ports := make([]string, len(action.Ports))
		for i, p := range action.Ports {
			ports[i] = a.names.ofport(p)
		}
		return fmt.Sprintf("%s := live one of %s, by %s", fieldName(action.Dst), strings.Join(ports, " or "), action.Fields)
	case flows.Spread:
		return fmt.Sprintf("%s := one of %d, by %s", fieldName(action.Dst), action.N, action.Fields)
	case flows.CheckLarger:
		return fmt.Sprintf("%s := more than %d bytes", fieldName(action.Dst), action.Size)
	case flows.Track:
		return track(action)
	}
	return fmt.Sprintf("%T", action)
}

func (a *actor) load(l flows.Load) string {
	v := l.Value
	switch l.Dst {
	case flows.All(flows.RegDatapath):
		a.datapath = uint32(v)
		return "enter " + a.names.datapath(a.datapath)
	case flows.BitsSrcPort:
		return "from " + a.names.port(a.datapath, uint16(v))
	case flows.BitsDstPort:
		return "to " + a.names.port(a.datapath, uint16(v))
	case flows.All(flows.RegTunnel):
		return "via " + a.names.ofport(uint32(v))
	case flows.All(flows.RegDirect):
		return "known " + a.names.ofport(uint32(v))
	case flows.BitsRouter:
		return "routed by " + a.names.datapath(uint32(v))
	case flows.All(flows.InPort):
		if v == 0 {
			return "may return"
		}
		return "in " + a.names.ofport(uint32(v))
	case flows.All(flows.RegSeen):
		return "shown"
	}
	switch l.Dst.Field {
	case flows.RegFlags:
		return flags(v<<l.Dst.Ofs, (1<<l.Dst.N-1)<<l.Dst.Ofs)
	case flows.RegEntry: // with BitsMended, which nothing else sets here
		return "came by " + a.names.port(a.datapath, uint16(v))
	case flows.EthSrc, flows.EthDst:
		return fieldName(l.Dst) + " " + a.names.mac(a.datapath, v)
	case flows.RegNextHop, flows.IPSrc, flows.IPDst, flows.ARPSpa, flows.ARPTpa:
		return fieldName(l.Dst) + " " + address(v)
	case flows.ARPOp:
		return operations.word(v)
	}
	return fmt.Sprintf("%s %d", fieldName(l.Dst), v)
}

func limit(meter flows.Meter) string {
	for _, m := range flows.Meters {
		if m.Meter == meter {
			return fmt.Sprintf("at most %d/s", m.Rate)
		}
	}
	return fmt.Sprintf("meter %d", meter.ID())
}

func track(t flows.Track) string {
	words := fmt.Sprintf("track in zone %d", t.Zone)
	if t.Commit {
		words = fmt.Sprintf("connect in zone %d", t.Zone)
	}
	if t.NAT.Addr.IsValid() {
		side := "src"
		if t.NAT.Type == topology.DNAT {
			side = "dst"
		}
		words += fmt.Sprintf(" with %s %s", side, t.NAT.Addr)
	}
	return words + ", go to " + t.Table.String()
}
