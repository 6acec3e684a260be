package underlay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	cni "cni.tuplenet"
	"cni.tuplenet/attach"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// uplink is what leads from this node to its own logical port.
type uplink struct {
	device string // whose VLAN devices the pods get; or
	bridge string // whose access ports they get
}

// mtu returns the MTU of the node's own end, which the pods can have, too: the
// tag takes no room of a packet's.
func (u uplink) mtu(host *cni.Netns) (int, error) {
	link, err := u.link(host)
	if err != nil {
		return 0, err
	}
	return link.Attrs().MTU, nil
}

func (u uplink) link(host *cni.Netns) (netlink.Link, error) {
	key, name := "underlay", u.device
	if u.bridge != "" {
		key, name = "underlay_bridge", u.bridge
	}
	link, err := host.Find(name)
	if link == nil && err == nil {
		err = attach.Errorf(attach.CodeConfig, "this node has no interface %s, which %q names", name, key)
	}
	return link, err
}

// attachment is one interface of a pod, and where it is.
type attachment struct {
	uplink
	id   attach.ID
	host *cni.Netns
	pod  *cni.Netns // nil: it is gone
}

// make makes the pod's interface, with a port's VLAN tag. It is down.
func (a *attachment) make(ctx context.Context, tag uint16, mtu int) error {
	if a.bridge != "" {
		return a.makeAccessPort(ctx, tag, mtu)
	}
	parent, err := a.link(a.host)
	if err != nil {
		return err
	}
	// Kernels look for its name among the node's interfaces, too, before it goes to
	// the pod.
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.MTU, attrs.Namespace = a.id.Device(), parent.Attrs().Index, mtu, a.pod.Fd()
	err = a.host.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: int(tag), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	switch {
	case errors.Is(err, unix.EEXIST):
		return attach.Errorf(attach.CodeTryLater, "interface %s has a VLAN device with tag %d already, in this or another namespace: has a pod that is gone left its namespace behind?", a.device, tag)
	case errors.Is(err, unix.EOPNOTSUPP):
		return attach.Errorf(attach.CodeConfig, "this node's kernel has no VLAN devices: load its module 8021q, or use \"underlay_bridge\"")
	case err != nil:
		return attach.Errorf(attach.CodeIO, "make VLAN device %d of interface %s: %s", tag, a.device, err)
	}
	link, err := a.pod.Find(attrs.Name)
	if err == nil {
		err = a.pod.LinkSetName(link, a.id.Ifname)
	}
	if err != nil {
		return attach.Errorf(attach.CodeIO, "name the container's VLAN device %s: %s", a.id.Ifname, err)
	}
	return nil
}

func (a *attachment) makeAccessPort(ctx context.Context, tag uint16, mtu int) error {
	b, err := openBridge(ctx, a.bridge)
	if err != nil {
		return failure(attach.CodeTryLater, err)
	}
	defer b.close()
	userspace, err := b.userspace(ctx)
	if err != nil {
		return failure(attach.CodeConfig, err)
	}
	device := a.id.Device()
	// The container has no such interface, so this one is what an ADD has left
	// that was killed.
	if err := a.host.Delete(device); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = device, mtu, net.FlagUp
	err = a.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: a.id.Ifname, PeerNamespace: a.pod.Fd(), PeerMTU: uint32(mtu), PeerTxQLen: -1})
	if err != nil {
		return attach.Errorf(attach.CodeIO, "make the veth pair of %s and the container's %s: %s", device, a.id.Ifname, err)
	}
	if err := cni.DisableIPv6(device); err != nil {
		return err
	}
	if userspace {
		if err := a.pod.ComputeChecksums(a.id.Ifname); err != nil {
			return err
		}
	}
	if err := b.add(ctx, device, tag, a.id.Owner(plugin)); err != nil {
		return failure(attach.CodeTryLater, err)
	}
	return nil
}

// remove removes the pod's interface, whatever there is of it. It is no error if
// that is nothing.
func (a *attachment) remove(ctx context.Context) error {
	if a.bridge == "" {
		return a.removeVLAN()
	}
	removed := a.host.Delete(a.id.Device()) // with its other end
	b, err := openBridge(ctx, a.bridge)
	if err == nil {
		defer b.close()
		err = b.remove(ctx, a.id.Device())
	}
	if err != nil {
		err = failure(attach.CodeTryLater, err)
	}
	return errors.Join(removed, err)
}

// removeVLAN removes the pod's VLAN device. An interface of that name that is
// none stays: an ADD may have failed because of it.
func (a *attachment) removeVLAN() error {
	if a.pod == nil {
		return nil // it has gone with its namespace
	}
	link, err := a.pod.Find(a.id.Ifname)
	if err != nil {
		return err
	}
	if _, ours := link.(*netlink.Vlan); ours {
		return a.pod.Delete(a.id.Ifname)
	}
	return a.pod.Delete(a.id.Device()) // that was to have that name
}

// check says what is wrong with the pod's interface.
func (a *attachment) check(ctx context.Context, tag uint16) error {
	link, err := a.pod.Find(a.id.Ifname)
	if err != nil {
		return err
	}
	if link == nil {
		return attach.Errorf(attach.CodeNotAttached, "the container has no interface %s", a.id.Ifname)
	}
	has := 0
	if vlan, is := link.(*netlink.Vlan); is && a.bridge == "" {
		has = vlan.VlanId
	} else if a.bridge != "" {
		b, err := openBridge(ctx, a.bridge)
		if err != nil {
			return failure(attach.CodeTryLater, err)
		}
		defer b.close()
		at, err := b.tag(ctx, a.id.Device())
		if err != nil {
			return failure(attach.CodeNotAttached, err)
		}
		has = int(at)
	}
	if has != int(tag) {
		return attach.Errorf(attach.CodeNotAttached, "interface %s has the VLAN tag %d, its logical port %d", a.id.Ifname, has, tag)
	}
	return nil
}

// reach waits until a machine of the pod's network has answered ARP, so that the
// pod's first packet finds its way.
func (a *attachment) reach(ctx context.Context, ip netip.Addr, patience time.Duration) error {
	link, err := a.pod.Find(a.id.Ifname)
	if err != nil {
		return err
	}
	if link == nil {
		return attach.Errorf(attach.CodeIO, "interface %s has vanished", a.id.Ifname)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	index := link.Attrs().Index
	const slowest = 64 * time.Millisecond
	const answered = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
	ask := &netlink.Neigh{LinkIndex: index, Family: unix.AF_INET, IP: ip.AsSlice(), Flags: netlink.NTF_USE}
	for wait := time.Millisecond; ; wait = min(2*wait, slowest) {
		// That an entry is used makes the kernel ask.
		if err := a.pod.NeighSet(ask); err != nil {
			return attach.Errorf(attach.CodeIO, "ask for the MAC of %s: %s", ip, err)
		}
		select {
		case <-ctx.Done():
			return attach.Errorf(attach.CodeTryLater, "the gateway %s has not answered ARP within %s: is this node's port plugged in, and does its host's agent run? (tpctl trace tells where packets end)", ip, patience)
		case <-time.After(wait):
		}
		entries, err := a.pod.NeighList(index, unix.AF_INET)
		if err != nil {
			return attach.Errorf(attach.CodeIO, "read the neighbours of interface %s: %s", a.id.Ifname, err)
		}
		for _, n := range entries {
			if n.IP.Equal(ask.IP) && n.State&answered != 0 {
				return nil
			}
		}
		if wait == slowest { // the kernel itself would take a second to ask again
			if err := a.pod.NeighDel(ask); err != nil && !errors.Is(err, unix.ENOENT) {
				return attach.Errorf(attach.CodeIO, "forget the MAC of %s: %s", ip, err)
			}
		}
	}
}
