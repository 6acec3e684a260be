package manifest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/topology"
)

// entities lets cmp compare addresses.
var entities = cmp.Comparer(func(a, b topology.Stored) bool { return a == b })

func read(t *testing.T, text string) Description {
	t.Helper()
	d, err := Read(Source{"f.yaml", []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mac(s string) topology.MAC {
	m, err := topology.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func TestRead(t *testing.T) {
	d := read(t, `
switches:
  A:
    id: 7
    ports:
      short: 10.0.0.1
      long: {ip: 10.0.0.2, mac: "02:00:00:00:00:01", peer: r, chassis: hv1}
      patch: {bridge: br0, chassis: hv2}
      hand: outer
      freed: {ip: 10.0.0.3, chassis: }
      child: {ip: 10.0.0.4, parent: long, tag: 4094, port_security: true, pool: vm1}
      open: {ip: 10.0.0.5, port_security: off}
  yes: {port_security: on}
---
routers:
  R:
    chassis: hv3
    links: [{switch: A, cidr: 10.0.0.9/24}]
    ports:
      p: 10.1.0.1/16
      q: {cidr: 10.2.0.1/16, mac: "02:00:00:00:00:02", peer: x}
    routes:
      out: {cidr: 0.0.0.0/0, next_hop: 10.2.0.7}
      named: {cidr: 10.9.0.0/16, next_hop: 10.0.0.7, outport: p}
    nat:
      n: {type: SNAT, cidr: 10.0.0.0/8, ip: 192.0.2.1}
`)
	var got []topology.Stored
	for _, o := range d {
		got = append(got, o.Entity)
	}
	ip := netip.MustParseAddr
	net := netip.MustParsePrefix
	want := []topology.Stored{
		topology.Switch{Name: "A", ID: 7},
		topology.SwitchPort{Switch: "A", Name: "short", IP: ip("10.0.0.1"), MAC: mac("f2:01:0a:00:00:01")},
		topology.SwitchPort{Switch: "A", Name: "long", IP: ip("10.0.0.2"), MAC: mac("02:00:00:00:00:01"), Peer: "r", Chassis: "hv1"},
		topology.SwitchPort{Switch: "A", Name: "patch", IP: topology.OuterIP, MAC: topology.OuterMAC, Peer: "br0", Chassis: "hv2"},
		topology.SwitchPort{Switch: "A", Name: "hand", IP: topology.OuterIP, MAC: topology.OuterMAC},
		topology.SwitchPort{Switch: "A", Name: "freed", IP: ip("10.0.0.3"), MAC: mac("f2:01:0a:00:00:03")},
		topology.SwitchPort{Switch: "A", Name: "child", IP: ip("10.0.0.4"), MAC: mac("f2:01:0a:00:00:04"), Parent: "long", Tag: 4094, Secured: true, Pool: "vm1"},
		topology.SwitchPort{Switch: "A", Name: "open", IP: ip("10.0.0.5"), MAC: mac("f2:01:0a:00:00:05")},
		topology.Switch{Name: "yes", Secured: true},
		topology.Router{Name: "R", Chassis: "hv3"},
		topology.SwitchPort{Switch: "A", Name: "A_to_R", IP: ip("10.0.0.9"), MAC: mac("f2:01:0a:00:00:09"), Peer: "R_to_A"},
		topology.RouterPort{Router: "R", Name: "R_to_A", Net: net("10.0.0.9/24"), MAC: mac("f2:01:0a:00:00:09"), Peer: "A_to_R"},
		topology.RouterPort{Router: "R", Name: "p", Net: net("10.1.0.1/16"), MAC: mac("f2:01:0a:01:00:01")},
		topology.RouterPort{Router: "R", Name: "q", Net: net("10.2.0.1/16"), MAC: mac("02:00:00:00:00:02"), Peer: "x"},
		topology.NAT{Router: "R", Name: "n", Net: net("10.0.0.0/8"), XlateIP: ip("192.0.2.1"), Type: topology.SNAT},
		topology.StaticRoute{Router: "R", Name: "out", Net: net("0.0.0.0/0"), NextHop: ip("10.2.0.7"), OutPort: "q"},
		topology.StaticRoute{Router: "R", Name: "named", Net: net("10.9.0.0/16"), NextHop: ip("10.0.0.7"), OutPort: "p"},
	}
	if diff := cmp.Diff(want, got, entities); diff != "" {
		t.Error(diff)
	}
	for _, o := range d {
		name := o.Entity.Key().Name
		if bound := name == "long" || name == "patch" || name == "freed"; o.Bound != bound {
			t.Errorf("%s: Bound is %v", name, o.Bound)
		}
		if says := name == "child" || name == "open" || name == "yes"; o.Security != says {
			t.Errorf("%s: Security is %v", name, o.Security)
		}
	}
	if at := d[1].At; at != (Place{"f.yaml", 6, 7}) {
		t.Errorf("the first port is at %s", at)
	}
	if d := read(t, "# nothing\n---\n---\n"); len(d) != 0 {
		t.Errorf("an empty text describes %v", d)
	}
}

// What is wrong is told with its place, all at once.
func TestReadProblems(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"switch: {}", `f.yaml:1:1: unknown field "switch" of a description; did you mean "switches"?`},
		{"router: {}", `f.yaml:1:1: unknown field "router" of a description; did you mean "routers"?`},
		{"switches: {A: {prots: }}", `f.yaml:1:16: unknown field "prots" of switch A; did you mean "ports"?`},
		{"routers: {R: {gateway: 1}}", `f.yaml:1:15: unknown field "gateway" of router R; there are: id, chassis, links, ports, routes, nat`},
		{"switches: {A: {id: 1, id: 2}}", `f.yaml:1:23: field id of switch A stands there twice, first at f.yaml:1:16`},
		{"switches: {A: , A: {id: 4}}", `f.yaml:1:17: switch A is described twice, first at f.yaml:1:12; keep one of the two`},
		{"switches: [A]", `f.yaml:1:11: switches: want fields, not a list`},
		{"switches: {A: B}", `f.yaml:1:15: switch A: want fields, not a single value`},
		{"switches: {A: {id: 0}}", `f.yaml:1:20: invalid id "0", want a number from 1 to 16777215, or no id for the lowest that is free`},
		{"switches: {a/b: }", `f.yaml:1:12: switches: invalid name "a/b": "/" is not allowed`},
		{"switches: {A: {ports: {p: }}}", `f.yaml:1:24: switch A port p has no ip: write p: 10.20.1.10, or fields with ip`},
		{"switches: {A: {ports: {p: 10.0.0.1/24}}}", `f.yaml:1:27: switch A port p: ip: invalid IP "10.0.0.1/24", want an IPv4 address such as 10.20.1.10`},
		{"switches: {A: {ports: {p: {ip: 10.0.0.1, mac: x}}}}", `f.yaml:1:47: switch A port p: mac: invalid MAC "x", want six pairs of hex digits such as f2:01:00:00:00:01`},
		{"switches: {A: {ports: {p: {bridge: br0}}}}", `f.yaml:1:36: switch A port p has a bridge and no chassis: name the system-id of the host that has the bridge`},
		{"switches: {A: {ports: {p: {bridge: br0, ip: 10.0.0.1, chassis: c}}}}", `f.yaml:1:36: switch A port p has an ip and a bridge; only an outer port has a bridge, and no ip`},
		{"switches: {A: {ports: {p: {bridge: br0, peer: r, chassis: c}}}}", `f.yaml:1:36: switch A port p has a peer and a bridge; only an outer port has a bridge, and no peer`},
		{"switches: {A: {ports: {p: {bridge: '', chassis: c}}}}", `f.yaml:1:36: the bridge of switch A port p has no name`},
		{"switches: {A: {port_security: 1}}", `f.yaml:1:31: switch A: port_security: want true or false, not "1"`},
		{"switches: {A: {ports: {p: {ip: 10.0.0.1, port_security: secure}}}}", `f.yaml:1:57: switch A port p: port_security: want true or false, not "secure"`},
		{"switches: {A: {ports: {p: {ip: 10.0.0.1, parent: vm1}}}}", `f.yaml:1:24: switch A port p needs both a parent and a tag, such as {ip: 10.40.1.10, parent: vm1, tag: 10}, or neither`},
		{"switches: {A: {ports: {p: {ip: 10.0.0.1, tag: 1}}}}", `f.yaml:1:24: switch A port p needs both a parent and a tag, such as {ip: 10.40.1.10, parent: vm1, tag: 10}, or neither`},
		{"switches: {A: {ports: {p: {ip: 10.0.0.1, parent: vm1, tag: 4095}}}}", `f.yaml:1:60: switch A port p: invalid tag "4095", want a VLAN id from 1 to 4094`},
		{"routers: {R: {links: [{switch: A}]}}", `f.yaml:1:23: a link of router R needs a switch and a cidr, such as {switch: LS-A, cidr: 10.20.1.1/24}`},
		{"routers: {R: {links: {A: 1}}}", `f.yaml:1:22: links of router R: want a list, not fields`},
		{"routers: {R: {ports: {p: }}}", `f.yaml:1:23: router R port p has no cidr: write p: 10.20.1.1/24, or fields with cidr`},
		{"routers: {R: {ports: {p: 10.0.0.1}}}", `f.yaml:1:26: router R port p: cidr: invalid CIDR "10.0.0.1", want an address and a prefix length such as 10.20.1.1/24`},
		{"routers: {R: {routes: {r: {cidr: 0.0.0.0/0}}}}", `f.yaml:1:24: router R route r needs a cidr and a next_hop, such as {cidr: 0.0.0.0/0, next_hop: 192.168.1.1}`},
		{"routers: {R: {routes: {r: {cidr: 0.0.0.0/0, next_hop: 1.2.3.4}}}}", `f.yaml:1:24: router R route r: no link or port of the router that is described here leads to the next hop 1.2.3.4; say with outport which it is`},
		{"routers: {R: {ports: {p: 1.2.3.1/24, q: 1.2.3.2/24}, routes: {r: {cidr: 0.0.0.0/0, next_hop: 1.2.3.4}}}}",
			`f.yaml:1:63: router R route r: several ports lead to the next hop 1.2.3.4: p, q; say with outport which it is`},
		{"routers: {R: {nat: {n: {type: snat}}}}", `f.yaml:1:21: router R NAT n needs a type, a cidr and an ip, such as {type: snat, cidr: 10.20.0.0/16, ip: 192.168.1.30}`},
		{"switches: {A: &a {}, B: *a}", `f.yaml:1:25: switch B: aliases (*a) are not understood, write it out`},
		{"switches: {A: {ports: {p: &outer 10.0.0.1, q: {ip: *outer}}}}", `f.yaml:1:52: switch A port q: ip: aliases (*outer) are not understood, write it out`},
		{"switches: {A: {ports: {[x]: 10.0.0.1}}}", `f.yaml:1:24: a name in ports of switch A: want a single value, not a list`},
		{"switches:\n  A: b: c\n", `f.yaml:2: not YAML: mapping values are not allowed in this context`},
		{"switches:\n  A:\n\t  ports: {}\n", `f.yaml:3:1: not YAML: a tab; indent with blanks`},
		{"switches:\n\tA:\n", `f.yaml:2:1: not YAML: a tab; indent with blanks`},
		{"switches:\n  A:\n  \tports:\n", `f.yaml:3:3: not YAML: a tab; indent with blanks`},
		{"switches:\n  A: @x\n  B: # \tnote\n", `f.yaml:2: not YAML: found character that cannot start any token`},
		{"\x00", `f.yaml: not YAML: control characters are not allowed`},
		{"a: {}\nb: {}", "f.yaml:1:1: unknown field \"a\" of a description; there are: switches, routers\n" +
			"f.yaml:2:1: unknown field \"b\" of a description; there are: switches, routers"},
	} {
		_, err := Read(Source{"f.yaml", []byte(test.text)})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.text, err, test.want)
		}
	}
}

// Objects that stand in two files: the second is told, with the first.
func TestReadTwice(t *testing.T) {
	_, err := Read(
		Source{"a.yaml", []byte("switches: {A: {ports: {A_to_R: 10.0.0.1}}}")},
		Source{"b.yaml", []byte("routers: {R: {links: [{switch: A, cidr: 10.0.0.1/24}]}}\n---\nswitches:\n  A:\n")})
	want := "b.yaml:1:23: switch port A/A_to_R is described twice, first at a.yaml:1:24; keep one of the two\n" +
		"b.yaml:4:3: switch A is described twice, first at a.yaml:1:12; keep one of the two"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Whatever a text is, reading it ends with objects that can be written, or with
// problems that say where.
func FuzzRead(f *testing.F) {
	f.Add("switches: {A: {id: 1, ports: {p: 10.0.0.1, q: {ip: outer, mac: 'ff:ff:ff:ff:ff:ee'}}}}")
	f.Add("switches: {A: {port_security: true, ports: {p: {ip: 10.0.0.1, parent: vm, tag: 7, port_security: false, pool: vm}}}}")
	f.Add("routers:\n  R:\n    chassis: hv\n    links:\n    - {switch: A, cidr: 10.0.0.1/24}\n    routes:\n      r: {cidr: 0.0.0.0/0, next_hop: 10.0.0.2}\n")
	f.Add("routers: {R: {nat: {n: {type: dnat, cidr: 10.0.0.1/32, ip: 1.2.3.4}}}}\n---\n{}")
	f.Add("a: &x [*x]\n<<: *x")
	f.Add("\"\\x85\": {? [a] : b}")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Read(Source{"f", []byte(text)})
		if err != nil {
			if problems, ok := err.(Problems); !ok || len(problems) == 0 || !strings.HasPrefix(err.Error(), "f") {
				t.Fatalf("%#v", err)
			}
			return
		}
		s := State{IDTaken: func(uint32) bool { return false }}
		changes := d.Plan(s, true, func(topology.Key) bool { return false })
		if len(changes) != len(d) {
			t.Fatalf("%d objects, %d changes", len(d), len(changes))
		}
		var made []topology.Stored
		for _, c := range changes {
			made = append(made, c.After)
			c.Differences()
		}
		checkRoundTrip(t, made)
	})
}
