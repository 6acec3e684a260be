package lab

import (
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
	want := Spec{Network: "192.168.1.0/24", Hosts: []Host{
		{Name: "a", Kind: KindNode, Address: "192.168.1.11"},
		{Name: "b", Kind: KindNode, Address: "192.168.1.10"},
		{Name: "c", Kind: KindGateway, Address: "192.168.1.12"},
	}}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
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
		"unlike any key":     {"hosts: [{name: a, qqq: 1}]", `unknown key "qqq"; there are: name, kind, address, env`},
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

// FuzzParse shows that no file makes Parse panic, and that what it returns says
// all: written out and read again it is the same.
func FuzzParse(f *testing.F) {
	f.Add(twoHosts)
	f.Add("network: 10.0.0.0/8\nhosts: [{name: a, env: {A: b}}, {name: b, address: 10.9.9.9}]")
	f.Add("hosts: &a [{name: a}]\nrouters: *a")
	f.Add("hosts: [{name: a}]\nswitches: []")
	f.Add("network: 255.255.255.255/32\nhosts: [{name: a}]")
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
