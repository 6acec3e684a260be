package agent

import (
	"encoding/binary"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
)

// injection is a frame that the bridge is to execute actions on, see
// ovs.Driver.Inject.
type injection struct {
	Frame   []byte
	Actions []flows.Action
}

// registers puts back what a packet carried when it came to the agent.
func registers(p ovs.Packet) []flows.Action {
	actions := []flows.Action{
		flows.Load{Dst: flows.All(flows.RegDatapath), Value: uint64(p.Datapath)},
		flows.Load{Dst: flows.All(flows.RegFlags), Value: uint64(p.Flags)},
		flows.Load{Dst: flows.All(flows.RegPorts), Value: uint64(p.Ports)},
		flows.Load{Dst: flows.All(flows.RegTunnel), Value: uint64(p.Tunnel)},
		flows.Load{Dst: flows.BitsRouter, Value: uint64(p.Router)},
		flows.Load{Dst: flows.BitsEntry, Value: uint64(p.Entry)},
	}
	if p.NextHop.Is4() {
		ip := p.NextHop.As4()
		actions = append(actions, flows.Load{Dst: flows.All(flows.RegNextHop), Value: uint64(binary.BigEndian.Uint32(ip[:]))})
	}
	return actions
}
