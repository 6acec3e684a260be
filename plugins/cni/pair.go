package cni

import (
	"crypto/sha256"
	"errors"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// pair is a veth pair: the container's end has its final name and namespace from
// the beginning.
type pair struct {
	host, container *Netns
	device          string // name of the host's end
	ifname          string // and of the container's
}

// errExists is the error of a pair, one of whose names is taken.
var errExists = errors.New("interface exists")

// make makes the pair, with the host's end up. An MTU of 0 leaves the kernel's.
func (p *pair) make(mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = p.device, mtu, net.FlagUp
	attrs.HardwareAddr = hostMAC(p.device)
	err := p.host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: p.ifname, PeerNamespace: p.container.Fd(), PeerTxQLen: -1})
	switch {
	case errors.Is(err, unix.EEXIST):
		return errExists
	case err != nil:
		return attach.Errorf(attach.CodeIO, "make the veth pair of %s and %s%s: %s", p.device, p.ifname, p.container.where(), err)
	}
	return nil
}

// hostMAC returns the MAC of a host's end. It comes from the name, for an end
// that is made without one gets one at random, which udev then replaces.
func hostMAC(device string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(device))
	return append(net.HardwareAddr{0x02}, sum[:5]...) // administered locally
}

// conflict says what stands in the way of a pair that cannot be made: an error
// if the container has an interface of that name, nil if it is but a host's end
// whose other end is elsewhere, and which may go if the agent knows of no such
// attachment.
func (p *pair) conflict() error {
	in, err := p.container.Find(p.ifname)
	if in == nil || err != nil {
		return err
	}
	out, err := p.host.Find(p.device)
	if err != nil {
		return err
	}
	if out != nil && in.Attrs().ParentIndex == out.Attrs().Index {
		return attach.Errorf(attach.CodeAttached, "interface %s%s is attached already: delete the attachment (DEL) before it is made anew", p.ifname, p.container.where())
	}
	return attach.Errorf(attach.CodeEnvironment, "there is an interface %s already%s, which is not ours: choose another name (CNI_IFNAME)", p.ifname, p.container.where())
}

// setMTU sets the MTU of the host's end; the container's end gets its own when it
// is configured.
func (p *pair) setMTU(mtu int) error {
	link, err := p.host.Find(p.device)
	if err != nil {
		return err
	}
	if link == nil {
		return attach.Errorf(attach.CodeIO, "interface %s has vanished", p.device)
	}
	if err := p.host.LinkSetMTU(link, mtu); err != nil {
		return attach.Errorf(attach.CodeIO, "set MTU %d of interface %s: %s", mtu, p.device, err)
	}
	return nil
}

// remove removes both ends.
func (p *pair) remove() error { return p.host.Delete(p.device) }
