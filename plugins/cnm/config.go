package cnm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// Where things are unless the configuration says otherwise. Of etcd package store
// knows that.
const (
	DefaultConfig = "/etc/tuplenet/cnm.json"
	defaultSocket = "/run/docker/plugins/tuplenet.sock" // where Docker looks for the plugin tuplenet
	defaultDocker = "/var/run/docker.sock"
	defaultRunDir = "/var/run/tuplenet"
)

// What a configuration may ask for.
const (
	defaultWait = 10 // seconds
	maxWait     = 300
	minMTU      = 68 // RFC 791: every network can carry that
	maxMTU      = 65535
	minBits     = 16 // of a subnet: ports of a switch are told apart by 16 bits
	maxBits     = 30 // a gateway and a container
	maxConfig   = 1 << 20
)

// defaultPools are outside of what Docker takes by default (172.16.0.0/12 and
// 192.168.0.0/16), and Kubernetes (10.96.0.0/12 and 10.244.0.0/16), and far from
// where a swarm begins (10.0.0.0/8).
var defaultPools = []AddressPool{{Base: netip.MustParsePrefix("10.160.0.0/12"), Size: 24}}

// Config is the plugin's configuration file, JSON as in TupleNet's tutorial. The
// tag want says what a value has to be, for errors.
type Config struct {
	EtcdCluster     string `json:"etcd_cluster" want:"HOST:PORT, several separated by commas"`
	DataStorePrefix string `json:"data_store_prefix" want:"a path that begins with \"/\", such as /tuplenet"`
	EtcdCACert      string `json:"etcd_cacert" want:"an absolute path"`
	EtcdCert        string `json:"etcd_cert" want:"an absolute path"`
	EtcdKey         string `json:"etcd_key" want:"an absolute path"`
	EtcdUser        string `json:"etcd_user" want:"NAME:PASSWORD"`

	DockerSocket string `json:"docker_unix_sock" want:"an absolute path"`
	Socket       string `json:"socket" want:"an absolute path"`                                  // that Docker finds the plugin at
	Scope        string `json:"scope" want:"\"local\" or \"global\"; left out, Docker is asked"` // empty: as the engine has a cluster store or not

	EgressRouter string `json:"egress_router_name" want:"the name of a logical router"`                 // that networks are linked to; empty: none
	Bridge       string `json:"bridge" want:"the name of the agent's bridge of Open vSwitch"`           // empty: the agent's
	MTU          int    `json:"mtu" want:"68 to 65535 bytes, or 0 for what the host's tunnels allow"`   //
	PortSecurity *bool  `json:"port_security" want:"true or false"`                                     // nil: on
	Wait         int    `json:"wait" want:"1 to 300 seconds"`                                           // for the flows of an endpoint
	RunDir       string `json:"rundir" want:"an absolute path, the run directory of this host's agent"` //

	// AddressPools are what subnets come from that nobody names, as in Docker's
	// own default-address-pools.
	AddressPools []AddressPool `json:"default_address_pools" want:"such as [{\"base\": \"10.160.0.0/12\", \"size\": 24}]: IPv4 networks, and how long the prefix of a subnet is, 16 to 30"`

	LogLevel string `json:"log_level" want:"\"debug\", \"info\", \"warn\" or \"error\""`
}

// AddressPool is a network that is divided into subnets.
type AddressPool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"` // prefix length of a subnet
}

// ReadConfig reads a configuration file, fills in what it leaves out, and refuses
// what cannot work. Its errors name the file and the key.
func ReadConfig(path string) (Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration of tpcnm: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration of tpcnm: %w", err)
	}
	c, err := parseConfig(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func parseConfig(text []byte) (Config, error) {
	var c Config
	if err := c.decode(text); err != nil {
		return Config{}, err
	}
	c.Socket = cmp.Or(c.Socket, defaultSocket)
	c.DockerSocket = cmp.Or(c.DockerSocket, defaultDocker)
	c.RunDir = cmp.Or(c.RunDir, os.Getenv("TUPLENET_RUNDIR"), defaultRunDir)
	c.Wait = cmp.Or(c.Wait, defaultWait)
	c.LogLevel = cmp.Or(c.LogLevel, "info")
	if c.AddressPools == nil {
		c.AddressPools = defaultPools
	}
	return c, c.check()
}

// decode reads each key for itself, so that an error can name it. Keys are what
// they are, in small letters.
func (c *Config) decode(text []byte) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(text, &given); err != nil || given == nil {
		return notJSON(text, err)
	}
	fields := map[string]reflect.StructField{}
	for f := range reflect.TypeFor[Config]().Fields() {
		fields[f.Tag.Get("json")] = f
	}
	values := reflect.ValueOf(c).Elem()
	for _, key := range slices.Sorted(maps.Keys(given)) {
		field, ok := fields[key]
		if !ok {
			return fmt.Errorf("unknown key %q%s", key, suggest.Among(key, slices.Sorted(maps.Keys(fields))))
		}
		in := json.NewDecoder(bytes.NewReader(given[key]))
		in.DisallowUnknownFields()
		if in.Decode(values.FieldByIndex(field.Index).Addr().Interface()) != nil {
			return wrong(key, string(given[key]))
		}
	}
	return nil
}

// notJSON says why a text is no object of JSON, and where.
func notJSON(text []byte, err error) error {
	if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
		line := 1 + bytes.Count(text[:min(int(e.Offset), len(text))], []byte("\n"))
		return fmt.Errorf("line %d is no JSON: %s", line, e)
	}
	return errors.New("it is no JSON object, {...}")
}

// wrong is the error of a key whose value is not what it has to be.
func wrong(key, value string) error {
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.Tag.Get("json") != key {
			continue
		}
		if key == "etcd_user" { // which has a password
			return fmt.Errorf("invalid %s, want %s", key, f.Tag.Get("want"))
		}
		return fmt.Errorf("invalid %s %s, want %s", key, value, f.Tag.Get("want"))
	}
	panic("no such key: " + key)
}

// check says what is wrong with values.
func (c Config) check() error {
	if err := c.access().CheckEtcd(); err != nil {
		return err
	}
	for key, path := range map[string]string{"docker_unix_sock": c.DockerSocket, "socket": c.Socket, "rundir": c.RunDir} {
		if !filepath.IsAbs(path) {
			return wrong(key, fmt.Sprintf("%q", path))
		}
	}
	for key, name := range map[string]string{"egress_router_name": c.EgressRouter, "bridge": c.Bridge} {
		if name != "" && topology.CheckName(name) != nil {
			return wrong(key, fmt.Sprintf("%q", name))
		}
	}
	switch {
	case c.Scope != "" && c.Scope != string(store.ScopeLocal) && c.Scope != string(store.ScopeGlobal):
		return wrong("scope", fmt.Sprintf("%q", c.Scope))
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return wrong("mtu", fmt.Sprint(c.MTU))
	case c.Wait < 1 || c.Wait > maxWait:
		return wrong("wait", fmt.Sprint(c.Wait))
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel):
		return wrong("log_level", fmt.Sprintf("%q", c.LogLevel))
	}
	for _, p := range c.AddressPools {
		if !p.Base.IsValid() || !p.Base.Addr().Is4() || p.Size < max(minBits, p.Base.Bits()) || p.Size > maxBits {
			return wrong("default_address_pools", fmt.Sprintf(`with base "%s" and size %d`, p.Base, p.Size))
		}
	}
	return nil
}

// access returns the configuration's keys about etcd, which tpcni has, too.
func (c Config) access() *cni.Config {
	return &cni.Config{Endpoints: c.EtcdCluster, Prefix: c.DataStorePrefix, CAFile: c.EtcdCACert, CertFile: c.EtcdCert, KeyFile: c.EtcdKey, User: c.EtcdUser}
}

// Store returns the configuration's access to etcd.
func (c Config) Store() store.Config {
	e := cmp.Or(c.etcd(), &attach.Etcd{})
	return store.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Username: e.Username, Password: e.Password}
}

// etcd returns the same for the agent, nil if the configuration says nothing of
// etcd: then the agent's own access is meant.
func (c Config) etcd() *attach.Etcd { return c.access().Etcd() }

// Level returns what the log has to tell.
func (c Config) Level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // else the zero Level, info
	return level
}

// secured reports whether ports are secured unless a network says otherwise.
func (c Config) secured() bool { return c.PortSecurity == nil || *c.PortSecurity }

// flowsPatience is how long the flows of an endpoint are waited for.
func (c Config) flowsPatience() time.Duration {
	return time.Duration(cmp.Or(c.Wait, defaultWait)) * time.Second
}
