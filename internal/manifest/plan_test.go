package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

// state returns what a store holds, from its values.
func state(t *testing.T, values map[topology.Key]string) State {
	t.Helper()
	s := State{Entities: map[topology.Key]topology.Stored{}, Broken: map[topology.Key]error{}, IDTaken: func(id uint32) bool { return id == 2 }}
	for key, value := range values {
		e, err := topology.Parse(key, value)
		if err != nil {
			s.Broken[key] = errors.New("broken")
			continue
		}
		s.Entities[key] = e
	}
	return s
}

func sw(name string) topology.Key { return topology.Key{Kind: topology.KindSwitch, Name: name} }
func lr(name string) topology.Key { return topology.Key{Kind: topology.KindRouter, Name: name} }
func lsp(parent, name string) topology.Key {
	return topology.Key{Kind: topology.KindSwitchPort, Parent: parent, Name: name}
}
func lrp(parent, name string) topology.Key {
	return topology.Key{Kind: topology.KindRouterPort, Parent: parent, Name: name}
}

func lines(changes []Change) []string {
	var list []string
	for _, c := range changes {
		line := fmt.Sprintf("%s %s", c.Action(), c.Key)
		for _, d := range c.Differences() {
			line += fmt.Sprintf(" %s[%s>%s]", d.Field, d.Old, d.New)
		}
		if c.After != nil {
			line += " = " + c.After.Value()
		}
		list = append(list, line)
	}
	return list
}

func TestPlan(t *testing.T) {
	s := state(t, map[topology.Key]string{
		sw("A"):            "id=1,owner=me",
		lsp("A", "same"):   "mac=f2:01:0a:00:00:01,ip=10.0.0.1,chassis=hv1,vlan=5",
		lsp("A", "moved"):  "ip=10.0.0.2,mac=f2:01:0a:00:00:02,chassis=hv1,vlan=5",
		lsp("A", "freed"):  "ip=10.0.0.3,mac=f2:01:0a:00:00:03,chassis=hv1",
		lsp("A", "given"):  "ip=10.0.0.4,mac=f2:01:0a:00:00:04,chassis=hv1",
		lsp("A", "patch"):  "ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee,peer=br0,chassis=hv1",
		lsp("A", "broken"): "ip=nonsense",
		lsp("A", "other"):  "ip=10.0.0.9,mac=f2:01:0a:00:00:09",
		sw("B"):            "id=3",
		lsp("B", "cni-1"):  "ip=10.0.1.1,mac=f2:01:0a:00:01:01",
		lsp("B", "lone"):   "ip=10.0.1.2,mac=f2:01:0a:00:01:02",
		sw("C"):            "id=nonsense",
		lsp("X", "orphan"): "ip=10.0.2.1,mac=f2:01:0a:00:02:01",
		{Kind: topology.KindChassis, Name: "hv1"}: "ip=172.16.0.1,tick=1",
	})
	d := read(t, `
routers:
  R: {chassis: hv1}
switches:
  A:
    ports:
      same: 10.0.0.1
      moved: 10.0.0.22
      freed: {ip: 10.0.0.3, chassis: ''}
      given: {ip: 10.0.0.4, chassis: hv2}
      patch: outer
      broken: 10.0.0.5
  N: {id: 4}
`)
	want := []string{
		"create switch N id[>4] = id=4",
		"create router R id[>5] chassis[>hv1] = id=5,chassis=hv1", // 1, 3: in use; 2: in the book; 4: described
		"change switch port A/moved ip[10.0.0.2>10.0.0.22] mac[f2:01:0a:00:00:02>f2:01:0a:00:00:16] = ip=10.0.0.22,mac=f2:01:0a:00:00:16,chassis=hv1,vlan=5",
		"change switch port A/freed chassis[hv1>] = ip=10.0.0.3,mac=f2:01:0a:00:00:03",
		"change switch port A/given chassis[hv1>hv2] = ip=10.0.0.4,mac=f2:01:0a:00:00:04,chassis=hv2",
		"change switch port A/patch bridge[br0>] chassis[hv1>] = ip=255.255.255.255,mac=ff:ff:ff:ff:ff:ee",
		"change switch port A/broken ip[>10.0.0.5] mac[>f2:01:0a:00:00:05] = ip=10.0.0.5,mac=f2:01:0a:00:00:05",
	}
	if diff := cmp.Diff(want, lines(d.Plan(s, false, nil))); diff != "" {
		t.Error(diff)
	}
	gone := []string{
		"delete switch C",
		"delete switch port A/other ip[10.0.0.9>] mac[f2:01:0a:00:00:09>]",
		"delete switch port B/lone ip[10.0.1.2>] mac[f2:01:0a:00:01:02>]",
		"delete switch port X/orphan ip[10.0.2.1>] mac[f2:01:0a:00:02:01>]",
	}
	kept := func(key topology.Key) bool { return key.Name == "cni-1" }
	if diff := cmp.Diff(append(want, gone...), lines(d.Plan(s, true, kept))); diff != "" {
		t.Error(diff)
	}
}

// Of a port that a container uses apply keeps the owner and the MAC that it chose;
// port security stays as it is unless a file says otherwise.
func TestPlanKeepsOwners(t *testing.T) {
	s := state(t, map[topology.Key]string{
		sw("A"):            "id=1,security=on",
		sw("B"):            "id=3,security=on",
		lsp("A", "used"):   "ip=10.0.0.1,mac=02:00:00:00:00:01,chassis=hv1,parent=vm,tag=1,security=on,owner=cni:k8s/1/eth0,pool=vm",
		lsp("A", "moved"):  "ip=10.0.0.2,mac=02:00:00:00:00:02,parent=vm,tag=2,owner=cni:k8s/2/eth0,pool=vm",
		lsp("A", "free"):   "ip=10.0.0.4,mac=02:00:00:00:00:04,parent=vm,tag=4,pool=vm",
		lsp("A", "opened"): "ip=10.0.0.5,mac=f2:01:0a:00:00:05,security=on",
	})
	d := read(t, `
switches:
  A:
    ports:
      used: {ip: 10.0.0.1, parent: vm, tag: 11, pool: vm}
      moved: {ip: 10.0.0.22, parent: vm, tag: 2, pool: vm}
      free: {ip: 10.0.0.4, parent: vm, tag: 4, pool: vm, port_security: true}
      opened: {ip: 10.0.0.5, port_security: false}
  B: {port_security: off}
`)
	want := []string{
		"change switch B port_security[true>] = id=3",
		"change switch port A/used tag[1>11] = ip=10.0.0.1,mac=02:00:00:00:00:01,chassis=hv1,parent=vm,tag=11,security=on,owner=cni:k8s/1/eth0,pool=vm",
		"change switch port A/moved ip[10.0.0.2>10.0.0.22] mac[02:00:00:00:00:02>f2:01:0a:00:00:16] = ip=10.0.0.22,mac=f2:01:0a:00:00:16,parent=vm,tag=2,owner=cni:k8s/2/eth0,pool=vm",
		"change switch port A/free mac[02:00:00:00:00:04>f2:01:0a:00:00:04] port_security[>true] = ip=10.0.0.4,mac=f2:01:0a:00:00:04,parent=vm,tag=4,security=on,pool=vm",
		"change switch port A/opened port_security[true>] = ip=10.0.0.5,mac=f2:01:0a:00:00:05",
	}
	if diff := cmp.Diff(want, lines(d.Plan(s, true, func(topology.Key) bool { return false }))); diff != "" {
		t.Error(diff)
	}
}

// Ports that containers use are not deleted, nor are their parents and what both
// hang on.
func TestPlanKeepsContainers(t *testing.T) {
	s := state(t, map[topology.Key]string{
		sw("pods"):             "id=1",
		lsp("pods", "used"):    "ip=10.0.0.1,mac=f2:01:0a:00:00:01,parent=vm,tag=1,owner=cni:k8s/1/eth0,pool=vm",
		lsp("pods", "free"):    "ip=10.0.0.2,mac=f2:01:0a:00:00:02,parent=vm,tag=2,pool=vm",
		sw("hosts"):            "id=2",
		lsp("hosts", "vm"):     "ip=10.1.0.1,mac=f2:01:0a:01:00:01",
		lsp("hosts", "vm2"):    "ip=10.1.0.2,mac=f2:01:0a:01:00:02",
		sw("plain"):            "id=3",
		lsp("plain", "lsp-1"):  "ip=10.2.0.1,mac=f2:01:0a:02:00:01,chassis=hv1,owner=cni:k8s/2/eth0",
		lsp("plain", "a"):      "ip=10.2.0.2,mac=f2:01:0a:02:00:02,chassis=hv1",
		sw("empty"):            "id=4",
		lsp("empty", "broken"): "owner=cni:k8s/3/eth0",
	})
	want := []string{
		"delete switch empty id[4>]",
		"delete switch port empty/broken",
		"delete switch port hosts/vm2 ip[10.1.0.2>] mac[f2:01:0a:01:00:02>]",
		"delete switch port plain/a ip[10.2.0.2>] mac[f2:01:0a:02:00:02>] chassis[hv1>]",
		"delete switch port pods/free ip[10.0.0.2>] mac[f2:01:0a:00:00:02>] parent[vm>] tag[2>] pool[vm>]",
	}
	if diff := cmp.Diff(want, lines(Description{}.Plan(s, true, func(topology.Key) bool { return false }))); diff != "" {
		t.Error(diff)
	}
}

// The other end of a link that is kept is kept, too, and what it hangs on.
func TestPlanKeepsLinks(t *testing.T) {
	s := state(t, map[topology.Key]string{
		sw("net"):               "id=1",
		lsp("net", "ep"):        "ip=10.0.0.2,mac=f2:01:0a:00:00:02",
		lsp("net", "net_to_R"):  "ip=10.0.0.1,mac=f2:01:0a:00:00:01,peer=R_to_net",
		lr("R"):                 "id=2",
		lrp("R", "R_to_net"):    "ip=10.0.0.1,prefix=24,mac=f2:01:0a:00:00:01,peer=net_to_R",
		sw("other"):             "id=3",
		lsp("other", "o_to_R"):  "ip=10.1.1.1,mac=f2:01:0a:01:01:01,peer=R_to_o",
		lrp("R", "R_to_o"):      "ip=10.1.1.1,prefix=24,mac=f2:01:0a:01:01:01,peer=o_to_R",
		lrp("R", "R_to_nobody"): "ip=10.2.2.1,prefix=24,mac=f2:01:0a:02:02:01,peer=nobody",
	})
	kept := func(key topology.Key) bool { return key.Parent == "net" }
	want := []string{
		"delete switch other id[3>]",
		"delete switch port other/o_to_R ip[10.1.1.1>] mac[f2:01:0a:01:01:01>] peer[R_to_o>]",
		"delete router port R/R_to_nobody cidr[10.2.2.1/24>] mac[f2:01:0a:02:02:01>] peer[nobody>]",
		"delete router port R/R_to_o cidr[10.1.1.1/24>] mac[f2:01:0a:01:01:01>] peer[o_to_R>]",
	}
	if diff := cmp.Diff(want, lines(Description{}.Plan(s, true, kept))); diff != "" {
		t.Error(diff)
	}
}

// The order of what is written, with what goes early because something new takes
// its place.
func TestGroups(t *testing.T) {
	s := state(t, map[topology.Key]string{
		sw("Old"):              "id=7",
		lsp("Old", "a"):        "ip=10.0.0.1,mac=f2:01:0a:00:00:01",
		lsp("Old", "Old_to_R"): "ip=10.0.0.9,mac=f2:01:0a:00:00:09,peer=R_to_Old",
		lr("R"):                "id=8",
		lrp("R", "R_to_Old"):   "ip=10.0.0.9,prefix=24,mac=f2:01:0a:00:00:09,peer=Old_to_R",
		sw("Late"):             "id=9",
		lsp("Late", "b"):       "ip=10.0.5.1,mac=f2:01:0a:00:05:01",
		sw("S"):                "id=10",
		lsp("S", "S_to_R"):     "ip=10.3.0.9,mac=f2:01:0a:03:00:09,peer=R_to_S",
		lrp("R", "R_to_S"):     "ip=10.3.0.9,prefix=24,mac=f2:01:0a:03:00:09,peer=S_to_R",
		lsp("S", "renamed"):    "ip=10.3.0.1,mac=f2:01:0a:03:00:01",
		{Kind: topology.KindStaticRoute, Parent: "R", Name: "r"}: "ip=10.9.0.0,prefix=16,next_hop=10.3.0.7,outport=R_to_S",
	})
	d := read(t, `
switches:
  New: {id: 7, ports: {x: 10.0.0.1}}
  S: {ports: {again: 10.3.0.1}}
routers:
  Central:
    links: [{switch: New, cidr: 10.0.0.9/24}]
    routes: {out: {cidr: 0.0.0.0/0, next_hop: 10.0.0.8}}
    nat: {n: {type: snat, cidr: 10.0.0.0/8, ip: 192.0.2.1}}
  Pinned: {chassis: hv1}
  R:
`)
	var got []string
	for _, group := range Groups(d.Plan(s, true, func(topology.Key) bool { return false })) {
		line := ""
		for _, unit := range group {
			for i, c := range unit {
				sign := map[Action]string{Create: "+", Modify: "~", Delete: "-"}[c.Action()]
				line += map[bool]string{true: " & ", false: "; "}[i > 0] + sign + c.Key.String()
			}
		}
		got = append(got, line[2:])
	}
	want := []string{
		"-switch port Old/Old_to_R & -router port R/R_to_Old",
		"-switch port S/renamed",
		"-switch port Old/a; -switch Old",
		"+switch New; +switch port New/x",
		"+switch port S/again",
		"+router Pinned",
		"+router Central; +switch port New/New_to_Central & +router port Central/Central_to_New; +NAT Central/n; +static route Central/out",
		"-static route R/r; -switch port S/S_to_R & -router port R/R_to_S",
		"-switch port Late/b; -switch Late",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Groups hold each change once, parents before children that are made and after
// those that are deleted.
func TestGroupsProperty(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		before, after := random(r), random(r)
		s := State{Entities: map[topology.Key]topology.Stored{}, IDTaken: func(uint32) bool { return false }}
		for _, e := range before {
			s.Entities[e.Key()] = e
		}
		var d Description
		for _, e := range after {
			d = append(d, Object{Entity: e, Bound: true})
		}
		changes := d.Plan(s, true, func(topology.Key) bool { return false })
		position := map[topology.Key]int{}
		for _, group := range Groups(changes) {
			for _, unit := range group {
				for _, c := range unit {
					if _, twice := position[c.Key]; twice {
						t.Fatalf("seed %d: %s stands there twice", seed, c.Key)
					}
					position[c.Key] = len(position)
				}
			}
		}
		if len(position) != len(changes) {
			t.Fatalf("seed %d: %d of %d changes", seed, len(position), len(changes))
		}
		for _, c := range changes {
			at, ok := position[c.Key.ParentKey()]
			i := slices.IndexFunc(changes, func(p Change) bool { return p.Key == c.Key.ParentKey() })
			if !ok || c.Key.Parent == "" || c.Action() != changes[i].Action() {
				continue
			}
			if first := at < position[c.Key]; first != (c.Action() != Delete) {
				t.Errorf("seed %d: %s %s and its parent are in the wrong order", seed, c.Action(), c.Key)
			}
		}
	}
}
