package cni

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// Netns is a network namespace to work in, by sockets that were opened there:
// no thread has to change its own namespace any more.
type Netns struct {
	*netlink.Handle

	path   string
	file   netns.NsHandle
	own    bool // it is that of this process
	ioctls int  // a socket for them
}

// OpenNetns opens the network namespace at a path, that of this thread for "".
// The error of one that does not exist has CodeUnknown.
func OpenNetns(path string) (*Netns, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return nil, attach.Errorf(attach.CodeIO, "open this thread's network namespace: %s", err)
	}
	n := &Netns{path: path, file: here, own: true, ioctls: -1}
	if path != "" {
		defer here.Close()
		n.file, err = netns.GetFromPath(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, attach.Errorf(attach.CodeUnknown, "the container's network namespace %s does not exist", path)
		} else if err != nil {
			return nil, attach.Errorf(attach.CodeIO, "open network namespace %s: %s", path, err)
		}
		n.own = n.file.Equal(here)
	}
	if err := n.open(here); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// open opens the sockets, and comes back here.
func (n *Netns) open(here netns.NsHandle) (err error) {
	if !n.own {
		if err := netns.Set(n.file); err != nil {
			return attach.Errorf(attach.CodeEnvironment, "CNI_NETNS %s is no network namespace, or cannot be entered: %s", n.path, err)
		}
		defer func() {
			if back := netns.Set(here); back != nil {
				runtime.LockOSThread() // for good: nothing else may run on this thread
				err = attach.Errorf(attach.CodeIO, "come back from network namespace %s: %s", n.path, back)
			}
		}()
	}
	if n.Handle, err = netlink.NewHandle(unix.NETLINK_ROUTE); err == nil {
		n.ioctls, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return attach.Errorf(attach.CodeIO, "open a socket%s: %s", n.where(), err)
	}
	return nil
}

// Close closes what OpenNetns has opened.
func (n *Netns) Close() {
	if n.Handle != nil {
		n.Handle.Close()
	}
	if n.ioctls >= 0 {
		_ = unix.Close(n.ioctls)
	}
	_ = n.file.Close()
}

// Fd returns the namespace as netlink messages name it.
func (n *Netns) Fd() netlink.NsFd { return netlink.NsFd(n.file) }

// Find returns the interface with a name, nil if there is none.
func (n *Netns) Find(name string) (netlink.Link, error) {
	link, err := n.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	} else if err != nil {
		return nil, attach.Errorf(attach.CodeIO, "look for interface %s%s: %s", name, n.where(), err)
	}
	return link, nil
}

// Delete removes the interface with a name, if there is one; of a veth pair both
// ends go.
func (n *Netns) Delete(name string) error {
	link, err := n.Find(name)
	if link == nil || err != nil {
		return err
	}
	if err := n.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return attach.Errorf(attach.CodeIO, "remove interface %s%s: %s", name, n.where(), err)
	}
	return nil
}

// DisableIPv6 keeps the host itself from speaking IPv6 on an interface of this
// thread's namespace, as containers may talk to it there: a bridge of the userspace
// datapath does not take their packets away from the kernel, which accepts a router
// advertisement. A kernel without IPv6 is right already, and a container that may
// not set sysctls is left as it is.
func DisableIPv6(name string) error {
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6"), []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EROFS) {
		return attach.Errorf(attach.CodeIO, "disable IPv6 of interface %s: %s", name, err)
	}
	return nil
}

// where says which namespace it is, for errors.
func (n *Netns) where() string {
	if n.path == "" {
		return ""
	}
	return " in network namespace " + n.path
}

// Interface is what the interface of a container has to be.
type Interface struct {
	Name    string
	MAC     net.HardwareAddr
	MTU     int          // bytes; 0: as it is
	Address netip.Prefix // the container's, and how long the network's prefix is
	Routes  []*types.Route
	Implied bool // nobody asked for Routes, a default route: it gives way to one that is there
}

// Configure makes an interface of the namespace what it has to be, and takes it
// up. The gateways of all routes are given. A route that gives way is taken out.
func (n *Netns) Configure(i *Interface) error {
	link, err := n.Find(i.Name)
	if err != nil {
		return err
	}
	if link == nil {
		return attach.Errorf(attach.CodeIO, "interface %s%s has vanished", i.Name, n.where())
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Index, attrs.Name, attrs.MTU, attrs.HardwareAddr, attrs.Flags = link.Attrs().Index, i.Name, i.MTU, i.MAC, net.FlagUp
	var changed netlink.Link = &netlink.GenericLink{LinkAttrs: attrs, LinkType: link.Type()}
	if vlan, is := link.(*netlink.Vlan); is { // of which the kernel wants to be told the tag each time
		changed = &netlink.Vlan{LinkAttrs: attrs, VlanId: vlan.VlanId, VlanProtocol: vlan.VlanProtocol}
	}
	if err := n.LinkModify(changed); err != nil {
		return attach.Errorf(attach.CodeIO, "set MAC %s and MTU %d of interface %s%s: %s", i.MAC, i.MTU, i.Name, n.where(), err)
	}
	if err := n.AddrAdd(link, &netlink.Addr{IPNet: ipNet(i.Address)}); err != nil {
		return attach.Errorf(attach.CodeIO, "give interface %s%s the address %s: %s", i.Name, n.where(), i.Address, err)
	}
	for _, r := range i.Routes {
		route := &netlink.Route{LinkIndex: attrs.Index, Dst: &r.Dst, Gw: r.GW, MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority}
		if r.Table != nil {
			route.Table = *r.Table
		}
		if r.Scope != nil {
			route.Scope = netlink.Scope(*r.Scope)
		}
		err := n.RouteAdd(route)
		if i.Implied && errors.Is(err, unix.EEXIST) {
			i.Routes = nil
			return nil
		}
		if err != nil {
			return attach.Errorf(attach.CodeIO, "add the route to %s by %s%s: %s", &r.Dst, r.GW, n.where(), err)
		}
	}
	return nil
}

// ipNet returns a prefix in the form that CNI's types and netlink have it.
func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
