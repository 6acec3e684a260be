package ovs

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// Health is what can be wrong with an Open vSwitch beside flows and tunnels.
type Health struct {
	Chassis    string // the name of the host, its system-id; empty if it has none
	Version    string // of ovs-vswitchd; empty if VersionErr says why it does not answer
	VersionErr error
	TSO        bool // other_config:userspace-tso-enable: checksums are carried along in the userspace datapath

	Bridge    string   // the integration bridge; empty if there is none
	Datapath  string   // its type: system (the kernel's), netdev (userspace) or dummy
	FailMode  string   // "secure", "standalone", or empty, which is standalone
	Protocols []string // OpenFlow versions that it speaks; empty for the default
	IPFIX     string   // what is told of its packets, as IPFIX.String says it; empty: nothing
	OwnIPFIX  bool     // and an agent has asked for that

	Faults  map[string]string   // interfaces of all bridges that cannot be used: name to reason
	Twins   map[string][]string // iface-ids of the bridge that several interfaces have, and these
	NoCsum  []string            // tunnels without options:csum=true
	Devices []Device            // network devices of the bridges that have this datapath
	Plugged []Plugged           // interfaces of the bridge that have an iface-id, by name
	Dark    map[string]string   // other bridges from which nothing leads on: name to its network devices, with commas
}

// Plugged is an interface of the integration bridge that stands for a port.
type Plugged struct {
	Name, IfaceID string
	Bridge        string // that a patch port leads to; empty for other interfaces
	Unlinked      bool   // a network device without a link
	AttachedMAC   string // external_ids:attached-mac, the workload's; empty if nobody has said it
	Owner         string // of an Attachment
}

// Device is a network device of Linux that a bridge uses or has made.
type Device struct {
	Name, Bridge string
	Internal     bool // made by Open vSwitch, for the host's own stack
}

// Examine looks at an Open vSwitch and changes nothing. It does not wait for one
// that is away.
func Examine(ctx context.Context, cfg Config) (Health, error) {
	cfg.setDefaults()
	s, err := newSession(ctx, cfg.Database, cfg.Log)
	if err != nil {
		return Health{}, away(err)
	}
	defer s.close()
	v, err := s.wholeView(ctx, cfg)
	if err != nil {
		return Health{}, err
	}
	h := Health{IPFIX: v.ipfix, OwnIPFIX: v.ownIPFIX, Faults: map[string]string{}, Twins: map[string][]string{}}
	if root := findRoot(s.cache); root != nil {
		h.Chassis, h.TSO = root.ExternalIDs["system-id"], root.OtherConfig["userspace-tso-enable"] == "true"
	}
	h.addBridges(readRows(s.cache), cfg.Bridge)
	text, err := (&Driver{cfg: cfg}).appctl(ctx, "version")
	h.Version, h.VersionErr = versionIn(text), err
	return h, nil
}

func (h *Health) addBridges(r rows, name string) {
	byID := map[string][]string{}
	devices := map[string][]Device{} // by datapath type
	ways := newWays()
	for _, row := range r.bridges {
		b := row.(*bridge)
		ways.add(b, nil)
		datapath := b.DatapathType
		if datapath == "" {
			datapath = "system"
		}
		if b.Name == name {
			h.Bridge, h.Datapath, h.Protocols = b.Name, datapath, slices.Sorted(slices.Values(b.Protocols))
			if b.FailMode != nil {
				h.FailMode = *b.FailMode
			}
		}
		r.each(b, func(_ *port, i *iface) {
			ways.add(b, i)
			switch {
			case i.Error != nil:
				h.Faults[i.Name] = *i.Error
			case i.OFPort != nil && *i.OFPort < 0:
				h.Faults[i.Name] = "no OpenFlow port could be had"
			}
			if isDevice(i.Type) || i.Type == "internal" {
				devices[datapath] = append(devices[datapath], Device{i.Name, b.Name, i.Type == "internal"})
			}
			if b.Name != name {
				return
			}
			if id := i.ExternalIDs["iface-id"]; id != "" {
				byID[id] = append(byID[id], i.Name)
				h.Plugged = append(h.Plugged, Plugged{Name: i.Name, IfaceID: id, Unlinked: isDevice(i.Type) && i.Error == nil && !isUp(i),
					AttachedMAC: i.ExternalIDs["attached-mac"], Owner: i.ExternalIDs[ownerID]})
			}
			if isTunnelName(i.Name) && i.Options["csum"] != "true" {
				h.NoCsum = append(h.NoCsum, i.Name)
			}
		})
	}
	for id, names := range byID {
		if len(names) > 1 {
			h.Twins[id] = slices.Sorted(slices.Values(names))
		}
	}
	slices.SortFunc(h.Plugged, func(a, b Plugged) int { return strings.Compare(a.Name, b.Name) })
	for n := range h.Plugged {
		h.Plugged[n].Bridge = ways.behind(h.Plugged[n].Name)
	}
	h.Dark = map[string]string{}
	for b := range ways.bridges {
		if b != name && ways.dark(b, name) {
			h.Dark[b] = ways.nics(b)
		}
	}
	slices.Sort(h.NoCsum)
	h.Devices = devices[h.Datapath]
	slices.SortFunc(h.Devices, func(a, b Device) int { return strings.Compare(a.Name, b.Name) })
	maps.DeleteFunc(h.Faults, func(_, reason string) bool { return reason == "" })
}
