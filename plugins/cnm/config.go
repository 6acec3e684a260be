package cnm

import (
	"net/netip"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
)

// Where things are unless the configuration says otherwise.
const (
	DefaultConfig  = "/etc/tuplenet/cnm.json"
	defaultSocket  = "/run/docker/plugins/tuplenet.sock" // where Docker looks for the plugin tuplenet
	defaultDocker  = "/var/run/docker.sock"
	defaultRunDir  = "/var/run/tuplenet"
	defaultPrefix  = "/tuplenet"
	defaultCluster = "localhost:2379"
)

// Config is the plugin's configuration file, JSON as in TupleNet's tutorial.
type Config struct {
	EtcdCluster     string `json:"etcd_cluster"` // host:port, several separated by commas
	DataStorePrefix string `json:"data_store_prefix"`
	EtcdCACert      string `json:"etcd_cacert"`
	EtcdCert        string `json:"etcd_cert"`
	EtcdKey         string `json:"etcd_key"`
	EtcdUser        string `json:"etcd_user"` // name:password

	DockerSocket string `json:"docker_unix_sock"`
	Socket       string `json:"socket"` // that Docker finds the plugin at
	Scope        string `json:"scope"`  // local or global; empty: as the engine has a cluster store or not

	EgressRouter string `json:"egress_router_name"` // that networks are linked to; empty: none
	Bridge       string `json:"bridge"`             // empty: the agent's
	MTU          int    `json:"mtu"`                // 0: what the host's tunnels allow
	PortSecurity *bool  `json:"port_security"`      // nil: on
	Wait         int    `json:"wait"`               // seconds for the flows of an endpoint
	RunDir       string `json:"rundir"`             // of the agent

	// AddressPools are what subnets come from that nobody names, as in Docker's
	// own default-address-pools.
	AddressPools []AddressPool `json:"default_address_pools"`

	LogLevel string `json:"log_level"` // debug, info, warn or error
}

// AddressPool is a network that is divided into subnets.
type AddressPool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"` // prefix length of a subnet
}

// Store returns the configuration's access to etcd.
func (c Config) Store() store.Config { return store.Config{} }

// etcd returns the same for the agent.
func (c Config) etcd() *attach.Etcd { return nil }
