package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one of the figures.
type Metric int

// The figures, in the order of their reference. To add one, add a line here and
// one to catalog, have internal/agent put it, and make the reference anew
// (go test ./internal/metrics -update).
const (
	BuildInfo Metric = iota
	ChassisInfo
	Ready
	Contended
	ScrapeSuccess
	ScrapeLoopSeconds

	EtcdConnected
	EtcdReconnects
	EtcdSnapshots
	EtcdRevision
	FlowsRevision
	CertificateExpiry

	Objects
	ObjectsIgnored
	ObjectsInvalid
	Problems

	RuleRuns
	Flows
	FlowsInSync
	FlowsRefused
	FlowChanges
	FlowApplies
	FlowApplySeconds
	FlowSyncs
	Demands

	OVSConnected
	OVSReconnects
	Interfaces
	WaysOut
	Tunnels
	BFDPeers
	BFDUp
	BFDFlaps

	DroppedPackets
	ForeignPackets
	PacketIn
	PacketInDropped
	ICMPErrors
	ErrandPackets
	Neighbours
	NeighbourEvents
	NeighbourPackets
	ARPRequests

	NATConnections
	NATLimit

	PortReceiveBytes
	PortReceivePackets
	PortReceiveDropped
	PortReceiveErrors
	PortTransmitBytes
	PortTransmitPackets
	PortTransmitDropped
	PortTransmitErrors

	count // of metrics
)

// info describes a metric to Prometheus and to people.
type info struct {
	name   string
	typ    prometheus.ValueType
	labels string // with blanks
	help   string // one sentence; of a series more than one of which there are, with what tells them apart
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// firstOfPorts is where the figures begin that are not served with the others.
const firstOfPorts = PortReceiveBytes

var catalog = [count]info{
	BuildInfo:         {"tuplenet_build_info", gauge, "version goversion", "1, with the version of the program and that of Go."},
	ChassisInfo:       {"tuplenet_chassis_info", gauge, "chassis tunnel_ip role", "1, with the system-id of this node, the address of its tunnels, and its role: edge if a router is pinned to it, else node."},
	Ready:             {"tuplenet_ready", gauge, "", "1 if /readyz finds nothing missing."},
	Contended:         {"tuplenet_system_id_contended", gauge, "", "1 if another host was refused of late because it has this host's system-id; the log names it."},
	ScrapeSuccess:     {"tuplenet_scrape_success", gauge, "source", "1 if a source of these figures answered in time: the agent's loop, the bridge's flows, conntrack. Otherwise what it would have told is missing, or as it was."},
	ScrapeLoopSeconds: {"tuplenet_scrape_loop_seconds", gauge, "", "How long the agent's loop was held up by this scrape."},

	EtcdConnected:     {"tuplenet_etcd_connected", gauge, "", "1 while the agent follows what changes in etcd."},
	EtcdReconnects:    {"tuplenet_etcd_reconnects_total", counter, "", "How often the agent began to follow etcd again."},
	EtcdSnapshots:     {"tuplenet_etcd_snapshots_total", counter, "", "How often the agent read the whole topology, the first time included."},
	EtcdRevision:      {"tuplenet_etcd_revision", gauge, "", "etcd's revision, as it told last."},
	FlowsRevision:     {"tuplenet_flows_revision", gauge, "", "The revision of etcd that the flows in the bridge show; what it is behind tuplenet_etcd_revision is the lag."},
	CertificateExpiry: {"tuplenet_etcd_certificate_expiry_timestamp_seconds", gauge, "", "When the certificate expires that etcd is shown, in Unix time; missing where there is none."},

	Objects:        {"tuplenet_objects", gauge, "kind", "Objects that the agent knows, by kind; those of etcd, and the interfaces, tunnels and neighbours of this node."},
	ObjectsIgnored: {"tuplenet_objects_ignored", gauge, "kind", "Objects in etcd that do not count because another one has the same name, id, address or MAC, by kind; tpctl check names them."},
	ObjectsInvalid: {"tuplenet_objects_invalid", gauge, "", "Values in etcd that cannot be read; tpctl check names them."},
	Problems:       {"tuplenet_problems", gauge, "", "Objects in etcd that cannot work as they are stored; the log and tpctl status name them."},

	RuleRuns:         {"tuplenet_rule_runs_total", counter, "", "Runs of rules of the flow compiler: its work."},
	Flows:            {"tuplenet_flows", gauge, "table", "Flows that the bridge is to have, by table."},
	FlowsInSync:      {"tuplenet_flows_in_sync", gauge, "", "1 while the bridge can be reached and has the flows that it was given."},
	FlowsRefused:     {"tuplenet_flows_refused", gauge, "", "Flows that Open vSwitch has refused since they were last compared as a whole; the log names them."},
	FlowChanges:      {"tuplenet_flow_changes_total", counter, "change", "Flows that were put (added or given other actions) or deleted."},
	FlowApplies:      {"tuplenet_flow_applies_total", counter, "", "Changes of the topology that changed flows in the bridge."},
	FlowApplySeconds: {"tuplenet_flow_apply_seconds_total", counter, "", "Time that Open vSwitch took to make the changes of tuplenet_flow_applies_total."},
	FlowSyncs:        {"tuplenet_flow_syncs_total", counter, "", "How often the flows in the bridge were compared as a whole with those that it is to have: at the start, and whenever the bridge or its flows were lost."},
	Demands:          {"tuplenet_demands", gauge, "", "Ports on other chassis that traffic goes to, on a node on demand."},

	OVSConnected:  {"tuplenet_openvswitch_connected", gauge, "connection", "1 while a connection to Open vSwitch stands: ovsdb, and over OpenFlow flows and packets."},
	OVSReconnects: {"tuplenet_openvswitch_reconnects_total", counter, "connection", "How often a connection to Open vSwitch was made again."},
	Interfaces:    {"tuplenet_interfaces", gauge, "state", "Interfaces of the bridge that name a port, by what became of them: bound; claiming, which etcd does not know of yet; yielded to another chassis."},
	WaysOut:       {"tuplenet_ways_out", gauge, "link", "Ways from here to the physical network, by whether they have a link: up or down."},
	Tunnels:       {"tuplenet_tunnels", gauge, "", "Chassis that a tunnel leads to."},
	BFDPeers:      {"tuplenet_bfd_peers", gauge, "state", "Chassis that BFD watches, by state: up, down, or refusing, which can be reached and says that it cannot forward."},
	BFDUp:         {"tuplenet_bfd_up", gauge, "peer", "1 if BFD finds the way to a chassis alive and able to forward."},
	BFDFlaps:      {"tuplenet_bfd_flaps_total", counter, "peer", "How often BFD found that otherwise than before, as Open vSwitch counts it."},

	DroppedPackets:   {"tuplenet_dropped_packets_total", counter, "table reason", "Packets that flows dropped, by the table and the reason, in the words of tpctl trace; what a flow counted between the last scrape and its end is missing."},
	ForeignPackets:   {"tuplenet_foreign_packets_total", counter, "", "Frames of the physical network that are for nobody here; they are no drops."},
	PacketIn:         {"tuplenet_packet_in_total", counter, "reason", "Packets that flows sent to the agent, by what for."},
	PacketInDropped:  {"tuplenet_packet_in_dropped_total", counter, "", "Packets that the agent had no room for; their senders try again."},
	ICMPErrors:       {"tuplenet_icmp_errors_total", counter, "reason", "ICMP errors that the agent sent in a router's name, by reason."},
	ErrandPackets:    {"tuplenet_errand_packets_total", counter, "outcome", "What else the agent did for routers: packets fragmented, ICMP errors about floating IPs translated, and packets that no ICMP error may be sent about (refused)."},
	Neighbours:       {"tuplenet_neighbours", gauge, "", "Machines of the physical network whose MAC is known."},
	NeighbourEvents:  {"tuplenet_neighbour_events_total", counter, "event", "What became of machines of the physical network: learned; aged, that stopped answering; evicted to make room; and ARP that was ignored."},
	NeighbourPackets: {"tuplenet_neighbour_packets_total", counter, "outcome", "Packets that waited in vain for the MAC of a next hop: unreachable, which did not answer, or dropped to make room."},
	ARPRequests:      {"tuplenet_arp_requests_total", counter, "", "ARP requests that the agent sent to the physical network."},

	NATConnections: {"tuplenet_nat_connections", gauge, "router type", "Translated connections of a router on this node, by type of rule."},
	NATLimit:       {"tuplenet_nat_connections_limit", gauge, "router type", "How many there can be: what the external addresses have ports for."},

	PortReceiveBytes:    {"tuplenet_port_receive_bytes_total", counter, "switch port", "Bytes that the workload behind a port received, those of its child ports included."},
	PortReceivePackets:  {"tuplenet_port_receive_packets_total", counter, "switch port", "Packets that it received."},
	PortReceiveDropped:  {"tuplenet_port_receive_dropped_packets_total", counter, "switch port", "Packets to it that its interface had no room for."},
	PortReceiveErrors:   {"tuplenet_port_receive_errors_total", counter, "switch port", "Packets to it that its interface failed to deliver."},
	PortTransmitBytes:   {"tuplenet_port_transmit_bytes_total", counter, "switch port", "Bytes that the workload behind a port sent, those of its child ports included."},
	PortTransmitPackets: {"tuplenet_port_transmit_packets_total", counter, "switch port", "Packets that it sent."},
	PortTransmitDropped: {"tuplenet_port_transmit_dropped_packets_total", counter, "switch port", "Packets from it that its interface had no room for."},
	PortTransmitErrors:  {"tuplenet_port_transmit_errors_total", counter, "switch port", "Packets from it that came in damaged."},
}

// String returns the metric's name.
func (m Metric) String() string { return catalog[m].name }

// Labels returns the names of the metric's labels.
func (m Metric) Labels() []string { return strings.Fields(catalog[m].labels) }

// OfPorts reports whether the metric is one of those of ports, on a page of their
// own.
func (m Metric) OfPorts() bool { return m >= firstOfPorts }

// All returns all metrics, in the order of their reference.
func All() []Metric {
	all := make([]Metric, count)
	for i := range all {
		all[i] = Metric(i)
	}
	return all
}

// Reference describes the metrics in Markdown: a table each for the two pages.
func Reference() string {
	var b strings.Builder
	for _, ports := range []bool{false, true} {
		path := NodePath
		if ports {
			path = PortsPath
		}
		fmt.Fprintf(&b, "### %s\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n", path)
		for _, m := range All() {
			if m.OfPorts() != ports {
				continue
			}
			i := catalog[m]
			typ := "gauge"
			if i.typ == counter {
				typ = "counter"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", i.name, typ, strings.ReplaceAll(i.labels, " ", ", "), i.help)
		}
		b.WriteString("\n")
	}
	return b.String()
}
