package ovs

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/cache"

	"tuplenet/internal/topology"
)

// Interface is an interface of the bridge that stands for a port of the
// logical topology.
type Interface struct {
	Name    string
	IfaceID string // external_ids:iface-id
	OFPort  uint32 // OpenFlow port, 1 to 65279

	// Of a patch port: the bridge that it leads to, empty if there is none, the
	// network devices there, with commas, and whether it is dark: nothing there,
	// or in the bridges behind, has a link. The host's own ports count where there
	// is no network device.
	Bridge, NICs string
	Dark         bool
}

// Tunnel is a tunnel port of the bridge.
type Tunnel struct {
	Chassis  string     // external_ids:chassis-id, the system-id of the other end, or FlowBased
	RemoteIP netip.Addr // its tunnel address; the zero Addr for FlowBased
	Name     string
	OFPort   uint32 // OpenFlow port, 1 to 65279
	Watched  bool   // BFD is asked for, and ovs-vswitchd runs it
	Up       bool   // bfd_status:forwarding; means something while the tunnel is watched
	// BFD packets of the other end come in, and whether they say that it cannot
	// forward what it gets (RFC 5880, diagnostic 5, Concatenated Path Down).
	Heard, Refusing bool
	Flaps           uint64 // how often Up has changed, as ovs-vswitchd counts it
}

// HostStack is the internal port by which packets enter the host's own stack.
type HostStack struct {
	OFPort uint32 // OpenFlow port, 1 to 65279
	MAC    topology.MAC
}

// maxOFPort is the largest number of an ordinary port: OFPP_MAX-1 in Open
// vSwitch's 16 bits. The local port lies above.
const maxOFPort = 0xff00 - 1

// patchType is the type of the interfaces that join two bridges.
const patchType = "patch"

// view is what the driver hands out of the replica.
type view struct {
	interfaces  []Interface
	tunnels     []Tunnel
	hostStack   HostStack // zero unless there is one
	wiring      []wire
	held        bool // see HoldTraffic
	attachments []Attachment
	ipfix       string            // see Health
	ownIPFIX    bool              // see Health
	userspace   bool              // datapath_type of the bridge is netdev
	faults      map[string]string // interfaces that OVS cannot use: name to reason
}

// wire is a bridge of this Open vSwitch, when name is empty, or a patch port
// in it. SetPatches depends on them, so that their changes are events.
type wire struct{ bridge, name, peer, ifaceID string }

// equal reports whether there is nothing new for the caller.
func (v *view) equal(o *view) bool {
	return slices.Equal(v.interfaces, o.interfaces) && slices.Equal(v.tunnels, o.tunnels) &&
		v.hostStack == o.hostStack && v.held == o.held && slices.Equal(v.wiring, o.wiring) &&
		slices.Equal(v.attachments, o.attachments) && v.userspace == o.userspace && v.ipfix == o.ipfix && v.ownIPFIX == o.ownIPFIX
}

// readView reads the bridge's interfaces, and how other bridges are joined to
// it. whole is false when an update is under way.
func readView(c *cache.TableCache, bridgeName string) (v view, whole bool) {
	r := readRows(c)
	v.faults, whole = map[string]string{}, true
	v.held = isHeld(c)
	ways := newWays()
	for _, row := range r.bridges {
		b := row.(*bridge)
		v.wiring = append(v.wiring, wire{bridge: b.Name})
		if b.Name == bridgeName {
			v.userspace = b.DatapathType == "netdev"
			row, err := findIPFIX(c, b)
			v.ipfix, v.ownIPFIX, whole = row.String(), row.isOurs(), whole && err == nil
		}
		ways.add(b, nil)
		whole = r.each(b, func(_ *port, i *iface) {
			ways.add(b, i)
			if i.Type == patchType {
				v.wiring = append(v.wiring, wire{b.Name, i.Name, i.Options["peer"], i.ExternalIDs["iface-id"]})
			}
			if b.Name == bridgeName {
				v.add(i)
			}
		}) && whole
	}
	for n := range v.interfaces {
		i := &v.interfaces[n]
		if _, patch := ways.patches[i.Name]; patch {
			i.Bridge = ways.behind(i.Name)
			i.NICs, i.Dark = ways.nics(i.Bridge), ways.dark(i.Bridge, bridgeName)
		}
	}
	slices.SortFunc(v.interfaces, func(a, b Interface) int {
		return cmp.Or(cmp.Compare(a.IfaceID, b.IfaceID), cmp.Compare(a.OFPort, b.OFPort))
	})
	slices.SortFunc(v.attachments, func(a, b Attachment) int { return cmp.Compare(a.Device, b.Device) })
	slices.SortFunc(v.tunnels, func(a, b Tunnel) int {
		if c := cmp.Compare(a.Chassis, b.Chassis); c != 0 {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	slices.SortFunc(v.wiring, func(a, b wire) int {
		return cmp.Or(cmp.Compare(a.bridge, b.bridge), cmp.Compare(a.name, b.name))
	})
	return v, whole
}

// add takes in an interface of the integration bridge.
func (v *view) add(i *iface) {
	if owner := i.ExternalIDs[ownerID]; owner != "" {
		v.attachments = append(v.attachments, Attachment{Device: i.Name, Port: i.ExternalIDs["iface-id"], Owner: owner,
			Failed: i.Error != nil || i.OFPort != nil && *i.OFPort < 0,
			Dark:   i.LinkState != nil && *i.LinkState == "down"})
	}
	id, tunnel, hostStack := i.ExternalIDs["iface-id"], isTunnelName(i.Name), isHostStack(i)
	if id == "" && !tunnel && !hostStack {
		return
	}
	switch {
	case i.Error != nil:
		v.faults[i.Name] = *i.Error
	case i.OFPort != nil && *i.OFPort < 0:
		v.faults[i.Name] = "no OpenFlow port could be had; see the log of ovs-vswitchd"
	}
	if i.OFPort == nil || *i.OFPort < 1 || *i.OFPort > maxOFPort {
		return
	}
	ofport := uint32(*i.OFPort)
	if id != "" {
		v.interfaces = append(v.interfaces, Interface{Name: i.Name, IfaceID: id, OFPort: ofport})
	}
	remote, err := netip.ParseAddr(i.Options["remote_ip"])
	if tunnel && (err == nil || i.Options["remote_ip"] == "flow") {
		flaps, _ := strconv.ParseUint(i.BFDStatus["flap_count"], 10, 64) // absent unless BFD runs
		v.tunnels = append(v.tunnels, Tunnel{
			Chassis: i.ExternalIDs["chassis-id"], RemoteIP: remote, Name: i.Name, OFPort: ofport,
			Watched: bfdEnabled(i.BFD) && i.BFDStatus["state"] != "",
			Up:      i.BFDStatus["forwarding"] == "true",
			Heard:   hearsBFD(i.BFDStatus), Refusing: i.BFDStatus["remote_diagnostic"] == pathDownDiagnostic,
			Flaps: flaps,
		})
	}
	if hostStack && i.MACInUse != nil {
		if mac, err := topology.ParseMAC(*i.MACInUse); err == nil {
			v.hostStack = HostStack{ofport, mac}
		}
	}
}

// isDevice reports whether interfaces of that type are network devices, which
// may lead to other hosts, and not made by Open vSwitch itself.
func isDevice(ifaceType string) bool {
	switch ifaceType {
	case "", "system", "dpdk", "afxdp", "afxdp-nonpmd":
		return true
	}
	return false
}
