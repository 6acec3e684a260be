package agent

import (
	"context"
	"runtime"
	"sync"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/explain"
	"tuplenet/internal/metrics"
	"tuplenet/internal/topology"
)

// How long a scrape waits for the loop, and for Open vSwitch: together less than
// Prometheus waits.
const (
	loopPatience = 3 * time.Second
	ovsPatience  = 2 * time.Second
)

// scraper is what the agent tells of itself over HTTP. It asks the loop for what
// that has counted anyway, and Open vSwitch for what that counts.
type scraper struct {
	a     *agent
	drops dropCounts
}

// Node implements metrics.Source.
func (s *scraper) Node(ctx context.Context, put metrics.Put) {
	a := s.a
	put(metrics.BuildInfo, 1, a.Version, runtime.Version())
	s.putEtcd(put)
	driver := a.driver()
	if driver != nil {
		for _, link := range driver.Links() {
			put(metrics.OVSConnected, truth(link.Up), link.Name)
			put(metrics.OVSReconnects, float64(link.Reconnects), link.Name)
		}
		put(metrics.PacketInDropped, float64(driver.Dropped()))
		s.putBFD(put)
	}
	try, cancel := context.WithTimeout(ctx, loopPatience)
	f, err := a.figures(try)
	cancel()
	put(metrics.Ready, truth(len(a.missing(f, err)) == 0))
	put(metrics.ScrapeSuccess, truth(err == nil), "loop")
	if err != nil {
		a.log.Debug("the agent's loop tells nothing of itself", "error", err)
		return
	}
	f.put(put)
	asked := []struct {
		source string
		ask    func(context.Context, *figures, metrics.Put) error
	}{{"flows", s.putDrops}, {"conntrack", s.putNAT}}
	for _, q := range asked {
		try, cancel := context.WithTimeout(ctx, ovsPatience)
		err := q.ask(try, f, put)
		cancel()
		put(metrics.ScrapeSuccess, truth(err == nil), q.source)
		if err != nil {
			a.log.Debug("Open vSwitch does not tell what it has counted", "source", q.source, "error", err)
		}
	}
}

func (s *scraper) putEtcd(put metrics.Put) {
	etcd := s.a.Store.Sight()
	put(metrics.EtcdConnected, truth(etcd.Connected))
	put(metrics.EtcdReconnects, float64(etcd.Reconnects))
	put(metrics.EtcdSnapshots, float64(etcd.Snapshots))
	put(metrics.EtcdRevision, float64(etcd.Revision))
	if end, ok := s.a.Store.CertificateEnd(); ok {
		put(metrics.CertificateExpiry, float64(end.Unix()))
	}
}

// putBFD puts what BFD has found out about the chassis that it watches. Of two
// tunnels to one chassis, as there may be for a moment, the first counts.
func (s *scraper) putBFD(put metrics.Put) {
	states, seen := map[string]int{"up": 0, "down": 0, "refusing": 0}, map[string]bool{}
	for _, t := range s.a.ovs.Tunnels() {
		if !t.Watched || seen[t.Chassis] {
			continue
		}
		seen[t.Chassis] = true
		put(metrics.BFDUp, truth(t.Up), t.Chassis)
		put(metrics.BFDFlaps, float64(t.Flaps), t.Chassis)
		switch {
		case t.Refusing:
			states["refusing"]++
		case t.Up:
			states["up"]++
		default:
			states["down"]++
		}
	}
	for state, n := range states {
		put(metrics.BFDPeers, float64(n), state)
	}
}

// putDrops puts the packets that flows have dropped, by why these do.
func (s *scraper) putDrops(ctx context.Context, f *figures, put metrics.Put) error {
	cookies, reasons := make([]uint64, 0, len(f.drops)+1), map[uint64]dropReason{}
	for _, d := range f.drops {
		if reason, drops := explain.Drop(d.Flow); drops {
			cookies = append(cookies, d.Cookie)
			reasons[d.Cookie] = dropReason{d.Flow.Table.String(), string(reason)}
		}
	}
	for _, cookie := range f.foreign {
		cookies = append(cookies, cookie)
		reasons[cookie] = dropReason{table: flows.TableForeign.String()}
	}
	packets, err := s.a.ovs.CountPackets(ctx, cookies)
	s.drops.take(reasons, packets) // without an answer what was known before stays
	for reason, n := range s.drops.all() {
		if reason.reason == "" {
			put(metrics.ForeignPackets, float64(n))
		} else {
			put(metrics.DroppedPackets, float64(n), reason.table, reason.reason)
		}
	}
	return err
}

// putNAT puts how full the tables of translated connections are.
func (s *scraper) putNAT(ctx context.Context, _ *figures, put metrics.Put) error {
	zones := s.a.translator.zones()
	if len(zones) == 0 {
		return nil
	}
	ids := make([]uint16, 0, len(zones))
	for z := range zones {
		ids = append(ids, z.id)
	}
	use, err := s.a.ovs.ConnectionUse(ctx, ids)
	if err != nil {
		return err
	}
	limits := s.a.translator.limits()
	for z := range zones {
		put(metrics.NATConnections, float64(use[z.id].Count), z.router, string(z.typ))
		put(metrics.NATLimit, float64(limits[z.id]), z.router, string(z.typ))
	}
	return nil
}

// Ports implements metrics.Source. What Open vSwitch has received from an
// interface, its workload has sent.
func (s *scraper) Ports(ctx context.Context, put metrics.Put) error {
	if !s.a.hasOpened() {
		return ErrNotReady
	}
	ports := map[string]topology.SwitchPort{} // by interface
	try, cancel := context.WithTimeout(ctx, loopPatience)
	defer cancel()
	err := s.a.host.do(try, func() {
		for name, p := range s.a.plugs {
			if port, ok := s.a.portNamed(name); ok && p.state == bound {
				ports[p.iface.Name] = port
			}
		}
	})
	if err != nil {
		return err
	}
	names := make([]string, 0, len(ports))
	for name := range ports {
		names = append(names, name)
	}
	traffic, err := s.a.ovs.Traffic(ctx, names)
	for name, t := range traffic {
		one := func(m metrics.Metric, n uint64) { put(m, float64(n), ports[name].Switch, ports[name].Name) }
		one(metrics.PortReceiveBytes, t.SentBytes)
		one(metrics.PortReceivePackets, t.SentPackets)
		one(metrics.PortReceiveDropped, t.SentDropped)
		one(metrics.PortReceiveErrors, t.SentErrors)
		one(metrics.PortTransmitBytes, t.ReceivedBytes)
		one(metrics.PortTransmitPackets, t.ReceivedPackets)
		one(metrics.PortTransmitDropped, t.ReceivedDropped)
		one(metrics.PortTransmitErrors, t.ReceivedErrors)
	}
	return err
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// dropReason is where packets are dropped, and why; without a reason they are the
// foreign ones.
type dropReason struct{ table, reason string }

// dropCounts adds up what flows count, as each of them goes with its object, and
// its count with it: a counter must not fall.
type dropCounts struct {
	mu   sync.Mutex // guards the fields below
	last map[uint64]uint64
	sums map[dropReason]uint64
}

// take takes in how many packets flows have counted by now, by cookie.
func (d *dropCounts) take(reasons map[uint64]dropReason, packets map[uint64]uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sums == nil {
		d.sums = map[dropReason]uint64{}
	}
	for cookie, n := range packets {
		if before := d.last[cookie]; n >= before {
			d.sums[reasons[cookie]] += n - before
		} else { // it was made anew
			d.sums[reasons[cookie]] += n
		}
	}
	if packets != nil {
		d.last = packets
	}
}

func (d *dropCounts) all() map[dropReason]uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[dropReason]uint64, len(d.sums))
	for reason, n := range d.sums {
		all[reason] = n
	}
	return all
}
