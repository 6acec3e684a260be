package config

import (
	"log/slog"
	"strings"

	"tuplenet/internal/agent"
	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
)

// Config is what settings say, in the types of those who use it. Settings that were
// not resolved are zero.
type Config struct {
	Etcd store.Config

	Interface string // where the tunnels' address is, see agent.TunnelAddress
	RunDir    string
	OVS       ovs.Config

	Gateway bool // this host is an edge
	agent.Settings

	Metrics   string // HOST:PORT; empty for none
	LogDir    string // empty for standard error
	LogLevel  slog.Level
	LogFormat string // text or json
}

// Setting is one thing that can be set.
type Setting struct {
	Key     string   // in the file
	Flag    string   // without dashes
	Aliases []string // of the flag
	Env     string   // variable of the environment
	Group   string   // of settings that concern one thing
	Default string   // as Value.Text; empty if it has none
	From    string   // key of an earlier setting, whose value is the default
	Instead string   // what stands for a default that is neither, in words

	Switch bool // on or off: true or false
	List   bool // has several parts, with commas between, or a list in the file
	Live   bool // is taken over while the agent runs

	Usage string // a line, in which backquotes hold a word for the value
	Wants string // what values there are, as the end of a sentence; empty for any

	set  func(to *Config, text string) bool // false if the text is none that it wants
	mask func(text string) string           // what others may see of it; nil for all
}

// The groups of settings, in the order of the table.
const (
	groupEtcd    = "etcd"
	groupHost    = "This host"
	groupForward = "Forwarding"
	groupBFD     = "Liveness of edges"
	groupIPFIX   = "IPFIX"
	groupLog     = "Log and metrics"
)

// text is the set of a setting that takes any text.
func text(field func(*Config) *string) func(*Config, string) bool {
	return func(to *Config, v string) bool { *field(to) = v; return true }
}

// on is the set of a Switch.
func on(field func(*Config) *bool) func(*Config, string) bool {
	return func(to *Config, v string) bool { *field(to) = v == "true"; return true }
}

// Etcd are the settings of how etcd is reached. The flag of the endpoints has the
// name and the alias given: the agent's is --host, -a.
func Etcd(flag, alias string) []Setting {
	return complete(groupEtcd, []Setting{
		{Key: "endpoints", Flag: flag, Aliases: []string{alias}, Env: "TUPLENET_ENDPOINTS", Default: "localhost:2379", List: true,
			Usage: "`HOST:PORT` of etcd, or a URL; several are separated by commas",
			Wants: "HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH, or several with commas between", set: setEndpoints},
		{Key: "prefix", Aliases: []string{"p"}, Env: "TUPLENET_PREFIX", Default: "/tuplenet",
			Usage: "`PREFIX` of TupleNet's keys in etcd", set: text(func(c *Config) *string { return &c.Etcd.Prefix })},
		{Key: "cacert", Env: "TUPLENET_CACERT",
			Usage: "PEM `FILE` with the authority that etcd's certificate is verified by; turns TLS on", set: text(func(c *Config) *string { return &c.Etcd.CAFile })},
		{Key: "cert", Env: "TUPLENET_CERT",
			Usage: "PEM `FILE` with the certificate to show to etcd", set: text(func(c *Config) *string { return &c.Etcd.CertFile })},
		{Key: "key", Env: "TUPLENET_KEY",
			Usage: "PEM `FILE` with the key of that certificate", set: text(func(c *Config) *string { return &c.Etcd.KeyFile })},
		{Key: "user", Env: "TUPLENET_USER",
			Usage: "`NAME[:PASSWORD]` of etcd's user", set: text(func(c *Config) *string { return &c.Etcd.Username }), mask: maskPassword},
		{Key: "password", Env: "TUPLENET_PASSWORD",
			Usage: "`PASSWORD` of that user; better kept in the environment or the file, as others see a command line",
			set:   text(func(c *Config) *string { return &c.Etcd.Password }), mask: func(string) string { return "***" }},
	})
}

// Interface is the setting of where the tunnels' address is.
func Interface() []Setting {
	return complete(groupHost, []Setting{
		{Key: "interface", Aliases: []string{"f"}, Env: "TUPLENET_INTERFACE", Default: "eth0,br0", List: true,
			Usage: "`ADDRESS` of the tunnels, or the interface that has it, also when it changes; of several, separated by commas, the first with an address",
			set:   text(func(c *Config) *string { return &c.Interface })},
	})
}

// Host are the settings of where an agent and its Open vSwitch have their files.
func Host() []Setting {
	return complete(groupHost, []Setting{
		{Key: "rundir", Env: "TUPLENET_RUNDIR", Default: "/var/run/tuplenet",
			Usage: "`DIRECTORY` of the agent's pid file and state, on a file system that ends with the machine; an agent is alone there",
			set:   text(func(c *Config) *string { return &c.RunDir })},
		{Key: "ovs_rundir", Env: "OVS_RUNDIR", Default: "/var/run/openvswitch",
			Usage: "`DIRECTORY` of Open vSwitch's sockets", set: text(func(c *Config) *string { return &c.OVS.RunDir })},
		{Key: "ovsdb", Env: "TUPLENET_OVSDB_PATH", Instead: "db.sock in ovs_rundir",
			Usage: "`SOCKET` of ovsdb-server", set: setDatabase},
	})
}

// Agent are all settings of an agent.
func Agent() []Setting {
	all := Etcd("host", "a")
	all = append(all, Interface()...)
	all = append(all, Host()...)
	all = append(all, complete(groupForward, []Setting{
		{Key: "gateway", Env: "GATEWAY", Default: "false", Switch: true, Live: true,
			Usage: "this host is an edge, as in the mode gateway: it makes the flows of the whole topology", set: on(func(c *Config) *bool { return &c.Gateway })},
		{Key: "on_demand", Env: "ONDEMAND", Default: "true", Switch: true, Live: true,
			Usage: "flows to ports on other hosts are made when traffic goes there (the default, except on an edge), and not all of them at once",
			set:   on(func(c *Config) *bool { return &c.OnDemand })},
		{Key: "idle", Env: "ONDEMAND_IDLE", Default: "300", Live: true,
			Usage: "`SECONDS`, 1 to 86400, after which flows made on demand go, if no packet has met them", Wants: "seconds from 1 to 86400", set: setIdle},
		{Key: "redirect", Env: "ENABLE_REDIRECT", Default: "true", Switch: true, Live: true,
			Usage: "edges forward what this host cannot deliver itself (the default)", set: on(func(c *Config) *bool { return &c.Redirect })},
		{Key: "untunnel", Env: "ENABLE_UNTUNNEL", Default: "false", Switch: true, Live: true,
			Usage: "what goes to the physical network leaves by this host's own stack instead of by an edge", set: on(func(c *Config) *bool { return &c.Untunnel })},
		{Key: "hash_fn", Env: "HASH_FN", Default: "nw_dst", Live: true,
			Usage: "`FIELDS` that choose among equal routes: " + strings.Join(hashNames(), ", "), Wants: "one of " + strings.Join(hashNames(), ", "), set: setHash},
	})...)
	all = append(all, complete(groupBFD, []Setting{
		{Key: "bfd_interval", Env: "BFD_INTERVAL", Default: "200", Live: true, Wants: wantsBFD,
			Usage: "`MS`, 10 to 60000, between BFD packets, at least; an edge is given up after three", set: setBFD(nil)},
		{Key: "bfd_min_rx", Env: "BFD_MIN_RX", From: "bfd_interval", Live: true, Wants: wantsBFD,
			Usage: "`MS` between the BFD packets that this host receives, where that is to differ", set: setBFD(func(c *Config) *int { return &c.BFDMinRx })},
		{Key: "bfd_min_tx", Env: "BFD_MIN_TX", From: "bfd_interval", Live: true, Wants: wantsBFD,
			Usage: "`MS` between those that it sends", set: setBFD(func(c *Config) *int { return &c.BFDMinTx })},
	})...)
	all = append(all, complete(groupIPFIX, []Setting{
		{Key: "ipfix_collector", Env: "IPFIX_COLLECTOR", List: true, Live: true,
			Usage: "`IP:PORT` that Open vSwitch tells of packets, by IPFIX over UDP; several with commas between; without it nobody is told",
			Wants: "IP:PORT such as 192.0.2.9:4739, or several with commas between", set: setCollectors},
		{Key: "ipfix_sampling", Env: "IPFIX_SAMPLING_RATE", Default: "64", Live: true,
			Usage: "`N`: it tells of one packet in N, by chance; 1 for every packet", Wants: "a number from 1, every packet, to 4294967295", set: setSampling},
	})...)
	return append(all, complete(groupLog, []Setting{
		{Key: "log_dir", Flag: "log", Aliases: []string{"l"}, Env: "TUPLENET_LOGDIR",
			Usage: "`DIRECTORY` of tuplenet.log, which is rotated at 50 MB; without it the log goes to standard error", set: text(func(c *Config) *string { return &c.LogDir })},
		{Key: "log_level", Env: "TUPLENET_LOG_LEVEL", Default: "info", Live: true,
			Usage: "`LEVEL`: debug, info, warn or error", Wants: "debug, info, warn or error", set: setLevel},
		{Key: "log_format", Env: "TUPLENET_LOG_FORMAT", Default: "text",
			Usage: "`FORMAT`: text or json", Wants: "text or json", set: setFormat},
		{Key: "metrics", Env: "TUPLENET_METRICS",
			Usage: "`ADDRESS:PORT` to serve /metrics in Prometheus' format, /healthz and /readyz on; PORT alone is for this machine; without it there are none",
			Wants: "ADDRESS:PORT, or PORT for this machine alone; such as 127.0.0.1:9481, 9481, or 0.0.0.0:9481 for all addresses", set: setMetrics},
	})...)
}

// complete fills in what the settings of a group leave out.
func complete(group string, settings []Setting) []Setting {
	for i := range settings {
		s := &settings[i]
		s.Group = group
		if s.Flag == "" {
			s.Flag = strings.ReplaceAll(s.Key, "_", "-")
		}
		if s.Switch {
			s.Wants = "true or false"
		}
	}
	return settings
}
