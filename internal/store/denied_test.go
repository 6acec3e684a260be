package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// writable are keys of every kind, and the users that may write each.
var writable = map[string]string{
	"/tuplenet/globals/version":    "operator",
	"/tuplenet/globals/device_ids": "operator docker",

	"/tuplenet/contact/h1":               "operator h1",
	"/tuplenet/contact/h2":               "operator h2",
	"/tuplenet/contact/h11":              "operator",
	"/tuplenet/contact/h1/x":             "operator",
	"/tuplenet/contact/h":                "operator",
	"/tuplenet/contender/h1":             "operator h1",
	"/tuplenet/contender/h2":             "operator h2",
	"/tuplenet/down/h1":                  "operator h1",
	"/tuplenet/down/h2":                  "operator h2",
	"/tuplenet/entity_bind/h1/S/p":       "operator h1",
	"/tuplenet/entity_bind/h2/S/p":       "operator h2",
	"/tuplenet/entity_bind/h11/S/p":      "operator",
	"/tuplenet/entity_bind/h1":           "operator",
	"/tuplenet/entity_view/chassis/h1":   "operator h1",
	"/tuplenet/entity_view/chassis/h2":   "operator h2",
	"/tuplenet/entity_view/chassis/h1/x": "operator",

	"/tuplenet/entity_view/LS/S":                         "operator",
	"/tuplenet/entity_view/LS/S/lsp/p":                   "operator cni",
	"/tuplenet/entity_view/LS/S/other":                   "operator",
	"/tuplenet/entity_view/LS/S2/lsp/p":                  "operator",
	"/tuplenet/entity_view/LS/T/lsp/p":                   "operator",
	"/tuplenet/entity_view/LS/" + dockerID:               "operator docker",
	"/tuplenet/entity_view/LS/" + dockerID + "/lsp/p":    "operator docker",
	"/tuplenet/entity_view/LS/jv3pdkq1ohjks5zyyw9tq4cpl": "operator docker",
	"/tuplenet/entity_view/LR/R":                         "operator",
	"/tuplenet/entity_view/LR/R/lrp/R_to_S":              "operator",
	"/tuplenet/entity_view/LR/R/lrp/to_" + dockerID:      "operator docker",
	"/tuplenet/entity_view/LR/R/lsr/r":                   "operator",
	"/tuplenet/entity_view/LR/R/lnat/n":                  "operator",
	"/tuplenet/entity_view/LR/Q":                         "operator",
	"/tuplenet/entity_view/LR/Q/lrp/to_" + dockerID:      "operator",

	"/tuplenet/ip_book/LS/S":           "operator cni",
	"/tuplenet/ip_book/LS/T":           "operator",
	"/tuplenet/ip_book/LS/" + dockerID: "operator docker",
	"/tuplenet/ip_book/LR/R":           "operator docker",
	"/tuplenet/ip_book/LR/Q":           "operator",

	"/tuplenet/cnm/network/" + dockerID:       "operator docker",
	"/tuplenet/cnm/reserved/10.20.3.0-24":     "operator docker",
	"/tuplenet/cnm/other":                     "operator",
	"/tuplenet/communicate/push/h1/cmd/7":     "operator",
	"/tuplenet/communicate/push/h2/cmd/7":     "operator",
	"/tuplenet/communicate/cmd_result/7/1/h1": "operator",
	"/tuplenet/communicate/answer/h1/7/1":     "operator h1",
	"/tuplenet/communicate/answer/h2/7/1":     "operator h2",
	"/tuplenet/communicate/answer/h11/7/1":    "operator",

	"/tuplenet":                  "",
	"/tuplenet0":                 "",
	"/tuplenet2/globals/version": "",
	"x":                          "",
}

// writes are the ways to change a key that has a value.
var writes = map[string]func(ctx context.Context, c *clientv3.Client, key string) error{
	"put": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Put(ctx, key, "mine")
		return err
	},
	"put with a lease": func(ctx context.Context, c *clientv3.Client, key string) error {
		lease, err := c.Grant(ctx, 600)
		if err != nil {
			return err
		}
		_, err = c.Put(ctx, key, "mine", clientv3.WithLease(lease.ID))
		return err
	},
	"touch": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Put(ctx, key, "", clientv3.WithIgnoreValue())
		return err
	},
	"delete": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Delete(ctx, key)
		return err
	},
	"delete a range": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Delete(ctx, key, clientv3.WithRange(key+"\x00"))
		return err
	},
	"put in a transaction": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpPut(key, "mine")).Commit()
		return err
	},
	"put in what is not carried out": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpGet("/tuplenet/contact/")).Else(clientv3.OpPut(key, "mine")).Commit()
		return err
	},
	"delete in a transaction": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpDelete(key)).Commit()
		return err
	},
	"put in a transaction's transaction": func(ctx context.Context, c *clientv3.Client, key string) error {
		_, err := c.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key, "mine")}, nil)).Commit()
		return err
	},
}

// TestWhoMayWrite tries every way to write keys of every kind, as every party.
func TestWhoMayWrite(t *testing.T) {
	t.Parallel()
	root, as := authorized(t)
	ctx := t.Context()
	revision := map[string]int64{}
	restore := func(key string) {
		resp, err := root.client.Put(ctx, key, "theirs")
		if err != nil {
			t.Fatal(err)
		}
		revision[key] = resp.Header.Revision
	}
	for key := range writable {
		restore(key)
	}
	for _, user := range []string{"h1", "h2", "cni", "docker", "reader", "operator", "nobody", ""} {
		client := as(user)
		for key, may := range writable {
			for what, write := range writes {
				err := write(ctx, client, key)
				allowed := user != "" && slices.Contains(strings.Fields(may), user)
				now, readErr := root.client.Get(ctx, key)
				if readErr != nil {
					t.Fatal(readErr)
				}
				untouched := len(now.Kvs) == 1 && now.Kvs[0].ModRevision == revision[key]
				switch {
				case allowed && err != nil:
					t.Errorf("%s: %s %s: %v", user, what, key, err)
				case !allowed && (err == nil || !untouched):
					t.Errorf("%q: %s %s: got %v, untouched: %v", user, what, key, err, untouched)
				case !allowed && user != "" && !errors.Is(err, rpctypes.ErrPermissionDenied):
					t.Errorf("%s: %s %s: %v", user, what, key, err)
				}
				if !untouched {
					restore(key)
				}
			}
		}
	}
}

// What everybody may read is all of the store and nothing else.
func TestWhoMayRead(t *testing.T) {
	t.Parallel()
	root, as := authorized(t)
	ctx := t.Context()
	for key := range writable {
		if _, err := root.client.Put(ctx, key, "theirs"); err != nil {
			t.Fatal(err)
		}
	}
	for user := range parties {
		client := as(user)
		resp, err := client.Get(ctx, "/tuplenet/", clientv3.WithPrefix())
		if err != nil || len(resp.Kvs) < len(writable)-4 {
			t.Errorf("%s: %v", user, err)
		}
		for key := range writable {
			_, err := client.Get(ctx, key)
			if mine := strings.HasPrefix(key, "/tuplenet/"); mine != (err == nil) {
				t.Errorf("%s: get %s: %v", user, key, err)
			}
		}
		if _, err := client.Get(ctx, "\x00", clientv3.WithFromKey()); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s reads all of etcd: %v", user, err)
		}
	}
	if _, err := as("nobody").Get(ctx, "/tuplenet/globals/version"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("a user without a role reads: %v", err)
	}
}

// TestWhoMayDeleteMany tries to delete what is one's own and somebody else's in one go.
func TestWhoMayDeleteMany(t *testing.T) {
	t.Parallel()
	root, as := authorized(t)
	ctx := t.Context()
	for _, key := range []string{"contact/h1", "contact/h2", "entity_bind/h1/S/p", "entity_bind/h2/S/p", "entity_view/LS/S/lsp/p", "entity_view/LS/T/lsp/p"} {
		put(t, root, key, "x")
	}
	for user, ranges := range map[string]map[string]bool{
		"h1":       {"entity_bind/h1/": true, "communicate/answer/h1/": true, "entity_bind/": false, "entity_bind/h1": false, "contact/": false, "": false},
		"cni":      {"entity_view/LS/S/lsp/": true, "entity_view/LS/S/": false, "entity_view/": false, "": false},
		"docker":   {"cnm/network/": true, "cnm/": false, "entity_view/LS/0": true, "entity_view/LS/": false, "": false},
		"reader":   {"entity_bind/": false, "nothing": false, "": false},
		"operator": {"communicate/": true, "contact/": true},
	} {
		client := as(user)
		for directory, allowed := range ranges {
			if _, err := client.Delete(ctx, "/tuplenet/"+directory, clientv3.WithPrefix()); allowed != (err == nil) {
				t.Errorf("%s: delete everything under %q: %v", user, directory, err)
			}
		}
		if _, err := client.Delete(ctx, "/", clientv3.WithFromKey()); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s: delete everything: %v", user, err)
		}
	}
}

// A lease is its keys' owner's: nobody else ends it, keeps it, or hangs keys on it.
func TestLeasesOfOthers(t *testing.T) {
	t.Parallel()
	_, as := authorized(t)
	ctx := t.Context()
	h1, h2 := as("h1"), as("h2")
	lease, err := h1.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h1.Put(ctx, "/tuplenet/contact/h1", "10.0.0.1", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"h2", "cni", "docker", "reader", "nobody"} {
		client := as(user)
		if _, err := client.Revoke(ctx, lease.ID); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s revokes it: %v", user, err)
		}
		if _, err := client.KeepAliveOnce(ctx, lease.ID); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("%s keeps it alive: %v", user, err)
		}
	}
	if _, err := h2.Put(ctx, "/tuplenet/contact/h2", "10.0.0.2", clientv3.WithLease(lease.ID)); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("h2 hangs a key on it: %v", err)
	}
	if _, err := h1.KeepAliveOnce(ctx, lease.ID); err != nil {
		t.Errorf("h1 cannot keep its own lease alive: %v", err)
	}
	if _, err := as("operator").Revoke(ctx, lease.ID); err != nil {
		t.Errorf("the operator: %v", err)
	}
}

// administration are things that only root may do.
var administration = map[string]func(context.Context, *clientv3.Client) error{
	"add a user":    func(ctx context.Context, c *clientv3.Client) error { _, err := c.UserAdd(ctx, "x", "x"); return err },
	"list users":    func(ctx context.Context, c *clientv3.Client) error { _, err := c.UserList(ctx); return err },
	"delete a user": func(ctx context.Context, c *clientv3.Client) error { _, err := c.UserDelete(ctx, "nobody"); return err },
	"set a password": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.UserChangePassword(ctx, Root, "x")
		return err
	},
	"become root": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.UserGrantRole(ctx, c.Username, Root)
		return err
	},
	"become operator": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.UserGrantRole(ctx, c.Username, "/tuplenet/operator")
		return err
	},
	"widen a role": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.RoleGrantPermission(ctx, "/tuplenet/reader", "/", "0", clientv3.PermissionType(clientv3.PermReadWrite))
		return err
	},
	"delete a role": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.RoleDelete(ctx, "/tuplenet/node/h1")
		return err
	},
	"disable": func(ctx context.Context, c *clientv3.Client) error { _, err := c.AuthDisable(ctx); return err },
	"add a member": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MemberAdd(ctx, []string{"http://127.0.0.1:1"})
		return err
	},
	"remove a member":   func(ctx context.Context, c *clientv3.Client) error { _, err := c.MemberRemove(ctx, 1); return err },
	"read the database": func(ctx context.Context, c *clientv3.Client) error { _, err := readAll(ctx, c); return err },
	"defragment": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Defragment(ctx, c.Endpoints()[0])
		return err
	},
	"end an alarm": func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: 1, Alarm: 1})
		return err
	},
	"compact": func(ctx context.Context, c *clientv3.Client) error {
		head, err := c.Get(ctx, "/tuplenet/globals/version")
		if err == nil {
			_, err = c.Compact(ctx, head.Header.Revision)
		}
		return err
	},
	"move the leader": func(ctx context.Context, c *clientv3.Client) error { _, err := c.MoveLeader(ctx, 1); return err },
}

func readAll(ctx context.Context, c *clientv3.Client) (int, error) {
	r, err := c.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Read(make([]byte, 1))
}

func TestOnlyRootAdministers(t *testing.T) {
	t.Parallel()
	_, as := authorized(t)
	for user := range parties {
		client := as(user)
		for what, do := range administration {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := do(ctx, client); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s: %s: %v", user, what, err)
			}
			cancel()
		}
	}
}

// Who asks whether it may be somebody is told, and nothing is written.
func TestMayBe(t *testing.T) {
	t.Parallel()
	s, as := authorized(t)
	before, err := s.client.Get(t.Context(), "/tuplenet/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for user, may := range map[string]bool{"h1": true, "operator": true, "h2": false, "cni": false, "reader": false, "nobody": false} {
		st := &Store{client: as(user), layout: newLayout(""), user: user}
		if err := st.MayBe(t.Context(), Party{DutyNode, "h1"}); may && err != nil || !may && !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", user, err)
		}
	}
	after, err := s.client.Get(t.Context(), "/tuplenet/", clientv3.WithPrefix())
	if err != nil || len(after.Kvs) != len(before.Kvs) {
		t.Errorf("%d keys, %v; there were %d", len(after.Kvs), err, len(before.Kvs))
	}
}

// What every user may do beside costs etcd something, and changes no data.
func TestWhatEveryUserMayDo(t *testing.T) {
	t.Parallel()
	_, as := authorized(t)
	ctx := t.Context()
	for what, do := range map[string]func(*clientv3.Client) error{
		"start leases":        func(c *clientv3.Client) error { _, err := c.Grant(ctx, 5); return err },
		"list members":        func(c *clientv3.Client) error { _, err := c.MemberList(ctx); return err },
		"see how a member is": func(c *clientv3.Client) error { _, err := c.Status(ctx, c.Endpoints()[0]); return err },
		"see alarms":          func(c *clientv3.Client) error { _, err := c.AlarmList(ctx); return err },
	} {
		if err := do(as("reader")); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := do(as("")); err == nil {
			t.Errorf("%s: a stranger may", what)
		}
	}
}
