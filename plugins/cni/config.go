package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"cni.tuplenet/attach"
)

const (
	defaultRunDir = "/var/run/tuplenet"
	defaultWait   = 10 // seconds
	maxWait       = 300
	minMTU        = 68 // RFC 791: every network can carry that
	maxMTU        = 65535
	minSubnetBits = 16 // ports of a switch are told apart by 16 bits
	maxSubnetBits = 30 // a gateway and a container
)

// Config is a network configuration, as a runtime hands it to the plugin. The
// tags are its keys; docs/kubernetes.md says what they are for.
type Config struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Type       string `json:"type"`

	MTU      int              `json:"mtu"` // bytes; 0: the agent's
	Switch   string           `json:"switchname"`
	Subnet   string           `json:"subnet"`   // with the gateway as its host part
	Reserved []string         `json:"reserved"` // addresses and networks not given out
	Switches []Switch         `json:"switches"` // instead of the three
	Routes   *[]types.Route   `json:"routes"`   // nil: a default route
	DNS      types.DNS        `json:"dns"`
	IPAM     *json.RawMessage `json:"ipam"` // refused

	Endpoints string `json:"etcd_cluster"` // separated by commas
	Prefix    string `json:"data_store_prefix"`
	CAFile    string `json:"etcd_cacert"`
	CertFile  string `json:"etcd_cert"`
	KeyFile   string `json:"etcd_key"`
	User      string `json:"etcd_user"` // name:password

	PortSecurity *bool  `json:"port_security"` // nil: true
	Wait         int    `json:"wait"`          // for flows, in seconds; 0: defaultWait
	RunDir       string `json:"rundir"`        // the agent's; ParseConfig fills it in

	// A host that is itself on a logical port has one of the first two, and the
	// name of its port.
	Underlay       string `json:"underlay"`
	UnderlayBridge string `json:"underlay_bridge"`
	Node           string `json:"node"`

	RuntimeConfig struct {
		IPs         []string          `json:"ips"`
		MAC         string            `json:"mac"`
		Annotations map[string]string `json:"io.kubernetes.cri.pod-annotations"`
	} `json:"runtimeConfig"`
	Args struct {
		CNI struct {
			IPs    []string `json:"ips"`
			MAC    string   `json:"mac"`
			Switch string   `json:"switch"`
		} `json:"cni"`
	} `json:"args"`

	// Previous is the result of the plugin before this one in a chain, or for
	// CHECK and DEL that of ADD. All versions that we support write it alike.
	Previous *types100.Result     `json:"prevResult"`
	Valid    []types.GCAttachment `json:"cni.dev/valid-attachments"`
	OldValid []types.GCAttachment `json:"cni.dev/attachments"` // Valid, as libcni 1.2.0 to 1.2.2 names it; ParseConfig moves it there

	mistake error    // the first in a value, for Validate
	unknown []string // keys that are none of these
}

// Switch is one of several logical switches.
type Switch struct {
	Name     string   `json:"switchname"`
	Subnet   string   `json:"subnet"`
	Reserved []string `json:"reserved"`
}

// ParseConfig decodes a network configuration. DEL and GC make do with that, so
// that a mistake is an error only where they need the value; what makes something
// new validates it, too.
func ParseConfig(text []byte) (*Config, error) {
	c := &Config{}
	if err := c.decode(text); err != nil {
		return nil, err
	}
	if c.RunDir == "" {
		c.RunDir = os.Getenv("TUPLENET_RUNDIR")
	}
	if c.RunDir == "" {
		c.RunDir = defaultRunDir
	}
	if c.Valid == nil {
		c.Valid = c.OldValid
	}
	if len(c.Switches) == 0 && c.Switch != "" {
		c.Switches = []Switch{{c.Switch, c.Subnet, c.Reserved}}
	}
	return c, nil
}

// IsUnderlay reports whether the host is on a logical port itself: there is no
// agent then.
func (c *Config) IsUnderlay() bool { return c.Underlay != "" || c.UnderlayBridge != "" }

// ID names the attachment of a container's interface to the network.
func (c *Config) ID(container, ifname string) attach.ID {
	return attach.ID{Network: c.Name, Container: container, Ifname: ifname}
}

// Secured reports whether port security is asked for.
func (c *Config) Secured() bool { return c.PortSecurity == nil || *c.PortSecurity }

// Patience is how long to wait for the flows of a port.
func (c *Config) Patience() time.Duration {
	if c.Wait == 0 {
		return defaultWait * time.Second
	}
	return time.Duration(c.Wait) * time.Second
}

// Etcd returns what the configuration says of etcd, nil if that is nothing.
func (c *Config) Etcd() *attach.Etcd {
	name, password, _ := strings.Cut(c.User, ":")
	e := &attach.Etcd{Prefix: c.Prefix, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Username: name, Password: password}
	for endpoint := range strings.SplitSeq(c.Endpoints, ",") {
		if endpoint = strings.TrimSpace(endpoint); endpoint != "" {
			e.Endpoints = append(e.Endpoints, endpoint)
		}
	}
	if c.Endpoints+c.Prefix+c.CAFile+c.CertFile+c.KeyFile+c.User == "" {
		return nil
	}
	return e
}

// wrong makes the error of a configuration that says something impossible.
func (c *Config) wrong(format string, a ...any) error {
	return attach.Errorf(attach.CodeConfig, "network %s: %s", c.Name, fmt.Sprintf(format, a...))
}

// Validate says what is wrong with a configuration that ParseConfig has returned.
func (c *Config) Validate() error {
	if c.mistake != nil {
		return c.mistake
	}
	if c.IPAM != nil && !isEmpty(*c.IPAM) {
		return attach.Errorf(attach.CodeUnsupported, `network %s: "ipam": %s is not supported: addresses come from the logical switch; remove it, and say "subnet" and "reserved"`, c.Name, *c.IPAM)
	}
	if err := c.checkKeys(); err != nil {
		return err
	}
	if err := c.checkSwitches(); err != nil {
		return err
	}
	if err := c.checkRoutes(); err != nil {
		return err
	}
	if err := c.CheckEtcd(); err != nil {
		return c.wrong("%s", err)
	}
	switch {
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return c.wrong("invalid mtu %d, want %d to %d bytes, or 0 for what the tunnels allow", c.MTU, minMTU, maxMTU)
	case c.Wait < 0 || c.Wait > maxWait:
		return c.wrong("invalid wait %d, want 1 to %d seconds", c.Wait, maxWait)
	case !filepath.IsAbs(c.RunDir):
		return c.wrong("invalid rundir %q, want an absolute path", c.RunDir)
	case c.Underlay != "" && c.UnderlayBridge != "":
		return c.wrong("underlay and underlay_bridge exclude each other")
	case c.IsUnderlay() && c.Node == "":
		return c.wrong("node is missing: the logical port that this host is plugged into")
	case !c.IsUnderlay() && c.Node != "":
		return c.wrong("node %q is for a host on a logical port: say with underlay, or underlay_bridge, what leads there", c.Node)
	}
	return c.checkPrevious()
}

// isEmpty reports whether a JSON value is null or an object without members.
func isEmpty(value json.RawMessage) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(value, &members) == nil && len(members) == 0
}

func (c *Config) checkSwitches() error {
	if c.Switch == "" && (c.Subnet != "" || len(c.Reserved) > 0) {
		return c.wrong("switchname is missing, which subnet and reserved are of")
	}
	if c.Switch != "" && (len(c.Switches) != 1 || c.Switches[0].Name != c.Switch) {
		return c.wrong("switchname and switches exclude each other")
	}
	for _, s := range c.Switches {
		if strings.TrimSpace(s.Name) == "" {
			return c.wrong("a logical switch in switches has no switchname")
		}
		if err := c.checkSubnet(s); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkSubnet(s Switch) error {
	var subnet netip.Prefix
	if s.Subnet != "" {
		var err error
		if subnet, err = netip.ParsePrefix(s.Subnet); err != nil || !subnet.Addr().Is4() || subnet.Bits() < minSubnetBits || subnet.Bits() > maxSubnetBits {
			return c.wrong("invalid subnet %q of switch %s, want the gateway's IPv4 address and a prefix length of %d to %d, such as 10.20.1.1/24", s.Subnet, s.Name, minSubnetBits, maxSubnetBits)
		}
	}
	for _, r := range s.Reserved {
		network, err := netip.ParsePrefix(r)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(r); err == nil {
				network = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil || !network.Addr().Is4() {
			return c.wrong("invalid reserved address %q of switch %s, want an IPv4 address or network", r, s.Name)
		}
		if subnet.IsValid() && !subnet.Overlaps(network) {
			return c.wrong("reserved address %s is outside of subnet %s of switch %s", r, s.Subnet, s.Name)
		}
	}
	return nil
}

func (c *Config) checkRoutes() error {
	if c.Routes == nil {
		return nil
	}
	for _, r := range *c.Routes {
		ones, bits := r.Dst.Mask.Size()
		if r.Dst.IP.To4() == nil || bits != 8*net.IPv4len {
			return c.wrong("routes: one has no IPv4 network as its dst")
		}
		if !r.Dst.IP.Mask(r.Dst.Mask).Equal(r.Dst.IP) {
			return c.wrong("routes: the dst %s is no network: it has host bits, want %s/%d or a longer prefix", &r.Dst, r.Dst.IP.Mask(r.Dst.Mask), ones)
		}
		if r.GW != nil && r.GW.To4() == nil {
			return c.wrong("routes: the gw %s of the route to %s is no IPv4 address", r.GW, &r.Dst)
		}
	}
	return nil
}

// CheckEtcd says which of the keys about etcd is wrong.
func (c *Config) CheckEtcd() error {
	if c.Endpoints != "" {
		for endpoint := range strings.SplitSeq(c.Endpoints, ",") {
			if err := checkEndpoint(strings.TrimSpace(endpoint)); err != nil {
				return fmt.Errorf("invalid endpoint %q in etcd_cluster, want HOST:PORT, several separated by commas: %s", endpoint, err)
			}
		}
	}
	for key, path := range map[string]string{"etcd_cacert": c.CAFile, "etcd_cert": c.CertFile, "etcd_key": c.KeyFile} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("invalid %s %q, want an absolute path", key, path)
		}
	}
	name, _, ok := strings.Cut(c.User, ":")
	switch {
	case c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/"):
		return fmt.Errorf(`invalid data_store_prefix %q, want a path that begins with "/", such as /tuplenet`, c.Prefix)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("etcd_cert and etcd_key belong together, one is missing")
	case c.User != "" && (!ok || name == ""):
		return errors.New("invalid etcd_user, want NAME:PASSWORD")
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	if strings.HasPrefix(endpoint, "unix:///") {
		return nil
	}
	for _, scheme := range []string{"http://", "https://"} {
		endpoint = strings.TrimPrefix(endpoint, scheme)
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(endpoint, "/"))
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	if host == "" || strings.ContainsAny(host, "/ ") {
		return errors.New("its host is missing, or wrong")
	}
	return nil
}

// checkPrevious refuses a previous result with holes in it.
func (c *Config) checkPrevious() error {
	if c.Previous == nil {
		return nil
	}
	for _, i := range c.Previous.Interfaces {
		if i == nil {
			return c.wrong("prevResult has an interface that is null")
		}
	}
	for _, ip := range c.Previous.IPs {
		if ip == nil || ip.Interface != nil && (*ip.Interface < 0 || *ip.Interface >= len(c.Previous.Interfaces)) {
			return c.wrong("prevResult has an address of an interface that is not there")
		}
	}
	for _, r := range c.Previous.Routes {
		if r == nil {
			return c.wrong("prevResult has a route that is null")
		}
	}
	return nil
}
