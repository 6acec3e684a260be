package agent

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"tuplenet/internal/topology"
)

// register writes the chassis record, once in the life of the process and
// after the first flows are in: from then on others send. A record that is
// there already is kept, so that a restart is seen by nobody; one that the
// operator deletes later is not written again.
func (a *agent) register(ctx context.Context) {
	record := topology.Chassis{Name: a.self, MTU: a.mtu}
	if own, ok := a.ownRecord(); ok {
		record.Extra = own.Extra
		if own.IP == a.TunnelIP { // of the records with our address ours counts
			a.tellRecord(ctx)
			return
		}
	}
	a.putRecord(ctx, a.claimAddress(record))
}

// claimAddress returns a record of ours with our address, newer than all
// others that have it.
func (a *agent) claimAddress(record topology.Chassis) topology.Chassis {
	record.IP, record.Tick = a.TunnelIP, time.Now().Unix()
	for c := range a.model.Chassis() {
		if c.IP == a.TunnelIP {
			record.Tick = max(record.Tick, c.Tick+1)
		}
	}
	return record
}

// tellRecord brings address and MTU in the chassis record up to date, if there
// is one, and if the agent has written the address that is in it: another one
// is the operator's doing, or another host's.
func (a *agent) tellRecord(ctx context.Context) {
	own, ok := a.model.Told(topology.Chassis{Name: a.self}.Key()).(topology.Chassis)
	if !a.synced || !ok {
		return
	}
	changed := own.MTU != a.mtu
	own.MTU = a.mtu
	switch {
	case slices.Contains(a.moved, own.IP) && own.IP != a.TunnelIP:
		own = a.claimAddress(own)
	case own.IP != a.TunnelIP || !changed:
		return
	}
	a.putRecord(ctx, own)
}

func (a *agent) ownRecord() (topology.Chassis, bool) {
	own, ok := a.model.Get(topology.Chassis{Name: a.self}.Key()).(topology.Chassis)
	return own, ok
}

// putRecord writes the chassis record beside the agent's loop, as soon as etcd
// takes it.
func (a *agent) putRecord(ctx context.Context, record topology.Chassis) {
	go func() {
		said := false
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			try, cancel := context.WithTimeout(ctx, 5*time.Second)
			err := a.Store.PutChassis(try, record)
			cancel()
			if err == nil {
				a.log.Info("chassis registered", "chassis", a.self, "tunnel_ip", record.IP, "workload_mtu", record.MTU)
				return
			}
			if !said && ctx.Err() == nil {
				said = true
				a.log.Warn("cannot register the chassis, will try again", "error", err)
			}
			if !pause(ctx, wait) {
				return
			}
		}
	}()
}

// nicChanged takes in what the tunnels leave by now.
func (a *agent) nicChanged(ctx context.Context, n nic) {
	if n.ip != a.TunnelIP {
		a.move(ctx, n.ip)
	}
	a.setMTU(ctx, n.mtu)
}

// move follows this host to a new tunnel address. The others follow the chassis
// record, which setMTU brings up to date.
func (a *agent) move(ctx context.Context, ip netip.Addr) {
	a.log.Warn("the address of this host's tunnels has changed", "chassis", a.self, "from", a.TunnelIP, "to", ip)
	a.moved = append(a.moved, a.TunnelIP)
	a.TunnelIP = ip
	a.Store.Reconnect() // etcd's answers may have gone to the old one
	a.presence.move(ip)
	a.wire()
}
