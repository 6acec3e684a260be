package cni

import (
	"crypto/sha256"
	"errors"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"cni.tuplenet/attach"
)

// Pair is a veth pair: the container's end has its name and namespace from the
// beginning.
type Pair struct {
	Host, Container *Netns
	Device          string // name of the host's end
	Ifname          string // and of the container's
}

// ErrExists is the error of a pair, one of whose names is taken.
var ErrExists = errors.New("interface exists")

// Make makes the pair, with the host's end up. An MTU of 0 leaves the kernel's.
// ErrExists: one of the names is taken.
func (p *Pair) Make(mtu int) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Flags = p.Device, mtu, net.FlagUp
	attrs.HardwareAddr = hostMAC(p.Device)
	err := p.Host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: p.Ifname, PeerNamespace: p.Container.Fd(), PeerTxQLen: -1})
	switch {
	case errors.Is(err, unix.EEXIST):
		return ErrExists
	case err != nil:
		return attach.Errorf(attach.CodeIO, "make the veth pair of %s and %s%s: %s", p.Device, p.Ifname, p.Container.where(), err)
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
func (p *Pair) conflict() error {
	in, err := p.Container.Find(p.Ifname)
	if in == nil || err != nil {
		return err
	}
	out, err := p.Host.Find(p.Device)
	if err != nil {
		return err
	}
	if out != nil && in.Attrs().ParentIndex == out.Attrs().Index {
		return attach.Errorf(attach.CodeAttached, "interface %s%s is attached already: delete the attachment (DEL) before it is made anew", p.Ifname, p.Container.where())
	}
	return attach.Errorf(attach.CodeEnvironment, "there is an interface %s already%s, which is not ours: choose another name (CNI_IFNAME)", p.Ifname, p.Container.where())
}

// SetMTU sets the MTU of the host's end; the container's end gets its own when it
// is configured.
func (p *Pair) SetMTU(mtu int) error {
	link, err := p.Host.Find(p.Device)
	if err != nil {
		return err
	}
	if link == nil {
		return attach.Errorf(attach.CodeIO, "interface %s has vanished", p.Device)
	}
	if err := p.Host.LinkSetMTU(link, mtu); err != nil {
		return attach.Errorf(attach.CodeIO, "set MTU %d of interface %s: %s", mtu, p.Device, err)
	}
	return nil
}

// Remove removes both ends.
func (p *Pair) Remove() error { return p.Host.Delete(p.Device) }
