package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs"
	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

// demandFile is where the ports that traffic goes to survive a restart of the
// agent, in the run directory. A line is a switch and a port of it: LS-A/lsp-bob.
const demandFile = "on_demand.data"

const demandHeader = "# ports on other chassis that traffic from here goes to: logical switch/port\n"

// Bounds of the packets that wait for their flows here because no edge could
// take them.
const (
	holdPerPort = 16
	holdInAll   = 512
	holdFor     = time.Second
)

// saveAfter is how long the file may lag behind.
const saveAfter = 200 * time.Millisecond

// demands are the ports that traffic from this node goes to, if it is on demand
// (see flows/rules_demand.go). A port that a packet asks for is one from then on,
// until no packet has gone there for a while. The agent's loop owns it.
type demands struct {
	a       *agent
	keeper  *keeper
	changed bool        // since the file was written
	saver   *time.Timer // fires when it is to be written
	ports   map[topology.Demand]*use
	held    map[topology.Demand][]heldPacket
	holding int // packets in held

	ticker  *time.Ticker
	counted chan map[uint64]uint64 // packets by cookie, as counters has read them
	reading bool
}

// heldPacket is a packet whose destination has no flows yet, and the table that
// found none.
type heldPacket struct {
	ovs.Packet
	at    flows.Table
	until time.Time // it is sent on or dropped by then
}

// use is when a port was last in use.
type use struct {
	packets uint64 // that its flows had counted then
	at      time.Time
}

func newDemands(a *agent) *demands {
	d := &demands{a: a, ports: map[topology.Demand]*use{}, held: map[topology.Demand][]heldPacket{},
		counted: make(chan map[uint64]uint64, 1)}
	d.keeper = newKeeper(filepath.Join(a.RunDir, demandFile), a.log)
	d.ticker = time.NewTicker(d.period())
	d.saver = time.NewTimer(time.Hour)
	return d
}

// period is how often it is looked which ports are in use.
func (d *demands) period() time.Duration { return max(d.a.IdleTimeout/4, 100*time.Millisecond) }

// load takes in what traffic went to when the last agent on this host stopped,
// so that a restart changes no flow.
func (d *demands) load() {
	before, err := ReadDemands(d.a.RunDir)
	if err != nil {
		d.a.log.Warn("flows to other chassis are made anew when traffic asks for them", "error", err)
	}
	for _, port := range before {
		d.add(port)
	}
	d.changed = false
}

// ReadDemands returns what an agent with this run directory has noted of where
// traffic goes; without a note that is nothing.
func ReadDemands(runDir string) ([]topology.Demand, error) {
	content, err := os.ReadFile(filepath.Join(runDir, demandFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read where traffic went before: %w", err)
	}
	var all []topology.Demand
	for line := range strings.Lines(string(content)) {
		sw, port, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "/")
		if ok && !strings.HasPrefix(line, "#") {
			all = append(all, topology.Demand{Switch: sw, Port: port})
		}
	}
	return all, nil
}

// note has the file written in a while: thousands of ports may come at once. What
// is not in it when the agent is killed, traffic asks for again.
func (d *demands) note() {
	if !d.changed {
		d.changed = true
		d.saver.Reset(saveAfter)
	}
}

// save has the file written, if it is not as it should be.
func (d *demands) save() {
	if !d.changed {
		return
	}
	d.changed = false
	lines := make([]string, 0, len(d.ports))
	for port := range d.ports {
		lines = append(lines, port.Switch+"/"+port.Port+"\n")
	}
	slices.Sort(lines)
	d.keeper.put([]byte(demandHeader + strings.Join(lines, "")))
}

// close keeps the ports for the next agent.
func (d *demands) close() {
	d.ticker.Stop()
	d.save()
	d.keeper.close()
}

func (d *demands) add(port topology.Demand) {
	d.ports[port] = &use{at: time.Now()}
	d.note()
	d.a.change(topology.Change{Entity: port})
}

// packet takes in a packet whose destination has no flows here.
func (d *demands) packet(p ovs.Packet) {
	port, at, ok := d.wanted(p)
	if !ok {
		return // nobody has the address
	}
	if d.ports[port] == nil {
		d.a.log.Debug("flows are wanted", "port", port)
		d.add(port)
	}
	if p.Tunnel != 0 && p.Tunnel != flows.NoPort {
		return // an edge has it
	}
	if d.holding < holdInAll && len(d.held[port]) < holdPerPort {
		d.held[port] = append(d.held[port], heldPacket{p, at, time.Now().Add(holdFor)})
		d.holding++
	}
}

// wanted finds the port that a packet was on its way to, and the table that did
// not know it.
func (d *demands) wanted(p ovs.Packet) (want topology.Demand, at flows.Table, ok bool) {
	var e topology.Entity
	switch in := d.a.model.Get(topology.Datapath(p.Datapath)).(type) {
	case topology.Router:
		at = flows.TableRouterConnected
		if rp, ok := d.a.physical.errands.entry(in, uint16(p.Ports>>16)); ok {
			if sp, ok := d.a.portNamed(rp.Peer); ok {
				_, ip, _ := addresses(p.Data[min(len(p.Data), ethernetLen):])
				e = d.portAt(sp.Switch, ip)
			}
		}
	case topology.Switch:
		if arp, ok := packet.ParseARP(p.Data); ok && arp.Op == packet.OpRequest {
			at = flows.TableSwitchTarget
			e = d.portAt(in.Name, arp.TargetIP)
		} else if len(p.Data) >= ethernetLen {
			at = flows.TableSwitchLookup
			e = d.a.model.Get(topology.PortWithMAC(in.Name, topology.MAC(p.Data[:6])))
		}
	}
	port, ok := e.(topology.SwitchPort)
	if !ok || port.Peer != "" || port.Outer() {
		return topology.Demand{}, 0, false
	}
	return topology.Demand{Switch: port.Switch, Port: port.Name}, at, true
}

func (d *demands) portAt(sw string, ip netip.Addr) topology.Entity {
	if !ip.Is4() {
		return nil
	}
	port, ok := d.a.model.Get(topology.PortAt(sw, topology.PortID(ip))).(topology.SwitchPort)
	if !ok || port.IP != ip {
		return nil
	}
	return port
}

// flushed sends packets on whose flows are in the bridge now, and forgets those
// that have waited too long: nobody waits for them any more. inSync says that
// the bridge holds what has been compiled.
func (d *demands) flushed(inSync bool) {
	if d.holding == 0 {
		return
	}
	now := time.Now()
	for port, packets := range d.held {
		ready := inSync && len(d.a.engine.Cookies(port.Key(), flows.TableSwitchLookup)) > 0
		left := packets[:0]
		for _, p := range packets {
			switch {
			case now.After(p.until):
			case ready:
				d.a.physical.inject([]injection{resume(p)})
			default:
				left = append(left, p)
			}
		}
		d.holding -= len(packets) - len(left)
		if d.held[port] = left; len(left) == 0 {
			delete(d.held, port)
		}
	}
}

// resume lets a packet go on in the table that knows its destination now.
func resume(w heldPacket) injection {
	w.Tunnel, w.Flags = 0, w.Flags&^flows.FlagRedirected
	return injection{w.Data, append(registers(w.Packet),
		flows.Load{Dst: flows.All(flows.InPort), Value: uint64(w.InPort)},
		flows.Resubmit{Table: w.at})}
}

// count begins to read how many packets the flows have seen. What was read
// comes over counted: Open vSwitch may take its time.
func (d *demands) count(ctx context.Context) {
	if d.reading || len(d.ports) == 0 {
		return
	}
	d.reading = true
	go func() {
		ctx, cancel := context.WithTimeout(ctx, applyPatience)
		defer cancel()
		packets, err := d.a.ovs.Counters(ctx, flows.TableSwitchLookup)
		if err != nil {
			d.a.log.Debug("cannot tell which flows are idle", "error", err)
		}
		d.counted <- packets
	}()
}

// age takes in what count has read, and gives up the ports to which nothing has
// gone for long. Without a reading it does nothing.
func (d *demands) age(packets map[uint64]uint64) {
	d.reading = false
	if packets == nil {
		return
	}
	now := time.Now()
	for port, u := range d.ports {
		sum := uint64(0)
		for _, cookie := range d.a.engine.Cookies(port.Key(), flows.TableSwitchLookup) {
			sum += packets[cookie]
		}
		switch {
		case sum != u.packets:
			u.packets, u.at = sum, now
		case now.Sub(u.at) >= d.a.IdleTimeout:
			d.a.log.Debug("flows are idle", "port", port)
			delete(d.ports, port)
			d.note()
			d.a.change(topology.Change{Key: port.Key()})
		}
	}
}
