package ctl

import (
	"strings"
	"testing"

	"tuplenet/internal/topology"
)

// rule parses "NAME CIDR TYPE IP".
func rule(s string) topology.NAT {
	f := strings.Fields(s)
	return topology.NAT{Router: "R", Name: f[0], Net: cidr(f[1]), Type: topology.NATType(f[2]), XlateIP: addr(f[3])}
}

func TestNATConflict(t *testing.T) {
	pool := "pool1 10.20.0.0/16 snat 1.1.1.1; pool2 10.20.0.0/16 snat 1.1.1.2"
	float := "out 10.20.1.5/32 snat 1.1.1.5; in 10.20.1.5/32 dnat 1.1.1.5"
	for _, test := range []struct{ name, has, add, want string }{
		{"the first", "", "n 10.20.0.0/16 snat 1.1.1.1", ""},
		{"a pool", pool, "n 10.20.0.0/16 snat 1.1.1.3", ""},
		{"host bits", pool, "n 10.20.9.9/16 snat 1.1.1.3", ""},
		{"the same twice", pool, "n 10.20.0.0/16 snat 1.1.1.2", "its name is pool2"},
		{"beside it", pool, "n 10.21.0.0/16 snat 1.1.1.1", ""},
		{"within it", pool, "n 10.20.4.0/22 snat 1.1.1.3", "conflict with NAT pool1"},
		{"around it", pool, "n 10.0.0.0/8 snat 1.1.1.3", "conflict with NAT pool1"},
		{"a single address within it", pool, "n 10.20.1.5/32 snat 1.1.1.3", ""},
		{"around a single address", "one 10.20.1.5/32 snat 1.1.1.3", "n 10.20.0.0/16 snat 1.1.1.1", ""},
		{"one address twice", "one 10.20.1.5/32 snat 1.1.1.3", "n 10.20.1.5/32 snat 1.1.1.4", ""},
		{"a floating IP's other half", "out 10.20.1.5/32 snat 1.1.1.5", "n 10.20.1.5/32 dnat 1.1.1.5", ""},
		{"a floating IP beside a pool", pool + ";" + float, "n 10.20.1.6/32 snat 1.1.1.1", ""},
		{"two addresses lead inside", float, "n 10.20.1.5/32 dnat 1.1.1.6", ""},
		{"one leads to two", float, "n 10.20.1.6/32 dnat 1.1.1.5", "conflict with NAT in"},
		{"the address of a floating IP", float, "n 10.20.0.0/16 snat 1.1.1.5", "conflict with NAT out, in, as the floating IP of 10.20.1.5"},
		{"a floating IP with the address of a pool", pool + "; out 10.20.1.5/32 snat 1.1.1.1", "n 10.20.1.5/32 dnat 1.1.1.1", "conflict with NAT pool1, out, as the floating IP of 10.20.1.5"},
		{"snat and dnat of two addresses", "web 10.20.1.5/32 dnat 1.1.1.5", "n 10.20.0.0/16 snat 1.1.1.5", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var others []topology.NAT
			for r := range strings.SplitSeq(test.has, ";") {
				if r != "" {
					others = append(others, rule(r))
				}
			}
			err := natConflict(rule(test.add), others)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
