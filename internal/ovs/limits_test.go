package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tuplenet/internal/ovs/ovstest"
)

func TestLimitConnections(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	limit := func(limits map[uint16]uint32) {
		t.Helper()
		if err := d.LimitConnections(t.Context(), limits); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(when string, want map[uint16]ConnectionUse) {
		t.Helper()
		got, err := d.ConnectionUse(t.Context(), []uint16{5, 6, 7})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	o.Vsctl("add-port", "br-int", "p1", "--", "set", "Interface", "p1", "ofport_request=1")
	o.Ofctl("add-flow", "br-int", "in_port=1,ip,actions=ct(commit,zone=5)")
	// connect makes connections from addresses of its own, n of them.
	connect := func(network, n int) {
		for host := range n {
			o.Appctl("netdev-dummy/receive", "p1", fmt.Sprintf("in_port(1),eth(src=50:54:00:00:00:09,dst=50:54:00:00:00:0a),eth_type(0x0800),"+
				"ipv4(src=10.0.%d.%d,dst=10.1.0.1,proto=17,tos=0,ttl=64,frag=no),udp(src=1,dst=2)", network, host))
		}
	}
	counted := func(want uint32) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			use, err := d.ConnectionUse(t.Context(), []uint16{5})
			if err == nil && use[5].Count == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("zone 5 has %+v, error %v, want %d connections", use, err, want)
			}
		}
	}

	o.Appctl("dpctl/ct-set-limits", "system@ovs-system", "zone=7,limit=70") // another's
	limit(map[uint16]uint32{5: 3, 6: 60, 8: 0})
	expect("limited", map[uint16]ConnectionUse{5: {0, 3}, 6: {0, 60}, 7: {0, 70}})
	connect(0, 2)
	counted(2)
	connect(1, 3)
	counted(3)
	limit(map[uint16]uint32{5: 50})
	expect("changed", map[uint16]ConnectionUse{5: {3, 50}, 6: {0, 0}, 7: {0, 70}})
	connect(2, 4)
	counted(7)

	// More zones than one command takes.
	many := map[uint16]uint32{}
	var zones []uint16
	for zone := range uint16(zonesPerCommand + 10) {
		many[zone+100], zones = 9, append(zones, zone+100)
	}
	limit(many)
	use, err := d.ConnectionUse(t.Context(), zones)
	if err != nil || len(use) != len(zones) || use[zones[len(zones)-1]].Limit != 9 {
		t.Errorf("%d of %d zones are known, error %v", len(use), len(zones), err)
	}
	limit(nil)
	expect("none limited", map[uint16]ConnectionUse{5: {}, 6: {}, 7: {0, 70}})

	// A restart of ovs-vswitchd: another process, another socket, no limits.
	limit(map[uint16]uint32{5: 3})
	o.StopVswitchd()
	if err := d.LimitConnections(t.Context(), nil); !errors.Is(err, ErrNotConnected) {
		t.Errorf("the error is %v without ovs-vswitchd, want ErrNotConnected", err)
	}
	o.StartVswitchd()
	expect("after a restart", map[uint16]ConnectionUse{5: {}, 6: {}, 7: {}})
	limit(map[uint16]uint32{5: 3})
	expect("limited again", map[uint16]ConnectionUse{5: {0, 3}, 6: {}, 7: {}})
}

func TestAppctlErrors(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	if got, err := d.appctl(t.Context(), "version"); err != nil || !strings.Contains(got, "Open vSwitch") {
		t.Errorf("version prints %q, error %v", got, err)
	}
	if _, err := d.appctl(t.Context(), "nonsense"); err == nil || !strings.Contains(err.Error(), `"nonsense" is not a valid command`) {
		t.Errorf("the error is %v, want the server's words", err)
	}
	o.Vsctl("--no-wait", "set", "Bridge", "br-int", "datapath_type=netdev")
	await(t, d, "the other datapath type", func() bool {
		name, err := d.datapath()
		o.Vsctl("--no-wait", "add-br", "tick", "--", "del-br", "tick")
		return err == nil && name == "netdev@ovs-netdev"
	})

	// A server that does not answer.
	dir := t.TempDir()
	silent, err := net.Listen("unix", filepath.Join(dir, "ovs-vswitchd.77.ctl"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := os.WriteFile(filepath.Join(dir, "ovs-vswitchd.pid"), []byte("77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	lonely := &Driver{cfg: Config{RunDir: dir}}
	if _, err := lonely.appctl(ctx, "version"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want the deadline's", err)
	}
}

func TestParseLimits(t *testing.T) {
	got, err := parseLimits("default limit=0\nzone=5,limit=100,count=7\nzone=65535,limit=4294967295,count=0\n")
	want := map[uint16]ConnectionUse{5: {7, 100}, 65535: {0, 4294967295}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{"nonsense", "zone=5", "zone=70000,limit=1,count=1", "zone=5,limit=x,count=1"} {
		if got, err := parseLimits(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}
