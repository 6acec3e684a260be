package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/metrics"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// serving makes the host's agent serve metrics when it starts.
func (h *host) serving() *host {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.site.t.Fatal(err)
	}
	defer l.Close()
	h.metrics = l.Addr().String()
	return h
}

// page returns what the host's agent serves; status 0 if it does not.
func (h *host) page(path string) (status int, body string) {
	h.site.t.Helper()
	resp, err := http.Get("http://" + h.metrics + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.site.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// scrape returns the values of a page, by series as they stand there.
func (h *host) scrape(path string) map[string]float64 {
	h.site.t.Helper()
	status, body := h.page(path)
	if status != http.StatusOK {
		h.site.t.Fatalf("%s: %d\n%s", path, status, body)
	}
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, " ")
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			h.site.t.Fatalf("%q: %v", line, err)
		}
		all[line[:at]] = value
	}
	return all
}

// furnished makes a node with ports and an edge with all that metrics tell of.
func furnished(t *testing.T) (s *site, node, edge *host) {
	s = newSite(t)
	s.edges()
	s.create(topology.Switch{Name: "LS"},
		topology.SwitchPort{Switch: "out", Name: "patch-out", IP: topology.OuterIP, MAC: topology.OuterMAC, Chassis: "hv-e", Peer: "br0"},
		topology.NAT{Router: "edge", Name: "snat", Net: netip.MustParsePrefix("10.0.7.0/24"), Type: topology.SNAT, XlateIP: netip.MustParseAddr("192.168.9.30")})
	s.join("LR", "LS", "10.0.7.1/24")
	s.route("LR", "out", "0.0.0.0/0", "100.64.0.2", "LR_to_m")
	one := s.port("LS", "one", "10.0.7.2")
	s.put("entity_view/LS/LS/lsp/two", "ip=10.0.7.2,mac=f2:01:0a:00:07:03") // the address is taken
	node, edge = s.newHost("hv-a", "192.168.1.1").serving(), s.newHost("hv-e", "192.168.1.5").serving()
	edge.Vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy")
	node.start()
	edge.start()
	node.plug("one")
	eventually(t, "the port is bound", func() bool { return s.chassisOf(one) == "hv-a" })
	eventually(t, "the edge is ready and watched", func() bool {
		return strings.HasPrefix(second(edge.page(metrics.ReadyPath)), "ready") && node.scrape(metrics.NodePath)["tuplenet_bfd_flaps_total{peer=\"hv-e\"}"] >= 0 &&
			has(edge.scrape(metrics.NodePath), `tuplenet_nat_connections{router="edge",type="snat"}`) &&
			has(edge.scrape(metrics.NodePath), `tuplenet_bfd_up{peer="hv-a"}`) && has(node.scrape(metrics.NodePath), `tuplenet_bfd_up{peer="hv-e"}`)
	})
	return s, node, edge
}

func second(_ int, body string) string { return body }

func has(all map[string]float64, series string) bool {
	_, ok := all[series]
	return ok
}

// An agent's figures are what is there.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s, node, edge := furnished(t)
	for range 3 {
		node.Appctl("netdev-dummy/receive", "if-one", "020000000099"+"f2010a000702"+"0800"+strings.Repeat("00", 46)) // to nobody's MAC
	}
	// etcd is not ours alone: what others change there makes no lag.
	s.put("../other", "changed")
	changed, err := s.store.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		`tuplenet_build_info{goversion="` + runtime.Version() + `",version=""}`:     1,
		`tuplenet_chassis_info{chassis="hv-a",role="node",tunnel_ip="192.168.1.1"}`: 1,
		`tuplenet_ready`:                                                                 1,
		`tuplenet_system_id_contended`:                                                   0,
		`tuplenet_scrape_success{source="loop"}`:                                         1,
		`tuplenet_scrape_success{source="flows"}`:                                        1,
		`tuplenet_scrape_success{source="conntrack"}`:                                    1,
		`tuplenet_etcd_connected`:                                                        1,
		`tuplenet_etcd_reconnects_total`:                                                 0,
		`tuplenet_etcd_snapshots_total`:                                                  1,
		`tuplenet_objects{kind="switch"}`:                                                3,
		`tuplenet_objects{kind="switch_port"}`:                                           7,
		`tuplenet_objects{kind="chassis"}`:                                               2,
		`tuplenet_objects{kind="nat"}`:                                                   1,
		`tuplenet_objects{kind="tunnel"}`:                                                1,
		`tuplenet_objects_ignored{kind="switch_port"}`:                                   1,
		`tuplenet_objects_ignored{kind="nat"}`:                                           0,
		`tuplenet_objects_invalid`:                                                       0,
		`tuplenet_flows_in_sync`:                                                         1,
		`tuplenet_flow_syncs_total`:                                                      1,
		`tuplenet_flows_refused`:                                                         0,
		`tuplenet_openvswitch_connected{connection="ovsdb"}`:                             1,
		`tuplenet_openvswitch_connected{connection="flows"}`:                             1,
		`tuplenet_openvswitch_connected{connection="packets"}`:                           1,
		`tuplenet_openvswitch_reconnects_total{connection="flows"}`:                      0,
		`tuplenet_interfaces{state="bound"}`:                                             1,
		`tuplenet_interfaces{state="claiming"}`:                                          0,
		`tuplenet_tunnels`:                                                               1,
		`tuplenet_bfd_up{peer="hv-e"}`:                                                   0, // nothing leaves a dummy datapath
		`tuplenet_bfd_peers{state="down"}`:                                               1,
		`tuplenet_bfd_peers{state="up"}`:                                                 0,
		`tuplenet_dropped_packets_total{reason="no-destination",table="switch-lookup"}`:  3,
		`tuplenet_dropped_packets_total{reason="port-security",table="switch-security"}`: 0,
		`tuplenet_dropped_packets_total{reason="no-chassis",table="classify"}`:           0,
		`tuplenet_packet_in_total{reason="no_route"}`:                                    0,
	}
	wrong := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(wrong)
		}
	})
	eventually(t, "the figures of the node", func() bool {
		got := node.scrape(metrics.NodePath)
		for series, value := range want {
			if got[series] != value || !has(got, series) {
				wrong = fmt.Sprintf("%s was %v last, want %v", series, got[series], value)
				return false
			}
		}
		return got["tuplenet_etcd_revision"] == got["tuplenet_flows_revision"] && got["tuplenet_etcd_revision"] >= float64(changed)
	})
	got := node.scrape(metrics.NodePath)
	sum := 0.0
	for series, value := range got {
		if strings.HasPrefix(series, "tuplenet_flows{") {
			sum += value
		}
	}
	if n, err := strconv.Atoi(strings.TrimSpace(regexp.MustCompile(`flow_count=(\d+)`).FindStringSubmatch(node.Ofctl("dump-aggregate", "br-int"))[1])); err != nil || float64(n) != sum {
		t.Errorf("the tables have %v flows, the bridge has %d", sum, n)
	}
	if got["tuplenet_rule_runs_total"] < 20 || got[`tuplenet_flow_changes_total{change="put"}`] < sum || got["tuplenet_flow_applies_total"] < 1 || got["tuplenet_flow_apply_seconds_total"] <= 0 {
		t.Errorf("the work that has been done is not counted: %v", got)
	}
	if held := got["tuplenet_scrape_loop_seconds"]; held <= 0 || held > 1 {
		t.Errorf("the scrape has held up the agent for %v s", held)
	}
	out := edge.scrape(metrics.NodePath)
	if out[`tuplenet_nat_connections_limit{router="edge",type="snat"}`] != portsPerAddress || !has(out, `tuplenet_chassis_info{chassis="hv-e",role="edge",tunnel_ip="192.168.1.5"}`) {
		t.Errorf("the edge tells %v", out)
	}
	eventually(t, "the traffic of the port", func() bool { // Open vSwitch counts every five seconds
		ports := node.scrape(metrics.PortsPath)
		return ports[`tuplenet_port_transmit_packets_total{port="one",switch="LS"}`] == 3 && ports[`tuplenet_port_transmit_bytes_total{port="one",switch="LS"}`] == 180 &&
			ports[`tuplenet_port_receive_bytes_total{port="one",switch="LS"}`] == 0 && len(ports) == 8
	})
	checkNames(t, edge, node)
	promtool(t, strings.NewReader(second(edge.page(metrics.NodePath))+second(node.page(metrics.PortsPath))), "check", "metrics")
}

// A node says what is missing: at the start, and when something goes.
func TestReady(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	h := s.newHost("hv-a", "192.168.1.1").serving()
	says := func(status int, words ...string) func() bool {
		return func() bool {
			got, body := h.page(metrics.ReadyPath)
			return got == status && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(body, w) })
		}
	}
	s.server.Stop()
	h.StopVswitchd()
	h.StopDB()
	h.start()
	eventually(t, "it waits for both", says(http.StatusServiceUnavailable, "etcd: no connection to unix://", "Open vSwitch: no connection yet"))
	h.StartDB()
	eventually(t, "it has OVSDB", says(http.StatusServiceUnavailable, "etcd: ", "Open vSwitch: no connection to the bridge, for flows\n", "for packets"))
	if status, body := h.page(metrics.HealthPath); status != http.StatusOK || body != "ok\n" {
		t.Errorf("meanwhile its health is %d %q", status, body)
	}
	if got := h.scrape(metrics.NodePath); got["tuplenet_ready"] != 0 || got[`tuplenet_scrape_success{source="loop"}`] != 0 || !has(got, "tuplenet_etcd_connected") {
		t.Errorf("meanwhile it tells %v", got)
	}
	if status, body := h.page(metrics.PortsPath); status != http.StatusServiceUnavailable || !strings.Contains(body, "not ready yet") {
		t.Errorf("meanwhile of ports it tells %d %q", status, body)
	}
	s.startEtcd()
	eventually(t, "only the bridge is missing", func() bool {
		status, body := h.page(metrics.ReadyPath)
		return status == http.StatusServiceUnavailable && !strings.Contains(body, "etcd") && strings.Contains(body, "flows: the bridge does not have all of them yet")
	})
	h.StartVswitchd()
	eventually(t, "it is ready", says(http.StatusOK, "ready"))
	s.server.Stop()
	eventually(t, "etcd is missing", says(http.StatusServiceUnavailable, "etcd: no connection"))
	s.startEtcd()
	h.StopVswitchd()
	h.StartVswitchd()
	eventually(t, "it is ready again", func() bool {
		got := h.scrape(metrics.NodePath)
		// With Open vSwitch the way to etcd may have changed: it is taken anew, too.
		return got["tuplenet_ready"] == 1 && got["tuplenet_etcd_reconnects_total"] >= 1 && got[`tuplenet_openvswitch_reconnects_total{connection="flows"}`] == 1 &&
			got[`tuplenet_openvswitch_reconnects_total{connection="ovsdb"}`] == 0
	})
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	if status, _ := h.page(metrics.HealthPath); status != 0 {
		t.Errorf("an agent that has stopped answers %d", status)
	}
}

// What a flow has counted stays in the sum when it goes.
func TestDropCounts(t *testing.T) {
	var d dropCounts
	lookup, arp := dropReason{"switch-lookup", "no-destination"}, dropReason{"switch-arp", "no-destination"}
	reasons := map[uint64]dropReason{1: lookup, 2: lookup, 3: arp}
	for _, step := range []struct {
		packets     map[uint64]uint64
		lookup, arp uint64
	}{
		{map[uint64]uint64{1: 5, 2: 7, 3: 0}, 12, 0},
		{map[uint64]uint64{1: 6, 2: 7, 3: 1}, 13, 1},
		{nil, 13, 1},                           // Open vSwitch does not answer
		{map[uint64]uint64{1: 6, 3: 1}, 13, 1}, // a flow has gone
		{map[uint64]uint64{1: 2, 3: 4}, 15, 4}, // Open vSwitch was started anew
	} {
		d.take(reasons, step.packets)
		if got, want := d.all(), map[dropReason]uint64{lookup: step.lookup, arp: step.arp}; !maps.Equal(got, want) {
			t.Errorf("after %v: %v, want %v", step.packets, got, want)
		}
	}
}

// Where etcd is shown a certificate, its end is told.
func TestCertificateExpiry(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-2 * time.Hour), NotAfter: end}
	public, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := store.Config{CertFile: filepath.Join(t.TempDir(), "cert.pem"), KeyFile: filepath.Join(t.TempDir(), "cert.key")}
	if err := errors.Join(os.WriteFile(cfg.CertFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o600),
		os.WriteFile(cfg.KeyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600)); err != nil {
		t.Fatal(err)
	}
	expiry := func(cfg store.Config) (value float64, told bool) {
		st, err := store.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		s := scraper{a: &agent{Config: Config{Store: st}}}
		s.putEtcd(func(m metrics.Metric, v float64, _ ...string) {
			if m == metrics.CertificateExpiry {
				value, told = v, true
			}
		})
		return value, told
	}
	if got, told := expiry(cfg); !told || got != float64(end.Unix()) {
		t.Errorf("got %v, %v, want %d", got, told, end.Unix())
	}
	if got, told := expiry(store.Config{}); told {
		t.Errorf("without a certificate: %v", got)
	}
}
