package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The pages.
const (
	NodePath   = "/metrics"
	PortsPath  = "/metrics/ports"
	HealthPath = "/healthz"
	ReadyPath  = "/readyz"
)

// Put hands over one value, with the values of the metric's labels in their order.
type Put func(m Metric, value float64, labels ...string)

// Source is what the figures come from. Its methods may be called by several
// goroutines; what they put they put before they return.
type Source interface {
	// Node puts the figures of the node, as far as they can be had before ctx ends.
	Node(ctx context.Context, put Put)
	// Ports puts the traffic of the ports that are plugged in here.
	Ports(ctx context.Context, put Put) error
	// Turn returns when the agent has turned to something else, or ctx has ended.
	Turn(ctx context.Context)
	// Missing says what keeps the node from doing all that is asked of it, in
	// sentences; nothing if it is ready.
	Missing(ctx context.Context) []string
}

// scrapePatience bounds a scrape: Prometheus waits for 10 s, and what can be told
// by then is better than nothing.
const scrapePatience = 8 * time.Second

// Listen opens the address of the pages, so that it is known at the start whether
// that can be had.
func Listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w (--metrics names another address)", err)
	}
	return l, nil
}

// Serve answers on l until ctx ends, and closes l.
func Serve(ctx context.Context, l net.Listener, source Source, log *slog.Logger) {
	server := &http.Server{Handler: Handler(ctx, source, log), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	log.Info("serving metrics", "address", l.Addr().String())
	if err := server.Serve(l); ctx.Err() == nil {
		log.Error("metrics are not served any more", "error", err)
	}
}

// Handler answers for the pages until ctx ends.
func Handler(ctx context.Context, source Source, log *slog.Logger) http.Handler {
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := &server{source: source, process: process, log: log, turn: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+NodePath, s.node)
	mux.HandleFunc("GET "+PortsPath, s.ports)
	mux.Handle("GET "+HealthPath, &pulse{turn: func() { source.Turn(ctx) }})
	mux.HandleFunc("GET "+ReadyPath, s.ready)
	return mux
}

type server struct {
	source  Source
	process prometheus.Gatherer // figures of the program as a process
	log     *slog.Logger
	turn    chan struct{} // capacity 1: full while a scrape is under way
}

func (s *server) node(w http.ResponseWriter, r *http.Request) {
	s.scrape(w, r, func(ctx context.Context, put Put) error { s.source.Node(ctx, put); return nil }, s.process)
}

func (s *server) ports(w http.ResponseWriter, r *http.Request) { s.scrape(w, r, s.source.Ports) }

// scrape answers with what collect puts, and more. One scrape at a time is enough
// work for an agent that has other things to do.
func (s *server) scrape(w http.ResponseWriter, r *http.Request, collect func(context.Context, Put) error, more ...prometheus.Gatherer) {
	ctx, cancel := context.WithTimeout(r.Context(), scrapePatience)
	defer cancel()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		http.Error(w, "too many ask for metrics at a time", http.StatusServiceUnavailable)
		return
	}
	var found values
	if err := collect(ctx, found.put); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(found)
	promhttp.HandlerFor(append(prometheus.Gatherers{registry}, more...), promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// Of two that are alike one is better than none of all.
		ErrorHandling: promhttp.ContinueOnError,
	}).ServeHTTP(w, r)
}

// values are what a scrape has found.
type values []prometheus.Metric

func (v *values) put(m Metric, value float64, labels ...string) {
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "\uFFFD") // names in etcd may be anything
	}
	*v = append(*v, prometheus.MustNewConstMetric(descriptions[m], catalog[m].typ, value, labels...))
}

// Describe implements prometheus.Collector.
func (v values) Describe(c chan<- *prometheus.Desc) {
	for _, d := range descriptions {
		c <- d
	}
}

// Collect implements prometheus.Collector.
func (v values) Collect(c chan<- prometheus.Metric) {
	for _, m := range v {
		c <- m
	}
}

var descriptions = func() (all [count]*prometheus.Desc) {
	for _, m := range All() {
		all[m] = prometheus.NewDesc(catalog[m].name, catalog[m].help, m.Labels(), nil)
	}
	return all
}()
