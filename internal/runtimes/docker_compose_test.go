package runtimes

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// composition is what a file of Docker Compose says, as far as the one of the
// documentation uses it.
type composition struct {
	Services map[string]struct {
		Image    string
		Command  []string
		Networks yaml.Node // names, or names with settings
	}
	Networks map[string]struct {
		Driver     string
		Internal   bool
		DriverOpts map[string]string `yaml:"driver_opts"`
		IPAM       struct {
			Driver  string
			Options map[string]string
			Config  []struct{ Subnet, Gateway string }
		}
	}
}

// membership is how a service is in a network.
type membership struct {
	Address string   `yaml:"ipv4_address"`
	Aliases []string `yaml:"aliases"`
}

// TestCompose does with docker what the documentation's file says, as Compose
// would, which Debian has no package of for this engine.
func TestCompose(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	e := c.newEngines()[0]
	text, err := os.ReadFile("../../docs/examples/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	in := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(text), "LS-A", "LS_A")))
	in.KnownFields(true)
	var file composition
	if err := in.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for name, n := range file.Networks {
		args := []string{"network", "create", "--driver", n.Driver, "--ipam-driver", n.IPAM.Driver}
		if n.Internal {
			args = append(args, "--internal")
		}
		for key, value := range n.DriverOpts {
			args = append(args, "--opt", key+"="+value)
		}
		for key, value := range n.IPAM.Options {
			args = append(args, "--ipam-opt", key+"="+value)
		}
		for _, part := range n.IPAM.Config {
			args = append(args, "--subnet", part.Subnet, "--gateway", part.Gateway)
		}
		e.docker(append(args, name)...)
	}
	for name, s := range file.Services {
		in := map[string]membership{}
		if s.Networks.Kind == yaml.SequenceNode {
			var names []string
			c.do(s.Networks.Decode(&names))
			for _, n := range names {
				in[n] = membership{}
			}
		} else {
			c.do(s.Networks.Decode(&in))
		}
		networks := slices.Sorted(maps.Keys(in))
		e.docker(slices.Concat([]string{"create", "--name", name, "--stop-signal", "KILL"}, in[networks[0]].args(networks[0], name, "--network"), []string{image, "sleep", "1000000"})...)
		for _, n := range networks[1:] {
			args := in[n].args(n, name, "")
			e.docker(append(append([]string{"network", "connect"}, args...), n, name)...)
		}
		e.docker("start", name)
	}

	e.ping("app", "www")
	e.ping("web", "db")
	e.ping("app", "10.20.1.10")  // a workload that is no container, on the switch of both
	e.ping("app", "172.16.1.10") // the world outside
	if address := e.address("web", "front"); address != "10.20.3.10" {
		t.Errorf("web has the address %s", address)
	}
	if out := e.in("db", "ip", "-o", "link", "show", "eth0"); !strings.Contains(out, "mtu 1400") {
		t.Errorf("want an MTU of 1400: %s", out)
	}
	if out := e.in("db", "ip", "route"); strings.Contains(out, "default") {
		t.Errorf("a network that is internal leads somewhere: %s", out)
	}
	for name := range file.Services {
		e.docker("rm", "--force", name)
	}
	for name := range file.Networks {
		e.docker("network", "rm", name)
	}
	c.nothingLeft()
}

// args are docker's for a membership; the network is named behind flag, or not at
// all if that is empty.
func (m membership) args(network, service, flag string) []string {
	prefix, args := "--", []string(nil)
	if flag != "" {
		prefix, args = "--network-", []string{flag, network}
	}
	for _, alias := range append(m.Aliases, service) {
		args = append(args, prefix+"alias", alias)
	}
	if m.Address != "" {
		args = append(args, "--ip", m.Address)
	}
	return args
}
