package bench

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tuplenet/internal/lab"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// The hosts h1 and h2 are on demand. alice, on h1, is in a switch of a /16, as
// carol is; bob is on h2. Switch wide is a /16, too, with next to nobody in it.
const demandHosts = `
hosts:
- {name: h1, env: {TUPLENET_METRICS: "127.0.0.1:9100"}}
- {name: h2}
%s
switches:
- name: near
  ports: [{name: alice, address: 10.20.0.10}, {name: carol, address: 10.20.0.11}%s]
- name: far
  ports: [{name: bob, address: 10.30.0.10}%s]
- name: wide
  ports: [{name: w1, address: 10.50.7.1}, {name: w2, address: 10.50.70.2}, {name: w3, address: 10.50.170.3}]
%s
routers:
- name: LR
  links:
  - {switch: near, address: 10.20.255.254/16}
  - {switch: far, address: 10.30.255.253/16}
  - {switch: wide, address: 10.50.255.252/16}
%s
workloads:
- {port: alice, host: h1}
- {port: carol, host: h1}
- {port: bob, host: h2}
%s
`

// demandLab brings up a lab for nodes on demand, with an edge or without one,
// and with more workloads on h2 in switch near and switch far each.
func demandLab(b *testing.B, edge bool, more int) *network {
	b.Helper()
	var gateway, inside, ways, workloads string
	if edge {
		gateway = "- {name: edge1, kind: gateway}"
		inside = "- {name: m1}"
		ways = `  - {switch: m1, address: 100.64.255.251/24}
  routes: [{name: out, to: 0.0.0.0/0, via: 100.64.255.250, port: LR_to_m1}]
- name: edge
  chassis: edge1
  links: [{switch: m1, address: 100.64.255.250/24}]`
	}
	var ports [2]string
	for i, sw := range []string{"near", "far"} {
		for n := range more {
			name := fmt.Sprint(sw, n)
			ports[i] += fmt.Sprintf(", {name: %s, address: 10.%d.1.%d}", name, 20+10*i, n+1)
			workloads += fmt.Sprintf("- {port: %s, host: h2}\n", name)
		}
	}
	spec, err := lab.Parse(fmt.Appendf(nil, demandHosts, gateway, ports[0], ports[1], inside, ways, workloads))
	if err != nil {
		b.Fatal(err)
	}
	return newNetwork(b, spec)
}

// pid returns the process of a daemon of a host.
func (n *network) pid(host string, c lab.Component) int {
	n.b.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, host, string(c)+".process"))
	if err != nil {
		n.b.Fatal(err)
	}
	number, _, _ := strings.Cut(string(text), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		n.b.Fatal(err)
	}
	return pid
}

// store returns the lab's etcd, which listens in a namespace.
func (n *network) store() *store.Store {
	n.b.Helper()
	socket := filepath.Join(n.b.TempDir(), "etcd.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() { l.Close() })
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			go n.forward(here, "phy", "192.168.1.1:2379")
		}
	}()
	st, err := store.Open(n.b.Context(), store.Config{Endpoints: []string{"unix://" + socket}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		n.b.Fatal(err)
	}
	n.b.Cleanup(func() { st.Close() })
	return st
}

// forward joins a connection to an address somewhere in the lab.
func (n *network) forward(here net.Conn, where, address string) {
	defer here.Close()
	var there net.Conn
	err := n.in(where, func() (err error) {
		there, err = net.Dial("tcp", address)
		return err
	})
	if err != nil {
		return
	}
	defer there.Close()
	go func() {
		io.Copy(there, here)
		there.Close()
	}()
	io.Copy(here, there)
}

// in calls f with its thread in a namespace of the lab: sockets that f makes
// stay there.
func (n *network) in(where string, f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	ns, err := os.Open("/var/run/netns/" + n.Name + "-" + where)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = f()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return back // the thread stays locked, and ends with its goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// populate makes ports that are bound to a chassis.
func populate(b *testing.B, st *store.Store, sw, chassis string, addresses []netip.Addr) {
	b.Helper()
	for len(addresses) > 0 {
		n := min(40, len(addresses)) // as in newSite
		var ports []topology.Stored
		for _, ip := range addresses[:n] {
			ports = append(ports, topology.SwitchPort{Switch: sw, Name: fmt.Sprintf("port-%s", ip), IP: ip, MAC: topology.MACFromIP(ip), Chassis: chassis})
		}
		if _, err := st.Create(b.Context(), ports...); err != nil {
			b.Fatal(err)
		}
		addresses = addresses[n:]
	}
}
