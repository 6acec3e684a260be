package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what the agent counts, in the names of Prometheus.
type metrics struct {
	registry *prometheus.Registry
	punted   *prometheus.CounterVec // packets that came to the agent, by reason
	errors   *prometheus.CounterVec // packets that were answered, by reason
	waiting  *prometheus.CounterVec // packets that waited for ARP, by what became of them
	known    prometheus.Gauge       // neighbours in the physical network
	problems prometheus.Gauge       // objects that cannot work as they are stored

	contended prometheus.Gauge // 1 while another host wants this one's system-id
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		punted: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tuplenet_packet_in_total",
			Help: "Packets that flows sent to the agent."}, []string{"reason"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tuplenet_icmp_errors_total",
			Help: "Packets that were answered with an ICMP error, fragmented or mended."}, []string{"reason"}),
		waiting: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tuplenet_neighbour_packets_total",
			Help: "Packets that waited for the MAC of a next hop."}, []string{"outcome"}),
		known: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tuplenet_neighbours",
			Help: "Machines of the physical network whose MAC is known."}),
		problems: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tuplenet_problems",
			Help: "Objects in etcd that cannot work as they are stored; the log names them."}),
		contended: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tuplenet_system_id_contended",
			Help: "1 if another host was refused of late because it has this host's system-id; the log names it."}),
	}
	m.registry.MustRegister(m.contended, m.punted, m.errors, m.waiting, m.known, m.problems)
	return m
}

// listenMetrics opens the address of the metrics, so that a wrong one is known
// at the start.
func listenMetrics(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	return l, nil
}

// serveMetrics answers on l until ctx ends.
func (a *agent) serveMetrics(ctx context.Context, l net.Listener) {
	a.metrics.registry.MustRegister(natUse{a})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	a.log.Info("serving metrics", "address", l.Addr().String())
	server.Serve(l)
}

// natUse tells how full the tables of translated connections are. Open vSwitch
// is asked when somebody asks for the metrics.
type natUse struct{ a *agent }

var (
	natConnections = prometheus.NewDesc("tuplenet_nat_connections",
		"Translated connections of a router on this node, by type of rule.", []string{"router", "type"}, nil)
	natLimit = prometheus.NewDesc("tuplenet_nat_connections_limit",
		"How many there can be: what the external addresses have ports for.", []string{"router", "type"}, nil)
	packetsDropped = prometheus.NewDesc("tuplenet_packet_in_dropped_total",
		"Packets that the agent had no room for.", nil, nil)
)

// Describe implements prometheus.Collector.
func (u natUse) Describe(c chan<- *prometheus.Desc) {
	c <- natConnections
	c <- natLimit
	c <- packetsDropped
}

// Collect implements prometheus.Collector.
func (u natUse) Collect(c chan<- prometheus.Metric) {
	c <- prometheus.MustNewConstMetric(packetsDropped, prometheus.CounterValue, float64(u.a.ovs.Dropped()))
	zones := u.a.translator.zones()
	if len(zones) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var ids []uint16
	for z := range zones {
		ids = append(ids, z.id)
	}
	use, err := u.a.ovs.ConnectionUse(ctx, ids)
	if err != nil {
		u.a.log.Debug("cannot count translated connections", "error", err)
		return
	}
	limits := u.a.translator.limits()
	for z := range zones {
		c <- prometheus.MustNewConstMetric(natConnections, prometheus.GaugeValue, float64(use[z.id].Count), z.router, string(z.typ))
		c <- prometheus.MustNewConstMetric(natLimit, prometheus.GaugeValue, float64(limits[z.id]), z.router, string(z.typ))
	}
}

// count takes over what neighbours has counted since the last call.
func (m *metrics) count(n *neighbours, before neighbourCounts) neighbourCounts {
	add := func(outcome string, now, before uint64) {
		m.waiting.WithLabelValues(outcome).Add(float64(now - before))
	}
	add("dropped", n.count.Dropped, before.Dropped)
	add("unreachable", n.count.Failed, before.Failed)
	m.known.Set(float64(n.known))
	return n.count
}
