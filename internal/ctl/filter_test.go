package ctl

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"tuplenet/internal/explain"
	"tuplenet/internal/topology"
)

// TestFields holds the fields that a list can be filtered by to those that its
// objects have.
func TestFields(t *testing.T) {
	ip, net := netip.MustParseAddr("10.0.0.1"), netip.MustParsePrefix("10.0.0.0/24")
	shown := map[string]object{
		"ls show":        objectOf(topology.Switch{Name: "A"}),
		"lsp show":       objectOf(topology.SwitchPort{Switch: "A", Name: "a", IP: ip}),
		"patchport show": objectOf(topology.SwitchPort{Switch: "A", Name: "a", IP: ip}),
		"lr show":        objectOf(topology.Router{Name: "R"}),
		"lrp show":       objectOf(topology.RouterPort{Router: "R", Name: "r", Net: net}),
		"lsr show":       objectOf(topology.StaticRoute{Router: "R", Name: "r", Net: net, NextHop: ip}),
		"lnat show":      objectOf(topology.NAT{Router: "R", Name: "n", Net: net, XlateIP: ip}),
		"ch show":        objectOf(topology.Chassis{Name: "hv", IP: ip, MTU: 1400}),
		"flows":          flowObject(explain.Names{}, explain.Flow{Origin: explain.Foreign}, true),
	}
	for _, c := range All() {
		if c.list == nil {
			continue
		}
		o, ok := shown[c.Name()]
		if !ok {
			t.Errorf("%s: the test knows no object of that list", c.Name())
		}
		for _, f := range append(o.fields, o.parent) {
			if f.name != "" && !slices.Contains(c.fields, f.name) {
				t.Errorf("%s: the field %s cannot be filtered by", c.Name(), f.name)
			}
		}
		if o.name != "" && c.fields[0] != "name" {
			t.Errorf("%s: its first field is not the name", c.Name())
		}
	}
}

func TestCondition(t *testing.T) {
	o := object{name: "web-1", parent: field{name: "switch", value: "A"}, fields: []field{
		{name: "ip", value: "10.20.1.10"}, {name: "net", value: "10.20.0.0/16"}, {name: "id", value: 7}, {name: "chassis", value: ""},
		{name: "state", value: downSince("2026-11-21T14:03:05Z")}, {name: "origin", value: "foreign"}, {name: "packets", value: 1000},
		{name: "docker", value: shownNetworks{{ID: "0123", Name: "web"}, {ID: "4567", Name: "db"}, {ID: "89ab"}}},
	}}
	for text, want := range map[string]bool{
		"name=web-1": true, "name=web": false, "name!=web": true, "name!=web-1": false,
		"name~web-*": true, "name~WEB-*": false, "name~*-[0-9]": true, "name~web": false,
		"switch=A": true, "id=7": true, "id=07": false, "chassis=": true, "chassis!=": false, "nothing=": true, "nothing=x": false,
		"ip=10.20.1.10": true, "ip=10.20.0.0/16": true, "ip=10.20.1.10/32": true, "ip=10.21.0.0/16": false,
		"ip!=10.20.0.0/16": false, "ip!=10.21.0.0/16": true, "ip~10.20.*": true, "name=10.0.0.0/8": false,
		"net=10.20.0.0/16": true, "net=10.0.0.0/8": true, "net=10.20.0.0/24": false, "net~10.*/16": true, "net~*": true,
		"state=down": true, "state=up": false, "name=a=b": false,
		"origin=FOREIGN": true, "origin=foreign": true, "origin!=Foreign": false, "origin~FOR*": true, "state=DOWN": true, "name=WEB-1": false,
		"packets>999": true, "packets>1000": false, "packets>=1000": true, "packets>=1001": false, "packets<1e4": true, "packets<1000": false,
		"packets<=1000": true, "packets<=9": false, "ip>10.20.1.9": true, "ip<10.20.1.9": false, "ip>=10.20.1.10": true,
		"packets>10.20.1.9": false, "chassis<5": false, "nothing<=0": false, "name>5": false,
		"ip=": false, "ip!=": true,
		"docker=web": true, "docker=db": true, "docker=89ab": true, "docker=we": false, "docker=": false, "docker!=": true,
		"docker!=web": false, "docker!=none": true, "docker~w*": true, "docker~x*": false, "docker>100": true, "docker>9999": false,
	} {
		c, err := parseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := c.met(o); got != want {
			t.Errorf("%s is %v", text, got)
		}
	}
	for _, text := range []string{"", "name", "=x", "!=x", "name!x", "name~[", `name~\`, ">5", "packets>", "packets>=x", "packets<NaN", "packets>=<5",
		"ip=10.20.1", "ip!=nobody", "ip=10.20.1.0/33", "next_hop=10.20.1.256", "xlate_ip=x"} {
		if _, err := parseCondition(text); err == nil {
			t.Errorf("%q is a condition", text)
		} else if strings.Contains(err.Error(), "netip") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCompareTexts(t *testing.T) {
	sorted := []string{"", "2", "10", "10.0.0.2", "10.0.0.10", "a", "b"}
	got := []string{"b", "10.0.0.10", "10", "a", "2", "", "10.0.0.2"}
	slices.SortFunc(got, compareTexts)
	if !slices.Equal(got, sorted) {
		t.Errorf("sorted: %q, want %q", got, sorted)
	}
}
