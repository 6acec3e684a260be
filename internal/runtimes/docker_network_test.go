package runtimes

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestDockerTutorial does what section 4 of the tutorial says, as it stands. Its
// network is one that Docker on the other host knows nothing of; there it is
// joined by the switch, under a name of its own. Containers are not --privileged,
// which the network does not ask for, and machines like this cannot give.
func TestDockerTutorial(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	engines := c.newEngines()
	alice, bob := engines[0], engines[1]
	id := strings.TrimSpace(alice.docker("network", "create", "-d", "tuplenet", "--subnet=10.20.3.0/24", "--gateway=10.20.3.1", "tp-docker-net1"))
	alice.docker("run", "--net=tp-docker-net1", "--name=first", "-ti", "-d", image, "/bin/sh")
	alice.in("first", "ping", "-c", "1", "-W", "2", "10.20.3.1") // the first packet goes through

	bob.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--ipam-opt", "switch="+id, "-o", "switch="+id, "net1")
	bob.up("second", "net1")
	address := bob.address("second", "net1")
	for _, to := range []string{"10.20.3.1", address, "10.20.1.10", "10.20.2.10", "172.16.1.10"} {
		alice.ping("first", to)
		if out := alice.in("first", "ping", "-c", "3", "-i", "0.1", "-W", "2", to); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s", out)
		}
	}
	bob.ping("second", alice.address("first", "tp-docker-net1"))
	// TCP, as ping would not notice a checksum that nobody has computed.
	for e, name := range map[*engine]string{alice: "first", bob: "second"} {
		if page := e.in(name, "timeout", "5", "wget", "-q", "-O", "-", "http://172.16.1.10/"); page != "hello from outside\n" {
			t.Errorf("the web server says %q", page)
		}
	}
	// The cables of the lab's hosts carry 1600 bytes, and Geneve takes 62.
	if link := alice.in("first", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1538") {
		t.Errorf("want an MTU of 1538: %s", link)
	}
	c.agree(engines...)
	for _, name := range []string{"tp-docker-net1", "net1"} {
		c.eventually(func() string {
			if shown, err := c.Exec(t.Context(), "host-alice", "tpctl", "ls", "show"); err != nil || !strings.Contains(shown, name) {
				return "tpctl ls show has no " + name + ": " + shown
			}
			return ""
		})
	}
	bob.docker("rm", "-f", "second")
	bob.docker("network", "rm", "net1")
	alice.docker("rm", "-f", "first")
	alice.docker("network", "rm", "tp-docker-net1")
	c.nothingLeft()
	c.agree(engines...)
}

// TestDockerNetworks makes networks of every kind, and containers in them.
func TestDockerNetworks(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	engines := c.newEngines()
	alice, bob := engines[0], engines[1]
	// One network on hosts that are no swarm. Docker takes --ip only where --subnet
	// was said.
	for _, e := range engines {
		e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.1.0/24", "--ipam-opt", "switch=LS_A", "-o", "switch=LS_A", "shared")
	}
	dockerShared(t, alice, bob)
	c.agree(engines...)
	dockerAtOnce(t, alice, bob)
	c.agree(engines...)
	dockerSeveral(t, alice)
	c.agree(engines...)
	dockerOptions(t, c, alice)
	c.agree(engines...)
	dockerAddresses(t, alice)
	c.agree(engines...)
	for _, e := range engines {
		e.docker("network", "rm", "shared")
	}
	c.nothingLeft()
	c.agree(engines...)
}

// dockerShared runs containers of one network on two hosts: with what they want to
// have, found by their names, and connected while they run.
func dockerShared(t *testing.T, alice, bob *engine) {
	alice.up("any", "shared", "--network-alias", "somebody")
	bob.up("chosen", "shared", "--ip", "10.20.1.77", "--mac-address", "f2:01:00:00:00:77")
	alice.ping("any", "10.20.1.77")
	bob.ping("chosen", alice.address("any", "shared"))
	bob.ping("chosen", "10.20.2.10") // behind the router
	if out := bob.in("chosen", "ip", "addr", "show", "eth0"); !strings.Contains(out, "10.20.1.77/24") || !strings.Contains(out, "f2:01:00:00:00:77") {
		t.Errorf("--ip and --mac-address: %s", out)
	}
	if got := alice.docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}} {{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}", "shared"); got != "10.20.1.0/24 any "+alice.address("any", "shared")+"/24\n" {
		t.Errorf("docker network inspect: %s", got)
	}

	// Docker finds the names of its own containers.
	alice.up("asks", "shared")
	for _, name := range []string{"any", "somebody"} {
		if out := alice.in("asks", "nslookup", name, "127.0.0.11"); !strings.Contains(out, alice.address("any", "shared")) {
			t.Errorf("nslookup %s: %s", name, out)
		}
	}
	alice.docker("network", "disconnect", "shared", "asks")
	if out := alice.in("asks", "ip", "link"); strings.Contains(out, "eth") {
		t.Errorf("disconnected, it still has an interface: %s", out)
	}
	alice.docker("network", "connect", "--ip", "10.20.1.78", "--alias", "back", "shared", "asks")
	bob.ping("chosen", "10.20.1.78")
	alice.docker("restart", "--time", "0", "asks")
	bob.ping("chosen", "10.20.1.78")
	alice.docker("rm", "-f", "any", "asks")
	bob.docker("rm", "-f", "chosen")
}

// dockerAtOnce starts containers on both hosts at the same time. None has the
// address of another.
func dockerAtOnce(t *testing.T, engines ...*engine) {
	const perHost = 5
	var wg sync.WaitGroup
	errs := make(chan error, perHost*len(engines))
	for _, e := range engines {
		for i := range perHost {
			wg.Go(func() {
				if _, err := e.tryDocker("run", "--detach", "--name", fmt.Sprint("one", i), "--network", "shared", image); err != nil {
					errs <- err
				}
			})
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	var names, addresses []string
	for i := range perHost {
		names = append(names, fmt.Sprint("one", i))
		for _, e := range engines {
			addresses = append(addresses, e.address(names[i], "shared"))
		}
	}
	slices.Sort(addresses)
	if different := slices.Compact(slices.Clone(addresses)); len(different) != perHost*len(engines) {
		t.Errorf("two have one address: %s", addresses)
	}
	for _, e := range engines {
		e.docker(append([]string{"rm", "-f"}, names...)...)
	}
}

// dockerSeveral runs a container in two networks, of which one has no way out.
func dockerSeveral(t *testing.T, e *engine) {
	e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.3.0/24", "open")
	e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.4.0/24", "--internal", "-o", "mtu=1300", "closed")
	e.up("both", "open")
	e.docker("network", "connect", "closed", "both")
	e.up("inner", "closed")
	e.ping("both", "172.16.1.10")
	e.ping("both", e.address("inner", "closed"))
	if routes := e.in("both", "ip", "route"); !strings.HasPrefix(routes, "default via 10.20.3.1 dev eth0") || strings.Count(routes, "default") != 1 {
		t.Errorf("want one default route, by the network that has a way out: %s", routes)
	}
	if out := e.in("inner", "ip", "link"); !strings.Contains(out, "eth0@") || strings.Contains(out, "eth1@") || !strings.Contains(out, "mtu 1300") {
		t.Errorf("want one interface with the MTU 1300: %s", out)
	}
	if routes := e.in("inner", "ip", "route"); strings.Contains(routes, "default") {
		t.Errorf("an internal network has a way out: %s", routes)
	}
	e.docker("rm", "-f", "both", "inner")
	e.docker("network", "rm", "open", "closed")
}

// dockerOptions makes networks on another router, and on none.
func dockerOptions(t *testing.T, c *cluster, e *engine) {
	_, err := c.Exec(t.Context(), "host-alice", "tpctl", "lr", "add", "LR-other")
	c.do(err)
	e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.5.0/24", "--gateway", "10.20.5.254", "-o", "router=LR-other", "other")
	e.docker("network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", "--subnet", "10.20.6.0/24", "-o", "router=", "alone")
	e.up("routed", "other")
	e.up("alone", "alone")
	e.ping("routed", "10.20.5.254")
	if routes := e.in("alone", "ip", "route"); strings.Contains(routes, "default") {
		t.Errorf("there is nobody at the gateway's address: %s", routes)
	}
	e.docker("rm", "-f", "routed", "alone")
	e.docker("network", "rm", "other", "alone")
	_, err = c.Exec(t.Context(), "host-alice", "tpctl", "lr", "del", "LR-other")
	c.do(err)
}

// dockerAddresses has addresses come from each of those that may choose them.
func dockerAddresses(t *testing.T, e *engine) {
	for name, options := range map[string][]string{
		"docker": {"--subnet", "10.20.7.0/24", "--gateway", "10.20.7.1"},
		"null":   {"--ipam-driver", "null", "-o", "subnet=10.20.7.0/24", "-o", "gateway=10.20.7.1"},
		"range":  {"--ipam-driver", "tuplenet", "--subnet", "10.20.7.0/24", "--ip-range", "10.20.7.128/25", "--aux-address", "printer=10.20.7.128"},
		"free":   {"--ipam-driver", "tuplenet"},
	} {
		e.docker(append(append([]string{"network", "create", "-d", "tuplenet"}, options...), name)...)
		var addresses []string
		for _, container := range []string{"one", "two"} {
			e.up(container, name)
			addresses = append(addresses, e.address(container, name))
		}
		want := []string{"10.20.7.2", "10.20.7.3"}
		switch name {
		case "range":
			want = []string{"10.20.7.129", "10.20.7.130"}
		case "free":
			want = []string{"10.160.0.2", "10.160.0.3"}
		}
		if !slices.Equal(addresses, want) {
			t.Errorf("network %s: the containers have %s, want %s", name, addresses, want)
		}
		e.ping("one", addresses[1])
		e.docker("rm", "-f", "one", "two")
		e.docker("network", "rm", name)
	}

	// The router has 10.20.1.1, and can have no gateway that ends alike.
	gateways := map[string]string{"first": "10.160.0.1", "second": "10.160.1.2", "alike": "10.30.1.3"}
	for _, name := range []string{"first", "second", "alike"} {
		create := []string{"network", "create", "-d", "tuplenet", "--ipam-driver", "tuplenet", name}
		if name == "alike" {
			create = append(create, "--subnet", "10.30.1.0/24")
		}
		e.docker(create...)
		e.up(name, name)
		if routes := e.in(name, "ip", "route"); !strings.HasPrefix(routes, "default via "+gateways[name]+" ") {
			t.Errorf("network %s, want the gateway %s: %s", name, gateways[name], routes)
		}
		e.ping(name, gateways[name])
	}
	for name := range gateways {
		e.docker("rm", "-f", name)
		e.docker("network", "rm", name)
	}
}
