package agent

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/status"
	"tuplenet/internal/topology"
)

// child writes a port as etcdctl would, with more than its address.
func (s *site) child(name, ip, more string) topology.Key {
	s.t.Helper()
	s.put("entity_view/LS/LS/lsp/"+name, fmt.Sprintf("ip=%s,mac=%s%s", ip, topology.MACFromIP(netip.MustParseAddr(ip)), more))
	return topology.SwitchPort{Switch: "LS", Name: name}.Key()
}

var vlan = regexp.MustCompile(`dl_vlan=(\d+)`)

// tags are the VLAN tags that a host takes in.
func (h *host) tags() []string {
	var tags []string
	for _, m := range vlan.FindAllStringSubmatch(h.flows(classify), -1) {
		tags = append(tags, m[1])
	}
	slices.Sort(tags)
	return tags
}

// Children are where their parent is, and follow it and what the store says of
// them.
func TestChildren(t *testing.T) {
	s := newSite(t)
	a, b := s.host("hv-a", "192.168.1.1"), s.host("hv-b", "192.168.1.2")
	s.create(topology.Switch{Name: "LS"})
	node, other := s.child("node", "10.0.0.1", ""), s.child("other", "10.0.0.2", "")
	early := s.child("early", "10.0.0.3", ",parent=node,tag=7") // before its parent is plugged in
	is := func(what string, tagsA, tagsB []string, here, there []topology.Key) {
		t.Helper()
		eventually(t, what, func() bool {
			ok := slices.Equal(a.tags(), tagsA) && slices.Equal(b.tags(), tagsB)
			for _, key := range here {
				ok = ok && s.chassisOf(key) == "hv-a"
			}
			for _, key := range there {
				ok = ok && s.chassisOf(key) == "hv-b"
			}
			return ok
		})
	}
	keys := func(k ...topology.Key) []topology.Key { return k }
	a.plug("node")
	is("the child is where its parent is", []string{"7"}, nil, keys(node, early), nil)
	late := s.child("late", "10.0.0.4", ",parent=node,tag=8")
	is("so is one that comes later", []string{"7", "8"}, nil, keys(early, late), nil)
	s.child("late", "10.0.0.4", ",parent=node,tag=9,chassis=hv-a")
	is("a tag changes", []string{"7", "9"}, nil, keys(late), nil)
	s.child("early", "10.0.0.3", ",parent=node,tag=7,chassis=hv-b")
	is("where a child is nobody else says", []string{"7", "9"}, nil, keys(early), nil)

	// What cannot be one is none.
	s.child("grandchild", "10.0.0.5", ",parent=early,tag=10")
	eventually(t, "a child of a child is a problem", func() bool { return a.log.said("cannot work", "grandchild", "is a child itself") == 1 })
	b.plug("early")
	eventually(t, "an interface of a child's name is ignored", func() bool { return b.log.said("is ignored", "LS/early", "if-early") == 1 })
	eventually(t, "hv-b tells of it", func() bool {
		r, ok := s.report("hv-b", false)
		return ok && slices.Equal(r.Strays, []status.Stray{{Interface: "if-early", Port: "early", Chassis: "hv-a", Parent: "node"}})
	})
	eventually(t, "hv-a tells of its ports", func() bool {
		r, ok := s.report("hv-a", true)
		want := []status.Port{
			{Name: "early", Switch: "LS", IP: "10.0.0.3", Interface: "if-node", Tag: 7, State: "bound"},
			{Name: "late", Switch: "LS", IP: "10.0.0.4", Interface: "if-node", Tag: 9, State: "bound"},
			{Name: "node", Switch: "LS", IP: "10.0.0.1", Interface: "if-node", State: "bound"},
		}
		if !ok || r.Ports != 3 || r.Detail.Interfaces != 3 || len(r.Detail.PortList) != 3 {
			return false
		}
		got := slices.SortedFunc(slices.Values(r.Detail.PortList), func(p, q status.Port) int { return strings.Compare(p.Name, q.Name) })
		for i := range got {
			want[i].OFPort = got[0].OFPort
		}
		return slices.Equal(got, want)
	})
	for name, h := range map[string]*host{"hv-a": a, "hv-b": b} {
		eventually(t, name+" is as an agent makes it that starts", func() bool {
			d, err := h.verify()
			return err == nil && d.None()
		})
	}

	// They go with their parent, and one with another.
	b.plug("node")
	is("the parent has moved", nil, []string{"7", "9"}, nil, keys(node, early, late))
	a.unplug("node")
	a.plug("other")
	s.child("late", "10.0.0.4", ",parent=other,tag=9,chassis=hv-b")
	is("one child has another parent", []string{"9"}, []string{"7"}, keys(other, late), keys(early))
	a.stop()
	a.start()
	is("an agent starts anew", []string{"9"}, []string{"7"}, keys(other, late), keys(early))
	if err := s.store.Delete(t.Context(), late, false); err != nil {
		t.Fatal(err)
	}
	is("one is deleted", nil, []string{"7"}, nil, keys(early))
	b.unplug("node")
	is("the parent's interface is gone", nil, nil, nil, keys(early))

	// A port of its own again: the interface with its name serves it, and its
	// child.
	s.child("early", "10.0.0.3", ",chassis=hv-b")
	grandchild := topology.SwitchPort{Switch: "LS", Name: "grandchild"}.Key()
	is("what was a grandchild is a child", nil, []string{"10"}, nil, keys(early, grandchild))
	eventually(t, "both are delivered to the interface", func() bool { return strings.Count(b.flows(deliver), "output:") == 2 })
}

// A packet can be traced from a child and to it.
func TestTraceChild(t *testing.T) {
	s := newSite(t)
	h := s.host("hv-a", "192.168.1.1")
	s.create(topology.Switch{Name: "LS"})
	s.child("node", "10.0.0.1", "")
	one, two := s.child("one", "10.0.0.2", ",parent=node,tag=7,security=on"), s.child("two", "10.0.0.3", ",parent=node,tag=8")
	s.child("lost", "10.0.0.4", ",parent=nobody,tag=8")
	h.plug("node")
	eventually(t, "both children are here", func() bool { return s.chassisOf(one) == "hv-a" && s.chassisOf(two) == "hv-a" && len(h.tags()) == 2 })
	mac := func(key topology.Key) string { return get(t, s, key).(topology.SwitchPort).MAC.String() }
	macNode := mac(topology.SwitchPort{Switch: "LS", Name: "node"}.Key())
	wantPath(t, s.traced("hv-a", "one", ethernet(mac(two), mac(one))),
		"hv-a switch-security interface one", "hv-a switch-lookup switch port LS/two", "hv-a switch-deliver interface two output two")
	wantPath(t, s.traced("hv-a", "one", ethernet(macNode, mac(one))), "hv-a switch-deliver interface node output node")
	wantPath(t, s.traced("hv-a", "node", ethernet(mac(one), macNode)), "hv-a switch-deliver interface one output one")
	wantPath(t, s.traced("hv-a", "one", ethernet(mac(two), macNode)), "hv-a switch-security\nhv-a drop drop")
	wantPath(t, s.traced("hv-a", "lost", ethernet(mac(two), mac(one))), "its parent nobody is not plugged in here")
}
