package cni

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"

	"cni.tuplenet/attach"
)

// Annotations of a pod that say what it wants. A runtime hands them over if the
// network's capabilities have io.kubernetes.cri.pod-annotations.
const (
	annotationPrefix = "tuplenet.io/"
	AnnotationSwitch = annotationPrefix + "switch"
	AnnotationIP     = annotationPrefix + "ip"
	AnnotationMAC    = annotationPrefix + "mac"
)

// Wanted is what one container wants; what is not set is left to the agent.
type Wanted struct {
	Switches []attach.Switch // where its address may come from
	IP       netip.Addr
	Bits     int // prefix length that IP was given with, or -1
	MAC      net.HardwareAddr
}

// cniArgs are the keys of CNI_ARGS that we know, and those of Kubernetes, that
// tell nothing we need.
type cniArgs struct {
	types.CommonArgs
	IP, MAC, SWITCH                                                          types.UnmarshallableString
	K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_INFRA_CONTAINER_ID, K8S_POD_UID types.UnmarshallableString
}

// Wanted returns what a container wants, given CNI_ARGS. Of several places that
// say it, the first one counts, for each of address, MAC and switch:
// runtimeConfig (ips, mac), args.cni (ips, mac, switch), CNI_ARGS (IP, MAC,
// SWITCH), and the pod's annotations.
//
// A switch is one of those in the configuration: who starts a container shall
// not choose among all that there are. A configuration without any leaves the
// choice free, and needs it.
func (c *Config) Wanted(args string) (Wanted, error) {
	var env cniArgs
	if err := types.LoadArgs(args, &env); err != nil {
		return Wanted{}, attach.Errorf(attach.CodeEnvironment, "invalid CNI_ARGS: %s", err)
	}
	if err := c.checkAnnotations(); err != nil {
		return Wanted{}, err
	}
	pod := c.RuntimeConfig.Annotations
	w := Wanted{Bits: -1}
	for _, from := range []struct {
		key string
		ips []string
	}{
		{"runtimeConfig.ips", c.RuntimeConfig.IPs}, {"args.cni.ips", c.Args.CNI.IPs},
		{"IP in CNI_ARGS", list(string(env.IP))}, {"annotation " + AnnotationIP, list(pod[AnnotationIP])},
	} {
		if len(from.ips) == 0 {
			continue
		}
		if len(from.ips) > 1 {
			return Wanted{}, attach.Errorf(attach.CodeUnsupported, "the addresses %s are wanted (%s), but an interface has one, an IPv4 address", strings.Join(from.ips, ", "), from.key)
		}
		if err := w.setIP(from.ips[0], from.key); err != nil {
			return Wanted{}, err
		}
		break
	}
	for _, given := range []string{c.RuntimeConfig.MAC, c.Args.CNI.MAC, string(env.MAC), pod[AnnotationMAC]} {
		if given == "" {
			continue
		}
		mac, ok := parseMAC(given)
		if !ok {
			return Wanted{}, attach.Errorf(attach.CodeConfig, "the MAC %q is wanted, which is no address of an Ethernet interface, such as 02:00:0a:14:01:05", given)
		}
		w.MAC = mac
		break
	}
	var name string
	for _, given := range []string{c.Args.CNI.Switch, string(env.SWITCH), pod[AnnotationSwitch]} {
		if name == "" {
			name = strings.TrimSpace(given)
		}
	}
	var err error
	w.Switches, err = c.choose(name)
	return w, err
}

// list returns the elements of a list separated by commas.
func list(s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func (w *Wanted) setIP(s, key string) error {
	s = strings.TrimSpace(s)
	if p, err := netip.ParsePrefix(s); err == nil {
		w.IP, w.Bits = p.Addr(), p.Bits()
	} else if w.IP, err = netip.ParseAddr(s); err != nil {
		return attach.Errorf(attach.CodeConfig, "the address %q is wanted (%s), which is none", s, key)
	}
	if !w.IP.Is4() {
		return attach.Errorf(attach.CodeUnsupported, "the address %s is wanted (%s), but addresses are of IPv4", s, key)
	}
	return nil
}

// parseMAC parses the address of one Ethernet interface: no group of them.
func parseMAC(s string) (mac net.HardwareAddr, ok bool) {
	mac, err := net.ParseMAC(strings.TrimSpace(s))
	return mac, err == nil && len(mac) == 6 && mac[0]&1 == 0 && slices.Max(mac) != 0
}

// choose returns the switch of the configuration that has the name, or all of
// them for none.
func (c *Config) choose(name string) ([]attach.Switch, error) {
	var all []attach.Switch
	var names []string
	for _, s := range c.Switches {
		one := attach.Switch{Name: s.Name, Subnet: s.Subnet, Reserved: s.Reserved}
		if s.Name == name {
			return []attach.Switch{one}, nil
		}
		all, names = append(all, one), append(names, s.Name)
	}
	switch {
	case name == "" && len(all) == 0:
		return nil, c.wrong(`switchname is missing, and the container asks for no switch: give the configuration the one, or the pod the annotation %s, which gets here by "capabilities": {"io.kubernetes.cri.pod-annotations": true}`, AnnotationSwitch)
	case name == "":
		return all, nil
	case len(all) == 0:
		return []attach.Switch{{Name: name}}, nil
	}
	return nil, c.wrong("the switch %q is wanted, but containers of this network may have %s only: add it to switches", name, strings.Join(names, ", "))
}
