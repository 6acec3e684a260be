package cni

import (
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// How long CHECK waits for the agent's part of an attachment to be right: it may
// have been started anew, or follow a change of the topology.
const (
	convergence = 2 * time.Second
	checkPause  = 100 * time.Millisecond
)

// missing makes the error of an attachment of which something is missing or wrong.
func missing(format string, a ...any) error {
	return attach.Errorf(attach.CodeNotAttached, format, a...)
}

// check is CHECK.
func check(args *skel.CmdArgs) error {
	cfg, err := ParseConfig(args.StdinData)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if cfg.Previous == nil {
		return cfg.wrong("prevResult is missing: CHECK compares with what ADD has returned")
	}
	container, err := OpenNetns(args.Netns)
	if err != nil {
		return err
	}
	defer container.Close()
	host, err := OpenNetns("")
	if err != nil {
		return err
	}
	defer host.Close()
	id := cfg.ID(args.ContainerID, args.IfName)
	end, addresses, err := CheckInterface(container, cfg.Previous, args.IfName)
	if err != nil {
		return err
	}
	if err := checkHost(host, id.Device(), end); err != nil {
		return err
	}
	return ask(cfg.RunDir, attach.Request{Op: attach.Check, ID: id, Plugin: owner, Etcd: cfg.Etcd(), Device: id.Device(),
		IP: addresses[0].IP.String(), MAC: end.Attrs().HardwareAddr.String()})
}

// CheckInterface compares the interface of a container with the result of its
// ADD, and returns it with its addresses in the result, one at least. What
// plugins behind this one have changed is in the result, too.
func CheckInterface(n *Netns, previous *types100.Result, ifname string) (netlink.Link, []*net.IPNet, error) {
	want, addresses := inContainer(previous, ifname)
	if want == nil {
		return nil, nil, missing("prevResult has no interface %s in a container", ifname)
	}
	if len(addresses) == 0 {
		return nil, nil, missing("prevResult has no address for interface %s", ifname)
	}
	link, err := n.Find(ifname)
	if err != nil {
		return nil, nil, err
	}
	if link == nil {
		return nil, nil, missing("interface %s is not there%s", ifname, n.where())
	}
	is := link.Attrs()
	switch {
	case is.Flags&net.FlagUp == 0:
		return nil, nil, missing("interface %s%s is down", ifname, n.where())
	case want.Mac != "" && !strings.EqualFold(want.Mac, is.HardwareAddr.String()):
		return nil, nil, missing("interface %s%s has the MAC %s in place of %s", ifname, n.where(), is.HardwareAddr, want.Mac)
	case want.Mtu != 0 && want.Mtu != is.MTU:
		return nil, nil, missing("interface %s%s has the MTU %d in place of %d", ifname, n.where(), is.MTU, want.Mtu)
	}
	if err := checkAddresses(n, link, addresses); err != nil {
		return nil, nil, err
	}
	return link, addresses, checkRoutes(n, previous.Routes, addresses)
}

// inContainer returns the interface with a name that a result has in a container,
// and its addresses.
func inContainer(r *types100.Result, ifname string) (*types100.Interface, []*net.IPNet) {
	for i, one := range r.Interfaces {
		if one.Name != ifname || one.Sandbox == "" {
			continue
		}
		var addresses []*net.IPNet
		for _, ip := range r.IPs {
			if ip.Interface != nil && *ip.Interface == i {
				addresses = append(addresses, &ip.Address)
			}
		}
		return one, addresses
	}
	return nil, nil
}

func checkAddresses(n *Netns, link netlink.Link, want []*net.IPNet) error {
	is, err := n.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return attach.Errorf(attach.CodeIO, "list the addresses of interface %s%s: %s", link.Attrs().Name, n.where(), err)
	}
	has := map[string]bool{}
	for _, a := range is {
		has[a.IPNet.String()] = true
	}
	for _, w := range want {
		if !has[w.String()] {
			return missing("interface %s%s has no address %s", link.Attrs().Name, n.where(), w)
		}
	}
	return nil
}

// checkRoutes looks for those routes whose gateway is in the network of one of the
// addresses: others were made by other plugins. It looks in all tables, as plugins
// move them from one into another.
func checkRoutes(n *Netns, all []*types.Route, addresses []*net.IPNet) error {
	want := slices.DeleteFunc(slices.Clone(all), func(r *types.Route) bool {
		return !slices.ContainsFunc(addresses, func(a *net.IPNet) bool { return a.Contains(r.GW) })
	})
	if len(want) == 0 {
		return nil
	}
	is, err := n.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return attach.Errorf(attach.CodeIO, "list the routes%s: %s", n.where(), err)
	}
	type route struct{ dst, gateway string }
	has := map[route]bool{}
	for _, r := range is {
		if r.Dst != nil {
			has[route{r.Dst.String(), r.Gw.String()}] = true
		}
	}
	for _, w := range want {
		if !has[route{w.Dst.String(), w.GW.String()}] {
			return missing("the route to %s by %s is not there%s", &w.Dst, w.GW, n.where())
		}
	}
	return nil
}

// checkHost checks the host's end of a pair whose other end it is given.
func checkHost(host *Netns, device string, end netlink.Link) error {
	link, err := host.Find(device)
	switch {
	case err != nil:
		return err
	case link == nil:
		return missing("interface %s is not there on the host", device)
	case link.Attrs().Index != end.Attrs().ParentIndex || link.Attrs().ParentIndex != end.Attrs().Index:
		return missing("the other end of interface %s is not %s in the container", device, end.Attrs().Name)
	case link.Attrs().Flags&net.FlagUp == 0:
		return missing("interface %s is down on the host", device)
	}
	return nil
}

// ask asks the agent whether its part is right, until it is or time is up.
func ask(runDir string, r attach.Request) error {
	for end := time.Now().Add(convergence); ; time.Sleep(checkPause) {
		agent, err := attach.Dial(runDir)
		if err == nil {
			_, err = agent.Ask(r, patience)
			agent.Close(0)
		}
		var e *attach.Error
		if !errors.As(err, &e) || e.Code != attach.CodeNotAttached && e.Code != attach.CodeTryLater || time.Now().After(end) {
			return err
		}
	}
}
