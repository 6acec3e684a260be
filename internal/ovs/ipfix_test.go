package ovs

import (
	"net/netip"
	"strings"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// exported returns the row of br-int, a column a line; empty if there is none.
func exported(o *ovstest.OVS) string {
	if o.Vsctl("get", "Bridge", "br-int", "ipfix") == "[]" {
		return ""
	}
	row := o.Vsctl("--columns=targets,sampling,obs_domain_id,obs_point_id,external_ids,cache_max_flows", "--data=bare", "--no-headings", "list", "IPFIX")
	return strings.TrimSpace(row)
}

func ipfixTo(node string, sampling uint32, collectors ...string) IPFIX {
	w := IPFIX{Sampling: sampling, Node: netip.MustParseAddr(node)}
	for _, c := range collectors {
		w.Collectors = append(w.Collectors, netip.MustParseAddrPort(c))
	}
	return w
}

func TestIPFIX(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	set := func(w IPFIX) {
		t.Helper()
		if err := d.SetIPFIX(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when, row string) {
		t.Helper()
		if got := exported(o); got != row {
			t.Errorf("%s the row is\n%s\nwant\n%s", when, got, row)
		}
	}
	none := ipfixTo("192.168.1.1", 64)
	set(none)
	want("without a wish", "")
	one := ipfixTo("192.168.1.1", 64, "192.0.2.9:4739")
	set(one)
	want("with a collector", "192.0.2.9:4739\n64\n3232235777\n0\ntuplenet-owner=agent")
	uuid := o.Vsctl("get", "Bridge", "br-int", "ipfix")
	// What is not the driver's stays, also when the rest changes.
	o.Vsctl("set", "IPFIX", uuid, "cache_max_flows=77", "external_ids:mine=yes")
	two := ipfixTo("192.168.1.2", 1, "[2001:db8::9]:2055", "192.0.2.9:4739", "192.0.2.9:4739")
	set(two)
	want("with two, and another address", "192.0.2.9:4739 [2001:db8::9]:2055\n1\n3232235778\n0\nmine=yes tuplenet-owner=agent\n77")
	if after := o.Vsctl("get", "Bridge", "br-int", "ipfix"); after != uuid {
		t.Error("the row was made anew")
	}
	// Somebody changes it by hand, takes it away, and deletes the bridge: each is an event,
	// upon which the agent asks again.
	for _, change := range [][]string{
		{"set", "IPFIX", uuid, "sampling=9", "obs_point_id=5"},
		{"clear", "Bridge", "br-int", "ipfix"},
		{"del-br", "br-int"},
	} {
		before := two.String()
		await(t, d, "the row as it should be", func() bool { return ipfixSeen(d) == before })
		o.Vsctl(change...)
		await(t, d, "the change", func() bool { return ipfixSeen(d) != before })
		await(t, d, "the bridge", func() bool { return d.SetIPFIX(t.Context(), two) == nil })
	}
	want("at the end", "192.0.2.9:4739 [2001:db8::9]:2055\n1\n3232235778\n0\ntuplenet-owner=agent")
	set(ipfixTo("192.168.1.2", 1))
	want("without collectors", "")
	if got := o.Vsctl("list", "IPFIX"); got != "" {
		t.Errorf("a row is left:\n%s", got)
	}
}

// ipfixSeen returns what the driver has seen of IPFIX.
func ipfixSeen(d *Driver) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.view.ipfix
}

// TestIPFIXOfOthers: the row of somebody else stays, and that of an earlier
// TupleNet is taken over.
func TestIPFIXOfOthers(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	none, one := ipfixTo("192.168.1.1", 64), ipfixTo("192.168.1.1", 64, "192.0.2.9:4739")
	makeRow := func(columns ...string) {
		t.Helper()
		before := ipfixSeen(d)
		o.Vsctl(append([]string{"--id=@i", "create", "IPFIX", `targets="198.51.100.1:4739"`}, append(columns, "--", "set", "Bridge", "br-int", "ipfix=@i")...)...)
		await(t, d, "the row of another", func() bool { return ipfixSeen(d) != before })
	}
	for _, columns := range [][]string{
		{},
		{"obs_domain_id=3232235777"},
		{"obs_domain_id=3232235778", "obs_point_id=0"},
		{"obs_domain_id=3232235777", "obs_point_id=0", "external_ids:owner=probe"},
	} {
		makeRow(columns...)
		before := exported(o)
		err := d.SetIPFIX(t.Context(), one)
		if err == nil || !strings.Contains(err.Error(), "is told to 198.51.100.1:4739,") || !strings.Contains(err.Error(), "ovs-vsctl clear Bridge br-int ipfix") {
			t.Errorf("with %s: %v, want the collector and the remedy", columns, err)
		}
		if err := d.SetIPFIX(t.Context(), none); err != nil {
			t.Errorf("nothing is wanted, and the error is %v", err)
		}
		if after := exported(o); after != before {
			t.Errorf("the row of another is\n%s\nand was\n%s", after, before)
		}
	}
	for _, w := range []IPFIX{one, none} {
		makeRow("obs_domain_id=3232235777", "obs_point_id=0", "sampling=7")
		if err := d.SetIPFIX(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		await(t, d, "the wish", func() bool { return ipfixSeen(d) == w.String() })
	}
}
