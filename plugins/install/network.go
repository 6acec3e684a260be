package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/utils"
)

// Network is what the configuration says. The names of its keys are those of
// tpcni's configuration, which docs/kubernetes.md describes.
type Network struct {
	Name string `json:"-"` // of the network

	MTU            int    `json:"mtu,omitempty"`        // bytes; 0: what the agent says
	Switch         string `json:"switchname,omitempty"` // where pods get their addresses
	Subnet         string `json:"subnet,omitempty"`     // the gateway and its prefix length, 10.20.1.1/24; empty: that of the switch's router
	Endpoints      string `json:"etcd_cluster,omitempty"`
	Prefix         string `json:"data_store_prefix,omitempty"`
	CAFile         string `json:"etcd_cacert,omitempty"`
	CertFile       string `json:"etcd_cert,omitempty"`
	KeyFile        string `json:"etcd_key,omitempty"`
	User           string `json:"etcd_user,omitempty"`       // name:password
	Underlay       string `json:"underlay,omitempty"`        // device whose VLANs the pods get
	UnderlayBridge string `json:"underlay_bridge,omitempty"` // or Open vSwitch bridge whose access ports they get
	Node           string `json:"node,omitempty"`            // the logical port that this host is plugged into, with one of the two
}

// check says what is wrong with a network.
func (n *Network) check() error {
	if err := utils.ValidateNetworkName(n.Name); err != nil {
		return fmt.Errorf("--name %q: %s: letters, digits, dots, hyphens and underscores make a name", n.Name, err.Msg)
	}
	if n.Switch == "" {
		return errors.New("say with --switch which logical switch the pods are plugged into")
	}
	if n.Subnet != "" {
		if p, err := netip.ParsePrefix(n.Subnet); err != nil || !p.Addr().Is4() {
			return fmt.Errorf("invalid --subnet %q, want the gateway's IPv4 address and the prefix length, such as 10.20.1.1/24", n.Subnet)
		}
	}
	switch {
	case n.MTU != 0 && (n.MTU < 68 || n.MTU > 65535): // RFC 791
		return fmt.Errorf("invalid --mtu %d, want 68 to 65535 bytes, or 0 for what the agent says", n.MTU)
	case n.Underlay != "" && n.UnderlayBridge != "":
		return errors.New("--underlay and --underlay-bridge exclude each other")
	case n.Underlay+n.UnderlayBridge != "" && n.Node == "":
		return errors.New("say with --node which logical port this host is plugged into, whose pool the pods get their ports from")
	case n.Underlay+n.UnderlayBridge == "" && n.Node != "":
		return errors.New("--node is for a host on a logical port: say with --underlay or --underlay-bridge what leads there")
	}
	return nil
}

// missing says what the network needs of this host that is not there yet.
func (n *Network) missing() []string {
	name := n.Underlay + n.UnderlayBridge
	if name == "" {
		return nil
	}
	if _, err := net.InterfaceByName(name); err != nil {
		return []string{fmt.Sprintf("this host has no device %s, which the pods need", name)}
	}
	return nil
}

// plugin is one entry of a list of plugins.
type plugin struct {
	Type string `json:"type"`
	*Network
	Capabilities map[string]bool `json:"capabilities"`
}

// list is a network configuration list, as the CNI specification has it.
type list struct {
	Version      string   `json:"cniVersion"`
	Versions     []string `json:"cniVersions"`
	Name         string   `json:"name"`
	DisableCheck bool     `json:"disableCheck,omitempty"`
	Plugins      []plugin `json:"plugins"`
}

// versions are those of the specification that we offer a runtime to choose
// from. Runtimes that do not choose get the last one up to plainVersion, as they
// are older than cniVersions.
var versions = []string{"0.4.0", "1.0.0", "1.1.0"}

const plainVersion = "1.0.0"

// chained are the plugins that go behind ours, where they are installed, what a
// runtime tells them of a pod, and whether they work on the host's end of a veth
// pair, which a VLAN device has not.
var chained = []struct {
	name, capability string
	hostEnd          bool
}{
	{"portmap", "portMappings", false},
	{bandwidth, "bandwidth", true},
}

const bandwidth = "bandwidth"

// patience is how long a plugin may take to say its versions.
const patience = 5 * time.Second

// checks reports whether the plugin bandwidth at path is known not to crash in
// CHECK where a pod has no limit, as it did up to 1.9.0
// (https://github.com/containernetworking/plugins/pull/1222). CRI-O, for one,
// calls CHECK, and takes a crash for a pod that is not ready.
func checks(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = []string{} // without a command it tells about itself
	about, _ := cmd.CombinedOutput()
	// Those that a distribution built may say no release.
	_, release, _ := strings.Cut(string(about), "plugin v")
	var v [3]int
	if _, err := fmt.Sscanf(release, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return false
	}
	return slices.Compare(v[:], []int{1, 9, 1}) >= 0
}

// configuration returns the text of the network's configuration. Its versions
// are those that all plugins in it have: a runtime uses one for all.
func (n *Network) configuration(ctx context.Context, binDir string) (text []byte, notes []string, err error) {
	l := list{Name: n.Name, Versions: versions, Plugins: []plugin{{
		Type: pluginName, Network: n,
		Capabilities: map[string]bool{"ips": true, "mac": true, "io.kubernetes.cri.pod-annotations": true},
	}}}
	for _, c := range chained {
		path := filepath.Join(binDir, c.name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || c.hostEnd && n.Underlay != "" {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, patience)
		info, err := invoke.GetVersionInfo(limited, path, nil)
		cancel()
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s is left out, it does not tell its versions: %v", path, err))
			continue
		}
		common := slices.DeleteFunc(slices.Clone(l.Versions), func(v string) bool { return !slices.Contains(info.SupportedVersions(), v) })
		if len(common) == 0 {
			notes = append(notes, fmt.Sprintf("%s is left out, it supports none of the versions %s", path, strings.Join(l.Versions, ", ")))
			continue
		}
		l.Versions = common
		l.Plugins = append(l.Plugins, plugin{Type: c.name, Capabilities: map[string]bool{c.capability: true}})
		if c.name == bandwidth && !checks(ctx, path) {
			l.DisableCheck = true
			notes = append(notes, fmt.Sprintf("%s crashes in CHECK for pods without a limit, unless it is 1.9.1 or later: CHECK is turned off (\"disableCheck\"); with a later one, install once more, with --force", path))
		}
	}
	for _, v := range l.Versions {
		if v <= plainVersion || l.Version == "" {
			l.Version = v
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return nil, nil, fmt.Errorf("encode the configuration of network %s: %w", n.Name, err)
	}
	return b.Bytes(), notes, nil
}
