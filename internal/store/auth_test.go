package store

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// The parties of the tests, and what their users are called. Everybody's password
// is the name.
var parties = map[string]Party{
	"h1":       {DutyNode, "h1"},
	"h2":       {DutyNode, "h2"},
	"cni":      {DutyPlugin, "S"},
	"docker":   {DutyDocker, "R"},
	"reader":   {DutyReader, ""},
	"operator": {DutyOperator, ""},
}

const dockerID = "0f2e4d6c8b0a0f2e4d6c8b0a0f2e4d6c8b0a0f2e4d6c8b0a0f2e4d6c8b0a0f2e"

// authorized starts an etcd with the users of parties, and one without a role, and
// makes it authenticate. It returns root's store, and opens a client for a user.
func authorized(t *testing.T) (root *Store, as func(user string) *clientv3.Client) {
	t.Helper()
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	ctx := t.Context()
	if made, err := s.AddRoot(ctx, Root); err != nil || !made {
		t.Fatal(made, err)
	}
	for name, p := range parties {
		for _, err := range []error{s.AddParty(ctx, p), s.AddUser(ctx, name, name), s.Grant(ctx, name, p)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.AddUser(ctx, "nobody", "nobody"); err != nil {
		t.Fatal(err)
	}
	if err := s.EnableAuth(ctx); err != nil {
		t.Fatal(err)
	}
	root, err := Open(ctx, Config{Endpoints: server.Endpoints(), Username: Root, Password: Root, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, func(user string) *clientv3.Client {
		cfg := clientv3.Config{Endpoints: server.Endpoints(), Username: user, Password: user, Logger: zap.NewNop()}
		if user == "" {
			cfg.Password = ""
		}
		client, err := clientv3.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
}

// Each party does with a Store what it is there for.
func TestPartiesWork(t *testing.T) {
	t.Parallel()
	root, _ := authorized(t)
	ctx := t.Context()
	as := func(user string) *Store {
		s, err := Open(ctx, Config{Endpoints: root.Endpoints(), Username: user, Password: user, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	pool := topology.SwitchPort{Switch: "S", Name: "S-10.0.0.9", IP: netip.MustParseAddr("10.0.0.9"), MAC: topology.MAC{2, 0, 0, 0, 0, 9}, Pool: "h1"}
	mustCreate(t, root, topology.Switch{Name: "S"}, topology.Router{Name: "R"}, bulkPort("S", "p", 1), pool)
	port := topology.Key{Kind: topology.KindSwitchPort, Parent: "S", Name: "p"}
	subnet := netip.MustParsePrefix("10.0.0.0/24")
	network := Network{ID: dockerID, Name: "web", Switch: dockerID, Made: true, Router: "R", Subnet: netip.MustParsePrefix("10.1.0.0/24"),
		Gateway: netip.MustParseAddr("10.1.0.1"), Scope: ScopeGlobal, Chassis: "h1"}

	node, cni, docker, operator := as("h1"), as("cni"), as("docker"), as("operator")
	talk, err := operator.Converse(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var presence *Presence
	var claimed, allocated topology.SwitchPort
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"appear", func() (err error) {
			presence, err = node.Appear(ctx, "h1", netip.MustParseAddr("192.0.2.1"), 15*time.Second, nil)
			return err
		}},
		{"register", func() error {
			return node.PutChassis(ctx, topology.Chassis{Name: "h1", IP: netip.MustParseAddr("192.0.2.1"), Tick: 1, MTU: 1400})
		}},
		{"confirm", func() error { return presence.Confirm(ctx, netip.MustParseAddr("192.0.2.2")) }},
		{"bind", func() error { return node.Bind(ctx, port, "h1") }},
		{"contend", func() error { return node.Contend(ctx, "h1", netip.MustParseAddr("192.0.2.3"), time.Minute) }},
		{"answer", func() error {
			return node.Answer(ctx, []Answer{{Command: 7, Sequence: 1, Chassis: "h1", Properties: Properties{"cmd_type": "status"}}})
		}},
		{"hear", func() error {
			select {
			case a := <-talk.Answers():
				if a.Command != 7 || a.Chassis != "h1" {
					return fmt.Errorf("heard %+v", a)
				}
				return nil
			case <-time.After(5 * time.Second):
				return errors.New("no answer was heard")
			}
		}},
		{"ask", func() error { _, err := talk.Ask(ctx, []string{"h1"}, Properties{"cmd": "status"}); return err }},
		{"stop asking", func() error { return talk.End(ctx) }},
		{"bind for another", func() error {
			if err := as("h2").Bind(ctx, port, "h1"); !errors.Is(err, ErrDenied) {
				return fmt.Errorf("h2 may: %w", err)
			}
			return nil
		}},
		{"unbind", func() error { return node.Unbind(ctx, port, "h1") }},
		{"leave", func() error { return presence.Leave(ctx) }},

		{"allocate a port", func() (err error) {
			allocated, err = cni.AllocatePort(ctx, topology.SwitchPort{Switch: "S", Name: "lsp-eth0-1", Chassis: "h1", Owner: "cni:k8s/1/eth0"}, subnet, nil)
			return err
		}},
		{"release it", func() error { return cni.ReleasePort(ctx, allocated.Key(), allocated.Owner) }},
		{"claim a port of a pool", func() (err error) {
			claimed, err = cni.ClaimPort(ctx, "S", "h1", "cni:k8s/2/eth0", Want{Chassis: "h1"})
			return err
		}},
		{"give it back", func() error { return cni.ReleasePort(ctx, claimed.Key(), "cni:k8s/2/eth0") }},

		{"write what is missing", func() error { return docker.WriteGlobals(ctx) }},
		{"hold a subnet", func() error { _, err := docker.HoldSubnet(ctx, network.Subnet, "h1"); return err }},
		{"make a network", func() error { return docker.CreateNetwork(ctx, network) }},
		{"change it", func() error { return docker.ChangeNetwork(ctx, dockerID, func(n *Network) { n.Engine = "e" }) }},
		{"reserve an address", func() error {
			_, err := docker.ReserveAddress(ctx, network.Subnet, network.Subnet, netip.Addr{}, netip.Addr{}, "h1")
			return err
		}},
		{"make an endpoint", func() (err error) {
			allocated, err = docker.AllocatePort(ctx, topology.SwitchPort{Switch: dockerID, Name: "e", Owner: "cnm:" + dockerID + "/e/eth"}, network.Subnet, nil)
			return err
		}},
		{"end the endpoint", func() error { return docker.ReleasePort(ctx, allocated.Key(), allocated.Owner) }},
		{"end the network", func() error { return docker.DeleteNetwork(ctx, dockerID) }},

		{"take the chassis out", func() error { _, err := operator.RemoveChassis(ctx, "h1"); return err }},
		{"delete everything", func() error { return operator.Delete(ctx, topology.Switch{Name: "S"}.Key(), true) }},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
	}

	if err := cni.CreateNetwork(ctx, network); !errors.Is(err, ErrDenied) {
		t.Errorf("a plugin makes a network: %v", err)
	}
}

// Roles are made as they have to be, whatever is there, and end with their last
// user.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := t.Context()
	node := Party{DutyNode, "h1"}
	add := func(user string, p Party) {
		t.Helper()
		for _, err := range []error{s.AddParty(ctx, p), s.AddUser(ctx, user, ""), s.Grant(ctx, user, p)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	add("a", node)
	add("b", node)
	wantError(t, s.AddUser(ctx, "a", "x"), ErrExists, "user a already exists")
	role := "/tuplenet/node/h1"
	if _, err := s.client.RoleGrantPermission(ctx, role, "/", "0", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RoleRevokePermission(ctx, role, "/tuplenet/contact/h1", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RoleGrantPermission(ctx, role, "/tuplenet/", "/tuplenet0", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	users, odd, err := s.Users(ctx)
	if err != nil || len(users) != 2 || !users[1].Is(node) || !slices.Equal(odd, []Party{node}) {
		t.Errorf("got %+v, %v, %v", users, odd, err)
	}
	if err := s.AddParty(ctx, node); err != nil {
		t.Fatal(err)
	}
	users, odd, err = s.Users(ctx)
	if err != nil || len(odd) > 0 || len(users[0].Writes) != 6 {
		t.Errorf("got %+v, %v, %v", users, odd, err)
	}

	if err := s.DeleteUser(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RoleGet(ctx, role); err != nil {
		t.Errorf("the role of a user that is left: %v", err)
	}
	if err := s.DeleteUser(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RoleGet(ctx, role); !errors.Is(err, rpctypes.ErrRoleNotFound) {
		t.Errorf("the role of nobody: %v", err)
	}
	wantError(t, s.DeleteUser(ctx, "b"), ErrNotFound, "user b not found")
	wantError(t, s.SetPassword(ctx, "b", "x"), ErrNotFound, "user b not found")

	for _, bad := range []Party{{}, {"king", ""}, {DutyReader, "x"}, {DutyNode, ""}, {DutyPlugin, "a/b"}, {DutyDocker, " "}} {
		if bad.Check() == nil {
			t.Errorf("%+v is a party", bad)
		}
	}
	for role, want := range map[string]Party{"/tuplenet/reader": {DutyReader, ""}, "/tuplenet/plugin/S": {DutyPlugin, "S"}, "/tuplenet/node/a/b": {}, "/tuplenet/node": {},
		"/tuplenet/reader/": {}, "/tuplenet2/reader": {}, "root": {}, "/tuplenet/king": {}} {
		if got, ok := s.layout.party(role); ok != (want != Party{}) || ok && got != want {
			t.Errorf("role %s: %v, %v", role, got, ok)
		}
	}
}

// A role that is taken from a user is another's still, and goes with the last.
func TestRevoke(t *testing.T) {
	t.Parallel()
	s, ctx := start(t), t.Context()
	node, plugin := Party{DutyNode, "h1"}, Party{DutyPlugin, "S"}
	for _, p := range []Party{node, plugin} {
		if err := s.AddParty(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"a", "b"} {
		if err := errors.Join(s.AddUser(ctx, user, "x"), s.Grant(ctx, user, node), s.Grant(ctx, user, plugin)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Revoke(ctx, "a", plugin); err != nil {
		t.Fatal(err)
	}
	users, _, err := s.Users(ctx)
	if err != nil || len(users) != 2 || users[0].Is(plugin) || !users[0].Is(node) || !users[1].Is(plugin) {
		t.Errorf("got %+v, %v", users, err)
	}
	wantError(t, s.Revoke(ctx, "a", plugin), ErrNotFound, "user a is not plugin S")
	wantError(t, s.Revoke(ctx, "c", plugin), ErrNotFound, "user c not found")
	if err := s.Revoke(ctx, "b", plugin); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.RoleGet(ctx, s.layout.role(plugin)); !errors.Is(err, rpctypes.ErrRoleNotFound) {
		t.Errorf("the role of nobody: %v", err)
	}
}

// The end of a certificate is read where etcd is shown it.
func TestCertificateEnd(t *testing.T) {
	t.Parallel()
	_, cert, key := certificates(t)
	s, err := New(Config{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if end, ok := s.CertificateEnd(); !ok || time.Until(end) > time.Hour || time.Until(end) < 50*time.Minute {
		t.Errorf("got %v, %v", end, ok)
	}
	if err := os.WriteFile(cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if end, ok := s.CertificateEnd(); ok {
		t.Errorf("of an empty file: %v", end)
	}
}

func TestWhoAsks(t *testing.T) {
	t.Parallel()
	_, cert, key := certificates(t)
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, ""},
		{Config{Username: "h1"}, "h1"},
		{Config{CertFile: cert, KeyFile: key}, "client"},
		{Config{CertFile: cert, KeyFile: key, Username: "h1"}, "h1"},
	} {
		s, err := New(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.User(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		s.Close()
	}
}
