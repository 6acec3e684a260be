package ovs

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/cache"
)

// Interface is an interface of the bridge that stands for a port of the
// logical topology.
type Interface struct {
	Name    string
	IfaceID string // external_ids:iface-id
	OFPort  uint32 // OpenFlow port, 1 to 65279
}

// Tunnel is a tunnel port of the bridge.
type Tunnel struct {
	Chassis  string     // external_ids:chassis-id, the system-id of the other end
	RemoteIP netip.Addr // its tunnel address
	Name     string
	OFPort   uint32 // OpenFlow port, 1 to 65279
}

// maxOFPort is the largest number of an ordinary port: OFPP_MAX-1 in Open
// vSwitch's 16 bits. The local port lies above.
const maxOFPort = 0xff00 - 1

// view is what the driver hands out of the replica.
type view struct {
	interfaces []Interface
	tunnels    []Tunnel
	faults     map[string]string // interfaces that OVS cannot use: name to reason
}

// readView reads the bridge's interfaces. libovsdb applies an update row by
// row: a reference to a row that is not there shows that one is under way;
// whole is false then.
func readView(c *cache.TableCache, bridgeName string) (v view, whole bool) {
	v.faults = map[string]string{}
	whole = eachInterface(c, bridgeName, func(_ *port, i *iface) {
		id, tunnel := i.ExternalIDs["iface-id"], isTunnelName(i.Name)
		if id == "" && !tunnel {
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
			v.interfaces = append(v.interfaces, Interface{i.Name, id, ofport})
		}
		if remote, err := netip.ParseAddr(i.Options["remote_ip"]); tunnel && err == nil {
			v.tunnels = append(v.tunnels, Tunnel{i.ExternalIDs["chassis-id"], remote, i.Name, ofport})
		}
	})
	slices.SortFunc(v.interfaces, func(a, b Interface) int {
		return cmp.Or(cmp.Compare(a.IfaceID, b.IfaceID), cmp.Compare(a.OFPort, b.OFPort))
	})
	slices.SortFunc(v.tunnels, func(a, b Tunnel) int {
		if c := cmp.Compare(a.Chassis, b.Chassis); c != 0 {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return v, whole
}

// eachInterface calls f for every interface of the bridge, and reports whether
// all that the bridge refers to was there.
func eachInterface(c *cache.TableCache, bridgeName string, f func(*port, *iface)) (whole bool) {
	b := findRow(c, tableBridge, func(b *bridge) bool { return b.Name == bridgeName })
	if b == nil {
		return true
	}
	whole = true
	ports, ifaces := c.Table(tablePort).RowsShallow(), c.Table(tableInterface).RowsShallow()
	for _, uuid := range b.Ports {
		p, ok := ports[uuid].(*port)
		if !ok {
			whole = false
			continue
		}
		for _, uuid := range p.Interfaces {
			if i, ok := ifaces[uuid].(*iface); ok {
				f(p, i)
			} else {
				whole = false
			}
		}
	}
	return whole
}
