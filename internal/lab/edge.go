package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// edgeMissing says what is missing before a host can use the edges, or be one:
// its patch ports, and BFD sessions with the chassis that routes lead to. A
// session with a host that is stopped or cut off is not waited for.
func (l *Lab) edgeMissing(ctx context.Context, v *view, h Host, host place) (string, error) {
	for _, sw := range l.Spec.Switches {
		if sw.Outer == nil || sw.Outer.Host != h.Name || v.ports[sw.Outer.Port].Switch != sw.Name {
			continue
		}
		out, err := host.output(ctx, "ovs-vsctl", "--timeout=5", "--if-exists", "get", "Interface", sw.Outer.Port, "ofport")
		if err != nil {
			return "", err
		}
		if ofport(out) == 0 {
			return h.Name + " does not have the patch port " + sw.Outer.Port + " yet", nil
		}
	}
	carriers := v.carriers(h.Name)
	if len(carriers) == 0 {
		return "", nil
	}
	out, err := host.output(ctx, "ovs-vsctl", "--timeout=5", "--format=csv", "--no-headings", "--columns=name",
		"find", "Interface", "type=geneve", "bfd_status:state=up")
	if err != nil {
		return "", err
	}
	up := strings.Fields(out)
	for _, name := range carriers {
		edge, err := l.Host(name)
		if err != nil || slices.Contains(up, tunnelPort(edge.Address)) {
			continue // one that is not of the lab is not ours to wait for
		}
		reachable, err := l.reachable(ctx, host.echo, h.Name, name)
		if err != nil {
			return "", err
		}
		if reachable {
			return h.Name + " has no BFD session with " + name + " yet", nil
		}
	}
	return "", nil
}

// tunnelPort names the interface of the tunnel to the chassis with an address,
// one that Spec.complete has checked.
func tunnelPort(address string) string {
	b := netip.MustParseAddr(address).As4()
	return fmt.Sprintf("tupleNet-%d", binary.BigEndian.Uint32(b[:]))
}

// reachable reports whether all of some hosts are on the physical network and
// run what takes part.
func (l *Lab) reachable(ctx context.Context, echo *transcript, hosts ...string) (bool, error) {
	links, err := l.phy(echo).output(ctx, "ip", "-br", "link", "show", "master", "br0", "up")
	if err != nil {
		return false, err
	}
	joined := map[string]bool{}
	for line := range strings.Lines(links) {
		name, _, _ := strings.Cut(line, "@")
		joined[name] = true
	}
	for _, h := range hosts {
		host := l.on(h, echo)
		if !joined[h] || !l.daemon(host, Vswitchd).works() || !l.daemon(host, Agent).works() {
			return false, nil
		}
	}
	return true, nil
}

// carriers returns the chassis that static routes lead to from a host: those
// that the routes' next routers are pinned to.
func (v *view) carriers(host string) []string {
	pinned := map[string]string{}
	for _, r := range v.routers {
		pinned[r.Name] = r.Chassis
	}
	var found []string
	for _, r := range v.routes {
		if from := pinned[r.Router]; from != "" && from != host {
			continue
		}
		sw := v.ports[v.routerPorts[r.OutPort].Peer].Switch
		for _, p := range v.routerPorts {
			to := pinned[p.Router]
			if p.Net.Addr() == r.NextHop && sw != "" && v.ports[p.Peer].Switch == sw && to != "" && to != host && !slices.Contains(found, to) {
				found = append(found, to)
			}
		}
	}
	slices.Sort(found)
	return found
}
