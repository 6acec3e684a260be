package runtimes

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// cnitool calls the plugins of a network for a network namespace. Where a
// runtime has the container's, it makes up an id.
func (m *machine) cnitool(verb, network, netns string, env ...string) (string, error) {
	return m.tryWith(append(env, "NETCONFPATH=/etc/cni/net.d", "CNI_PATH=/opt/cni/bin"), "cnitool", verb, network, "/run/netns/"+netns)
}

// TestTutorial does what section 5 of the tutorial says, with cnitool in the
// place of kubelet: its configuration as it stands attaches containers on two
// hosts, which reach each other, a workload that was there before, and the
// world outside by the edge.
func TestTutorial(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	var addresses []netip.Addr
	for i, m := range c.machines {
		ns := fmt.Sprint("pod", i)
		m.netns(ns)
		result, err := m.cnitool("add", "tpcni-network", ns)
		c.do(err)
		address, err := addressOf([]byte(result))
		c.do(err)
		if !netip.MustParsePrefix("10.20.1.0/24").Contains(address) || slices.Contains(addresses, address) {
			t.Errorf("%s got %s beside %v", ns, address, addresses)
		}
		addresses = append(addresses, address)
		// The first packet goes through: ADD is done when traffic flows.
		m.inside(ns, "ping", "-c", "1", "-W", "2", "10.20.1.1")
	}
	alice := c.machines[0]
	for _, to := range []string{addresses[1].String(), "10.20.1.10", "10.20.2.10", "172.16.1.10"} {
		if out := alice.inside("pod0", "ping", "-c", "3", "-i", "0.1", "-W", "2", to); !strings.Contains(out, " 0% packet loss") {
			t.Errorf("%s", out)
		}
	}
	// TCP, as ping would not notice a checksum that nobody has computed.
	if page := alice.inside("pod0", "timeout", "5", "busybox", "wget", "-q", "-O", "-", "http://172.16.1.10/"); page != "hello from outside\n" {
		t.Errorf("the web server says %q", page)
	}
	if link := alice.inside("pod0", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1400") {
		t.Errorf("the configuration's MTU is 1400: %s", link)
	}
	for i, m := range c.machines {
		for range 2 { // the second one has nothing to do
			if _, err := m.cnitool("del", "tpcni-network", fmt.Sprint("pod", i)); err != nil {
				t.Error(err)
			}
		}
	}
	c.nothingLeft()
}

// TestInstall lets the program install itself as the plugin. Nothing but the
// switch is said: the router on it has the subnet, the host's tunnels the MTU.
func TestInstall(t *testing.T) {
	t.Parallel()
	need(t, "iptables")
	c := newCluster(t)
	m := c.machines[0]
	m.run("rm", "/opt/cni/bin/tpcni", "/etc/cni/net.d/tpcni.conf")
	m.run("tuplenet", "cni", "install", "--switch", "LS_A")
	m.netns("pod")
	_, err := m.cnitool("add", "tuplenet", "pod")
	c.do(err)
	for _, to := range []string{"10.20.1.1", "10.20.2.10", "172.16.1.10"} {
		m.inside("pod", "ping", "-c", "1", "-W", "2", to)
	}
	// The cables of the lab's hosts carry 1600 bytes, and Geneve takes 62.
	if link := m.inside("pod", "ip", "link", "show", "eth0"); !strings.Contains(link, "mtu 1538") {
		t.Errorf("want an MTU of 1538: %s", link)
	}
	// Without the plugin the container could not be deleted.
	if out, err := m.try("tuplenet", "cni", "uninstall"); err == nil || !strings.Contains(err.Error(), "containers on this host use the plugin") {
		t.Errorf("uninstall beside a container: %v %s", err, out)
	}
	// CHECK is turned off if bandwidth is of a release that would panic in it.
	for _, verb := range []string{"status", "check", "del", "gc"} {
		if _, err := m.cnitool(verb, "tuplenet", "pod"); err != nil {
			t.Error(err)
		}
	}
	m.run("tuplenet", "cni", "uninstall")
	if left := m.run("ls", "/etc/cni/net.d"); left != "" {
		t.Errorf("uninstall has left %s", left)
	}
	c.nothingLeft()
}

// TestVersions calls every verb for every version of the specification. A
// runtime does without those that a version does not have, and cnitool says so.
func TestVersions(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	for _, v := range []struct {
		version string
		list    bool // a conflist, as all newer runtimes write it
		check   bool // has CHECK
	}{
		{"0.3.0", false, false}, {"0.3.1", true, false}, {"0.4.0", true, true}, {"1.0.0", false, true}, {"1.0.0", true, true}, {"1.1.0", true, true},
	} {
		name := fmt.Sprintf("v%s-%t", strings.ReplaceAll(v.version, ".", ""), v.list)
		conf := fmt.Sprintf(`{"type": "tpcni", "switchname": "LS_A", "subnet": "10.20.1.1/24", "etcd_cluster": "192.168.1.1:2379", "name": %q, "cniVersion": %q}`, name, v.version)
		if v.list {
			conf = fmt.Sprintf(`{"name": %q, "cniVersion": %q, "plugins": [%s]}`, name, v.version, conf)
			m.write("/etc/cni/net.d/"+name+".conflist", conf)
		} else {
			m.write("/etc/cni/net.d/"+name+".conf", conf)
		}
		m.netns(name)
		result, err := m.cnitool("add", name, name)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		var r types100.Result
		if err := json.Unmarshal([]byte(result), &r); err != nil || r.CNIVersion != v.version {
			t.Errorf("%s: the result is of version %q: %v", v.version, r.CNIVersion, err)
		}
		m.inside(name, "ping", "-c", "1", "-W", "2", "10.20.1.1")
		if _, err := m.cnitool("check", name, name); (err == nil) != v.check {
			t.Errorf("%s: check: %v", v.version, err)
		}
		if _, err := m.cnitool("status", name, name); err != nil {
			t.Errorf("%s: status: %v", v.version, err)
		}
		if _, err := m.cnitool("del", name, name); err != nil {
			t.Errorf("%s: del: %v", v.version, err)
		}
		if v.list {
			if _, err := m.cnitool("gc", name, name); err != nil {
				t.Errorf("%s: gc: %v", v.version, err)
			}
		}
	}
	out, err := attachment{on: m}.call(t.Context(), "VERSION")
	c.do(err)
	var supported struct{ SupportedVersions []string }
	c.do(json.Unmarshal(out, &supported))
	for _, version := range []string{"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		if !slices.Contains(supported.SupportedVersions, version) {
			t.Errorf("VERSION does not tell of %s: %s", version, out)
		}
	}
	c.nothingLeft()
}

// TestGC has a runtime lose its state: cnitool has nothing in its cache, and
// names no attachment as valid, so all go but those of another network.
func TestGC(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.machines[0]
	conf := func(name, more string) string {
		return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": %q, "type": "tpcni", "switchname": "LS_A", "subnet": "10.20.1.1/24", "etcd_cluster": "192.168.1.1:2379"%s}`, name, more)
	}
	m.write("/etc/cni/net.d/lost.conflist", `{"cniVersion": "1.1.0", "name": "lost", "plugins": [`+conf("lost", "")+`]}`)
	var lost []attachment
	for _, id := range []string{"pod1", "pod2", "pod3"} {
		a := m.attachment(id)
		a.conf = conf("lost", "")
		a.mustAdd()
		lost = append(lost, a)
	}
	kept := m.attachment("kept")
	kept.mustAdd()

	// A runtime that knows of pod2 says so.
	gc := attachment{on: m, conf: conf("lost", `, "cni.dev/valid-attachments": [{"containerID": "pod2", "ifname": "eth0"}]`)}
	if _, err := gc.call(t.Context(), "GC"); err != nil {
		t.Errorf("GC: %v", err)
	}
	c.eventually(func() string { return unlike(c.containers(), "kept", "pod2") })
	m.inside("pod2", "ping", "-c", "1", "-W", "2", "10.20.1.1")

	if _, err := m.cnitool("gc", "lost", "pod2"); err != nil {
		t.Errorf("gc: %v", err)
	}
	c.eventually(func() string { return unlike(c.containers(), "kept") })
	m.inside("kept", "ping", "-c", "1", "-W", "2", "10.20.1.1")

	// DEL of what is gone, with the namespace or without.
	lost[0].netns = ""
	for _, a := range append(lost, kept) {
		a.mustDel()
	}
	c.nothingLeft()
}

// TestChained lets the plugins of Debian's containernetworking-plugins work on
// what tpcni has made: a sysctl of the interface, a limit to its bandwidth, and a
// port of the host.
func TestChained(t *testing.T) {
	t.Parallel()
	need(t, "/usr/lib/cni/portmap", "iptables")
	c := newCluster(t)
	m := c.machines[0]
	m.write("/etc/cni/net.d/chain.conflist", `{"cniVersion": "1.0.0", "name": "chain", "plugins": [
		{"type": "tpcni", "switchname": "LS_A", "subnet": "10.20.1.1/24", "etcd_cluster": "192.168.1.1:2379"},
		{"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}},
		{"type": "bandwidth", "capabilities": {"bandwidth": true}},
		{"type": "portmap", "capabilities": {"portMappings": true}}]}`)
	m.netns("pod")
	const limits = `"bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 8000000, "egressBurst": 800000}`
	const capabilities = `CAP_ARGS={"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}], ` + limits + `}`
	result, err := m.cnitool("add", "chain", "pod", capabilities)
	c.do(err)
	address, err := addressOf([]byte(result))
	c.do(err)
	if out := m.inside("pod", "sysctl", "-n", "net.ipv4.conf.eth0.arp_filter"); out != "1\n" {
		t.Errorf("tuning: %s", out)
	}
	if out := m.run("tc", "qdisc"); strings.Count(out, "tbf") != 2 {
		t.Errorf("bandwidth: two devices want a token bucket: %s", out)
	}
	if out, want := m.run("iptables", "-t", "nat", "-S"), fmt.Sprintf("--dport 8080 -j DNAT --to-destination %s:80", address); !strings.Contains(out, want) {
		t.Errorf("portmap: no %q in %s", want, out)
	}
	for _, to := range []string{"10.20.2.10", "172.16.1.10"} {
		m.inside("pod", "ping", "-c", "1", "-W", "2", to)
	}
	// CHECK of portmap 1.1 fails wherever a container has no IPv6 address, so
	// nothing is mapped as far as that is concerned.
	if _, err := m.cnitool("check", "chain", "pod", `CAP_ARGS={`+limits+`}`); err != nil {
		t.Error(err)
	}
	if _, err := m.cnitool("del", "chain", "pod", capabilities); err != nil {
		t.Error(err)
	}
	if out := m.run("iptables", "-t", "nat", "-S"); strings.Contains(out, "8080") {
		t.Errorf("portmap has left rules: %s", out)
	}
	c.nothingLeft()
}
