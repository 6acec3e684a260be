package agent

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// restrict makes users of etcd, root and one for each chassis, that may read
// everything and write under its own name alone, and turns authorization on.
func (s *site) restrict(chassis ...string) {
	s.t.Helper()
	ctx, auth := s.t.Context(), s.raw().Auth
	do := func(_ any, err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	user := func(name string) {
		s.t.Helper()
		do(auth.UserAdd(ctx, name, "secret"))
		do(auth.RoleAdd(ctx, name))
		do(auth.UserGrantRole(ctx, name, name))
	}
	user("root")
	for _, name := range chassis {
		user(name)
		all := "/tuplenet/"
		do(auth.RoleGrantPermission(ctx, name, all, clientv3.GetPrefixRangeEnd(all), clientv3.PermissionType(clientv3.PermRead)))
		for _, key := range []string{"contact/", "contender/", "down/", "entity_view/chassis/"} {
			do(auth.RoleGrantPermission(ctx, name, all+key+name, "", clientv3.PermissionType(clientv3.PermReadWrite)))
		}
		for _, directory := range []string{"entity_bind/", "communicate/answer/"} {
			from := all + directory + name + "/"
			do(auth.RoleGrantPermission(ctx, name, from, clientv3.GetPrefixRangeEnd(from), clientv3.PermissionType(clientv3.PermReadWrite)))
		}
	}
	do(auth.AuthEnable(ctx))
}

// Where etcd lets agents write under their own names alone, ports are bound, a
// port stays with who has it until it is unplugged there, and a chassis that is
// not heard of is down.
func TestOwnBindings(t *testing.T) {
	s := newSite(t)
	s.create(topology.Switch{Name: "LS"})
	one, two := s.port("LS", "one", "10.0.0.1"), s.port("LS", "two", "10.0.0.2")
	a, b := s.newHost("hv-a", "192.168.1.1"), s.newHost("hv-b", "192.168.1.2")
	a.user, b.user = "hv-a", "hv-b"
	// Users are given to agents before there are any in etcd.
	a.start()
	b.start()
	a.plug("one")
	eventually(t, "a port is bound while nobody needs a user", func() bool { return s.chassisOf(one) == "hv-a" })
	root, err := store.Open(t.Context(), store.Config{Endpoints: []string{s.endpoint}, Username: "root", Password: "secret", Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })

	s.restrict("hv-a", "hv-b")
	s.store = root
	if moved, err := root.OwnBindings(t.Context()); moved != 1 || err != nil {
		t.Fatalf("moved %d bindings (%v), want 1", moved, err)
	}
	if moved, err := root.OwnBindings(t.Context()); moved != 0 || err != nil {
		t.Fatalf("moved %d bindings again (%v)", moved, err)
	}
	if !s.is(topology.Binding{Chassis: "hv-a", Switch: "LS", Port: "one"}.Key()) || s.chassisOf(one) != "hv-a" {
		t.Error("the binding was lost on its way")
	}
	b.plug("two")
	eventually(t, "a port is bound in a key of its chassis", func() bool { return s.chassisOf(two) == "hv-b" })
	reaches := func(h *host, mac string) func() bool {
		return func() bool {
			return strings.Contains(h.flows(lookup), "dl_dst="+mac) && strings.Contains(h.flows(lookup), "goto_table:206")
		}
	}
	eventually(t, "each host reaches the other's port", func() bool {
		return reaches(a, "f2:01:0a:00:00:02")() && reaches(b, "f2:01:0a:00:00:01")()
	})

	// The machine behind port one comes up on hv-b before it has gone from hv-a.
	b.plug("one")
	eventually(t, "the second host waits", func() bool { return b.log.said("port is bound to another chassis", "hv-a") == 1 })
	if got := s.chassisOf(one); got != "hv-a" {
		t.Errorf("the port is at %q while hv-a has it", got)
	}
	// It waits as well after a restart, which changes nothing in the store.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.start()
	eventually(t, "the second host waits after a restart", func() bool { return b.log.said("port is bound to another chassis", "hv-a") == 2 })
	a.unplug("one")
	eventually(t, "the second host has the port", func() bool { return s.chassisOf(one) == "hv-b" })
	eventually(t, "the first host's binding is gone", func() bool { return !s.is(topology.Binding{Chassis: "hv-a", Switch: "LS", Port: "one"}.Key()) })
	a.plug("three") // or it would not look at the switch any more
	s.port("LS", "three", "10.0.0.3")
	eventually(t, "the first host follows", reaches(a, "f2:01:0a:00:00:01"))

	// What is unplugged while no agent runs is found out.
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.unplug("one")
	b.start()
	eventually(t, "the port is nobody's", func() bool { return s.chassisOf(one) == "" })
	if got := s.chassisOf(two); got != "hv-b" {
		t.Errorf("the port that stayed plugged in is at %q", got)
	}
	// Whatever of Open vSwitch is restarted, the port stays with who has it.
	created := func() int64 {
		resp, err := s.rawAs("root").Get(t.Context(), "/tuplenet/entity_bind/hv-b/LS/two")
		if err != nil || len(resp.Kvs) != 1 {
			t.Fatal(resp, err)
		}
		return resp.Kvs[0].CreateRevision
	}
	before, flows := created(), strings.Count(b.bridge(), "\n")
	b.StopVswitchd()
	b.StartVswitchd()
	eventually(t, "all flows are back", func() bool { return strings.Count(b.bridge(), "\n") == flows })
	b.StopDB()
	b.StartDB()
	b.plug("later")
	eventually(t, "the agent follows Open vSwitch again", func() bool { return b.log.said("interface plugged in", "if-later") == 1 })
	if after := created(); after != before {
		t.Errorf("the binding of revision %d was made anew at revision %d", before, after)
	}
	// A port that is deleted and made again is bound again.
	if err := root.Delete(t.Context(), two, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the binding goes with its port", func() bool { return !s.is(topology.Binding{Chassis: "hv-b", Switch: "LS", Port: "two"}.Key()) })
	s.port("LS", "two", "10.0.0.2")
	eventually(t, "the port is bound again", func() bool { return s.chassisOf(two) == "hv-b" })

	// An etcd that was restarted knows nobody's token any more.
	s.server.Stop()
	s.startEtcd()
	s.port("LS", "four", "10.0.0.4")
	b.plug("four")
	eventually(t, "a port is bound after etcd was restarted", func() bool { return b.log.said("port is bound", "LS/four") == 1 })

	// Back, as it was.
	if _, err := s.rawAs("root").Auth.AuthDisable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if moved, err := root.JoinBindings(t.Context()); moved != 3 || err != nil {
		t.Fatalf("moved %d bindings back (%v), want 3", moved, err)
	}
	a.plug("two")
	eventually(t, "who plugs in last has the port", func() bool { return s.chassisOf(two) == "hv-a" })
	if s.is(topology.Binding{Chassis: "hv-a", Switch: "LS", Port: "two"}.Key()) {
		t.Error("an agent that may write ports' values has made a binding")
	}
}

// What is plugged in again before etcd has heard that it was not stays bound.
func TestPluggedInAgain(t *testing.T) {
	away, err := store.New(store.Config{Endpoints: []string{"127.0.0.1:1"}, Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := newAgent(Config{Log: logTo(t)})
	a.self, a.binder, a.synced = "hv-a", newBinder(ctx, away, "hv-a", a.log), true
	a.liveness = newLiveness(ctx, a)
	ip := netip.MustParseAddr("10.0.0.1")
	port := topology.SwitchPort{Switch: "LS", Name: "vm", IP: ip, MAC: topology.MACFromIP(ip)}
	binding := topology.Binding{Chassis: "hv-a", Switch: "LS", Port: "vm"}
	plug := &plug{iface: ovs.Interface{IfaceID: "vm", OFPort: 1}}
	a.plugs["vm"] = plug
	a.readUpdate(ctx, store.Update{Snapshot: true, Changes: []topology.Change{
		{Key: port.Key(), Entity: port, Created: 1}, {Key: binding.Key(), Entity: binding, Created: 2}}})
	delete(a.plugs, "vm")
	a.leave("vm")
	if c := a.binder.claims["vm"]; c == nil || !c.release {
		t.Fatalf("under way: %+v, want a release", c)
	}
	a.plugs["vm"] = plug
	a.portChanged("vm")
	if c := a.binder.claims["vm"]; c != nil || plug.state != bound {
		t.Errorf("under way: %+v, the port is %s", c, plug.state)
	}
}

// rawAs is raw for a user.
func (s *site) rawAs(user string) *clientv3.Client {
	s.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.endpoint}, Username: user, Password: "secret"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// Of a chassis that is not heard of any more every agent keeps its own verdict,
// until the chassis is back or the operator removes it.
func TestOwnVerdict(t *testing.T) {
	s := newSite(t)
	s.restrict("hv-a")
	root, err := store.Open(t.Context(), store.Config{Endpoints: []string{s.endpoint}, Username: "root", Password: "secret", Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	s.store = root
	vanish := s.visitor("hv-x", "192.168.1.9")
	a := s.newHost("hv-a", "192.168.1.1")
	a.user = "hv-a"
	a.start()
	eventually(t, "the agent runs", func() bool { return s.is(topology.Chassis{Name: "hv-a"}.Key()) })
	vanish()
	eventually(t, "the verdict", func() bool { return a.log.said("a chassis is not heard of any more", "hv-x") == 1 })
	if s.is(topology.Absence{Chassis: "hv-x"}.Key()) {
		t.Error("the store knows of it")
	}
	vanish = s.visitor("hv-x", "192.168.1.9")
	eventually(t, "the chassis is back", func() bool { return a.log.said("a chassis is back", "hv-x") == 1 })
	vanish()
	eventually(t, "the second verdict", func() bool { return a.log.said("a chassis is not heard of any more", "hv-x") == 2 })
}
