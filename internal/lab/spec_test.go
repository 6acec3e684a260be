package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"
)

func TestParseCompletes(t *testing.T) {
	t.Parallel()
	spec, err := Parse([]byte(`
network: 10.1.0.7/29
hosts:
- {name: a, kind: gateway, env: {HASH_FN: nw_src}}
- {name: b, address: 10.1.0.3}
switches:
- name: S
  ports: [{name: p, address: 10.20.1.10}]
workloads: [{port: p, host: b}]
`))
	if err == nil {
		t.Fatalf("a /29 has no tenth address, yet Parse returned %+v", spec)
	}
	spec, err = Parse([]byte("hosts: [{name: a}, {name: b, address: 192.168.1.10}, {name: c, kind: gateway}]"))
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{Network: "192.168.1.0/24", Etcd: 1, Hosts: []Host{
		{Name: "a", Kind: KindNode, Address: "192.168.1.11", NICs: 1, MTU: 1600},
		{Name: "b", Kind: KindNode, Address: "192.168.1.10", NICs: 1, MTU: 1600},
		{Name: "c", Kind: KindGateway, Address: "192.168.1.12", NICs: 1, MTU: 1600},
	}}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestParsePhysical shows what is filled in of the physical network.
func TestParsePhysical(t *testing.T) {
	t.Parallel()
	spec, err := Parse([]byte(`
hosts:
- {name: a}
- {name: e, kind: gateway, nics: 2, mtu: 1500}
outside:
- {name: client, address: 192.168.1.10}
- {name: web, address: 172.16.1.10/16, mtu: 1400}
- {name: dns, address: 172.16.9.9/16}
routes: [{to: 10.20.1.1/16, via: 192.168.1.20}]
switches:
- {name: out, outer: {port: p1, host: e}}
- {name: far, outer: {port: p2, host: a}}
routers:
- name: R
  links: [{switch: out, address: 192.168.1.11/24}]
  nat: [{name: n, type: snat, net: 10.20.0.0/16, address: 192.168.1.12}]
- name: R2
  links: [{switch: far, address: 192.168.1.13/24}]
  nat: [{name: n, type: snat, net: 10.20.0.0/16, address: 192.168.1.12}]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Spec{
		Etcd:    1,
		Network: "192.168.1.0/24",
		Hosts: []Host{
			{Name: "a", Kind: KindNode, Address: "192.168.1.14", NICs: 1, MTU: 1600},
			{Name: "e", Kind: KindGateway, Address: "192.168.1.15", NICs: 2, MTU: 1500},
		},
		Outside: []Outside{
			{Name: "client", Address: "192.168.1.10/24", MTU: 1500},
			{Name: "web", Address: "172.16.1.10/16", MTU: 1400},
			{Name: "dns", Address: "172.16.9.9/16", MTU: 1500},
		},
		Routes: []Route{{To: "10.20.0.0/16", Via: "192.168.1.20"}},
		Switches: []Switch{
			{Name: "out", Outer: &Outer{Port: "p1", Host: "e", Bridge: "br0"}},
			{Name: "far", Outer: &Outer{Port: "p2", Host: "a", Bridge: "br-phy"}},
		},
		// Hosts keep off their addresses, and they may share one.
		Routers: []Router{
			{Name: "R", Links: []Link{{"out", "192.168.1.11/24"}}, NAT: []NAT{{"n", "10.20.0.0/16", "snat", "192.168.1.12"}}},
			{Name: "R2", Links: []Link{{"far", "192.168.1.13/24"}}, NAT: []NAT{{"n", "10.20.0.0/16", "snat", "192.168.1.12"}}},
		},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := fmt.Sprint(spec.networks()); got != "[192.168.1.0/24 172.16.0.0/16]" {
		t.Errorf("the physical networks are %s", got)
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"empty":              {"", "empty"},
		"not YAML":           {"hosts: [", "not a lab file"},
		"not a mapping":      {"- a", "not a lab file"},
		"no hosts":           {"switches: []", "at least one host"},
		"unknown key":        {"hostz: []", `line 1: unknown key "hostz"; did you mean "hosts"?`},
		"unknown inner key":  {"hosts:\n- {name: a, adress: 192.168.1.2}", `line 2: unknown key "adress"; did you mean "address"?`},
		"unlike any key":     {"hosts: [{name: a, qqq: 1}]", `unknown key "qqq"; there are: name, kind, address, nics, mtu, env`},
		"hidden field":       {"hosts: [{name: a}]\nworkloads: [{address: 1.2.3.4}]", `unknown key "address"`},
		"host without name":  {"hosts: [{kind: node}]", "invalid host name"},
		"long name":          {"hosts: [{name: a-name-of-16-byte}]", "invalid host name"},
		"slash":              {"hosts: [{name: a/b}]", "invalid host name"},
		"same name":          {"hosts: [{name: a}, {name: a}]", "already is that of another host"},
		"reserved name":      {"hosts: [{name: phy}]", "already is that of the physical switch"},
		"kind":               {"hosts: [{name: a, kind: router}]", `invalid kind "router", want node or gateway`},
		"no address":         {"hosts: [{name: a, address: x}]", `invalid IP "x"`},
		"foreign address":    {"hosts: [{name: a, address: 10.0.0.1}]", "not in network"},
		"address of etcd":    {"hosts: [{name: a, address: 192.168.1.1}]", "already is that of etcd"},
		"same address":       {"hosts: [{name: a, address: 192.168.1.2}, {name: b, address: 192.168.1.2}]", "already is that of a"},
		"network":            {"network: here\nhosts: [{name: a}]", "network: invalid CIDR"},
		"port of workload":   {"hosts: [{name: a}]\nswitches: [{name: S, ports: [{name: lsp-alice}]}]\nworkloads: [{port: lsp-alcie, host: a}]", `did you mean "lsp-alice"?`},
		"host of workload":   {"hosts: [{name: a}]\nswitches: [{name: S, ports: [{name: p}]}]\nworkloads: [{port: p, host: b}]", `no host is named "b"`},
		"workload like host": {"hosts: [{name: a}]\nswitches: [{name: S, ports: [{name: a}]}]\nworkloads: [{port: a, host: a}]", "already is that of another host"},
		"number of NICs":     {"hosts: [{name: a, nics: 3}]", "invalid number of nics 3, want 1 or 2"},
		"NICs, long name":    {"hosts: [{name: eleven-byte, nics: 2}]", "at most 10 characters"},
		"name of a cable":    {"hosts: [{name: a-eth1}, {name: a, nics: 2}]", "its second cable is called a-eth1"},
		"name of a bridge":   {"hosts: [{name: br0}]", "that of a device of the physical switch"},
		"small MTU":          {"hosts: [{name: a, mtu: 500}]", "host a: invalid mtu 500, want 576 to 9000 bytes"},
		"large MTU":          {"hosts: [{name: a}]\noutside: [{name: w, address: 192.168.1.9, mtu: 65536}]", "outside machine w: invalid mtu 65536"},
		"MTU of workload":    {"hosts: [{name: a}]\nswitches: [{name: S, ports: [{name: p}]}]\nworkloads: [{port: p, host: a, mtu: 1}]", "workload p: invalid mtu 1"},
		"outside like host":  {"hosts: [{name: a}]\noutside: [{name: a, address: 192.168.1.9}]", "outside machine a: the name already is that of another host"},
		"outside unnamed":    {"hosts: [{name: a}]\noutside: [{address: 192.168.1.9}]", `invalid outside machine name ""`},
		"outside nowhere":    {"hosts: [{name: a}]\noutside: [{name: w}]", `outside machine w: address: invalid CIDR "/24"`},
		"outside on host":    {"hosts: [{name: a, address: 192.168.1.9}]\noutside: [{name: w, address: 192.168.1.9}]", "address 192.168.1.9 already is that of a"},
		"outside on router":  {"hosts: [{name: a}]\noutside: [{name: w, address: 10.0.0.1}]", "address 10.0.0.1 already is that of the physical switch"},
		"wider network":      {"hosts: [{name: a}]\noutside: [{name: w, address: 192.168.1.9/16}]", "network 192.168.0.0/16 overlaps the physical network 192.168.1.0/24"},
		"narrower network":   {"hosts: [{name: a}]\noutside: [{name: v, address: 10.0.0.9/8}, {name: w, address: 10.0.0.10/24}]", "overlaps the physical network 10.0.0.0/8"},
		"too small network":  {"hosts: [{name: a}]\noutside: [{name: w, address: 10.0.0.9/31}]", "no room for a machine and its router"},
		"workload outside":   {"hosts: [{name: a}]\noutside: [{name: p, address: 10.0.0.9}]\nswitches: [{name: S, ports: [{name: p}]}]\nworkloads: [{port: p, host: a}]", "already is that of another outside machine"},
		"route to":           {"hosts: [{name: a}]\nroutes: [{to: here, via: 192.168.1.9}]", `route to "here": invalid CIDR`},
		"route via":          {"hosts: [{name: a}]\nroutes: [{to: 10.0.0.0/8, via: there}]", `route to 10.0.0.0/8: via: invalid IP "there"`},
		"route via nowhere":  {"hosts: [{name: a}]\nroutes: [{to: 10.0.0.0/8, via: 10.0.0.1}]", "via 10.0.0.1 is in no physical network"},
		"route via itself":   {"hosts: [{name: a}]\nroutes: [{to: 10.0.0.0/8, via: 192.168.1.1}]", "via 192.168.1.1 is the physical switch itself"},
		"routes alike":       {"hosts: [{name: a}]\nroutes: [{to: 10.0.0.0/8, via: 192.168.1.8}, {to: 10.1.0.0/8, via: 192.168.1.9}]", "route to 10.0.0.0/8: there is another one"},
		"router like host":   {"hosts: [{name: a, address: 192.168.1.20}]\nswitches: [{name: S, outer: {port: p, host: a}}]\nrouters: [{name: R, links: [{switch: S, address: 192.168.1.20/24}]}]", "router R: address 192.168.1.20 already is that of a"},
		"NAT like gateway":   {"hosts: [{name: a}]\nswitches: [{name: S, outer: {port: p, host: a}}]\nrouters: [{name: R, links: [{switch: S, address: 192.168.1.20/24}], nat: [{name: n, address: 192.168.1.1}]}]", "router R: address 192.168.1.1 already is that of etcd"},
		"chassis of router":  {"hosts: [{name: edge-1}]\nrouters: [{name: R, chassis: egde-1}]", `router R: chassis: no host is named "egde-1"; did you mean "edge-1"?`},
		"key of outer port":  {"hosts: [{name: a}]\nswitches: [{name: S, outer: {prot: p}}]", `unknown key "prot"; did you mean "port"?`},
		"host of outer port": {"hosts: [{name: a}]\nswitches: [{name: S, outer: {port: p, host: b}}]", `outer port of switch S: no host is named "b"`},
		"bridge of one NIC":  {"hosts: [{name: a}]\nswitches: [{name: S, outer: {port: p, host: a, bridge: br0}}]", "bridge br0 would have no NIC: give host a `nics: 2`, or take br-phy"},
		"bridge of the lab":  {"hosts: [{name: a, nics: 2}]\nswitches: [{name: S, outer: {port: p, host: a, bridge: br-int}}]", `invalid name of a bridge "br-int"`},
		"NIC in two bridges": {"hosts: [{name: a, nics: 2}]\nswitches: [{name: S, outer: {port: p, host: a}}, {name: T, outer: {port: q, host: a, bridge: br1}}]", "eth1 of host a is in bridge br0 already"},
		"workload twice":     {"hosts: [{name: a}]\nswitches: [{name: S, ports: [{name: p}]}]\nworkloads: [{port: p, host: a}, {port: p, host: a}]", "already is that of another workload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec, err := Parse([]byte(c.file))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Parse returned %+v, %v, want an error with %q", spec, err, c.want)
			}
		})
	}
}

// TestDocumentedFile shows that the file that docs/lab.md explains is one.
func TestDocumentedFile(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	_, file, _ := strings.Cut(string(doc), "```yaml\n")
	file, _, _ = strings.Cut(file, "```")
	spec, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Hosts) == 0 || len(spec.Outside) == 0 || len(spec.Routers) == 0 {
		t.Errorf("it leaves out what it should explain: %+v", spec)
	}
}

func TestGenerate(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, maxGenerated + 1} {
		if _, err := Generate(n); err == nil {
			t.Errorf("Generate(%d) is no error", n)
		}
	}
	spec, err := Generate(maxGenerated)
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Hosts) != maxGenerated || len(spec.Workloads) != maxGenerated {
		t.Errorf("%d hosts, %d workloads, want %d", len(spec.Hosts), len(spec.Workloads), maxGenerated)
	}
	if a, b := len(spec.Switches[0].Ports), len(spec.Switches[1].Ports); a != b {
		t.Errorf("%d ports on one switch, %d on the other", a, b)
	}
}

// TestEdges shows that the lab with edges is made by the tutorial's commands,
// each when what it needs is there.
func TestEdges(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, maxEdges + 1} {
		if _, err := Edges(n); err == nil {
			t.Errorf("Edges(%d) is no error", n)
		}
	}
	spec, err := Edges(2)
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, args := range spec.topology() {
		commands = append(commands, "tpctl "+strings.Join(args, " "))
	}
	// In the order of the lab, with its names of chassis, and patch ports
	// that agents make.
	for _, want := range []string{
		"tpctl ls add m1",
		"tpctl ls add outside1",
		"tpctl ls add m2",
		"tpctl ls add outside2",
		"tpctl lr link LR-central m1 100.10.10.1/24",
		"tpctl lr link LR-central m2 100.10.10.3/24",
		"tpctl lr add --force LR-edge1 host-edge1",
		"tpctl lr link LR-edge1 m1 100.10.10.2/24",
		"tpctl lr link LR-edge1 outside1 192.168.1.20/24",
		"tpctl lr add --force LR-edge2 host-edge2",
		"tpctl lr link LR-edge2 m2 100.10.10.2/24",
		"tpctl lr link LR-edge2 outside2 192.168.1.21/24",
		"tpctl lsr add LR-central to_outside1 0.0.0.0/0 100.10.10.2 LR-central_to_m1",
		"tpctl lsr add LR-central to_outside2 0.0.0.0/0 100.10.10.2 LR-central_to_m2",
		"tpctl lsr add LR-edge1 to_virt1 10.20.0.0/16 100.10.10.1 LR-edge1_to_m1",
		"tpctl lsr add LR-edge1 to_ext_world1 0.0.0.0/0 192.168.1.1 LR-edge1_to_outside1",
		"tpctl lnat add LR-edge1 snat_rule1 10.20.0.0/16 snat 192.168.1.30",
		"tpctl lsr add LR-edge2 to_virt2 10.20.0.0/16 100.10.10.3 LR-edge2_to_m2",
		"tpctl lsr add LR-edge2 to_ext_world2 0.0.0.0/0 192.168.1.1 LR-edge2_to_outside2",
		"tpctl lnat add LR-edge2 snat_rule2 10.20.0.0/16 snat 192.168.1.31",
		"tpctl patchport add --force outside1 patchport-outside1 host-edge1 br0",
		"tpctl patchport add --force outside2 patchport-outside2 host-edge2 br0",
	} {
		i := slices.Index(commands, want)
		if i < 0 {
			t.Fatalf("not there, or too early: %s\nleft are:\n%s", want, strings.Join(commands, "\n"))
		}
		commands = commands[i+1:]
	}
}

// FuzzParse shows that no file makes Parse panic, and that what it returns says
// all: written out and read again it is the same.
func FuzzParse(f *testing.F) {
	f.Add(twoHosts)
	f.Add("network: 10.0.0.0/8\nhosts: [{name: a, env: {A: b}}, {name: b, address: 10.9.9.9}]")
	f.Add("hosts: &a [{name: a}]\nrouters: *a")
	f.Add("hosts: [{name: a}]\nswitches: []")
	f.Add("network: 255.255.255.255/32\nhosts: [{name: a}]")
	f.Add("hosts: [{name: a, nics: 2, mtu: 1500}]\noutside: [{name: w, address: 172.16.1.10, mtu: 1400}]\nroutes: [{to: 10.20.0.0/16, via: 172.16.1.9}]\n" +
		"switches: [{name: S, outer: {port: p, host: a}}]\nrouters: [{name: R, chassis: a, routes: [{name: r, to: 0.0.0.0/0}], nat: [{name: n, type: snat}]}]")
	f.Fuzz(func(t *testing.T, file string) {
		spec, err := Parse([]byte(file))
		if err != nil {
			return
		}
		text, err := yaml.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("what Parse returned is refused: %v\n%s", err, text)
		}
		if diff := cmp.Diff(spec, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +second)\n%s", diff)
		}
	})
}
