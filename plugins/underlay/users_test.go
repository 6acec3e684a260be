package underlay

import (
	"bytes"
	"log/slog"
	"testing"

	"cni.tuplenet/attach"
	"github.com/containernetworking/cni/pkg/skel"

	"tuplenet/internal/store"
)

// TestUsers has etcd authenticate: the configuration's user needs the role of a plugin
// for the switch.
func TestUsers(t *testing.T) {
	n := startNode(t)
	ctx := t.Context()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	as := func(more map[string]any, user string) map[string]any {
		more["etcd_user"] = user
		return more
	}
	role := func(p store.Party) {
		t.Helper()
		do(n.store.AddParty(ctx, p))
		do(n.store.Grant(ctx, "vm1", p))
	}
	_, err := n.store.AddRoot(ctx, "secret")
	do(err)
	do(n.store.AddUser(ctx, "vm1", "vm1's"))
	do(n.store.EnableAuth(ctx))
	n.store, err = store.New(store.Config{Endpoints: n.etcd.Endpoints(), Username: store.Root, Password: "secret", Log: slog.New(slog.DiscardHandler)})
	do(err)
	t.Cleanup(func() { n.store.Close() })

	pod := n.pod()
	args := n.args("c1", pod, as(map[string]any{}, "vm1:vm1's"))
	refused := func(args *skel.CmdArgs, code attach.Code, says string) {
		t.Helper()
		wantCode(t, add(ctx, args, &bytes.Buffer{}), code, says)
		n.wantNothing()
	}
	refused(n.args("c1", pod, nil), attach.CodeTryLater, "it wants to know who asks")
	refused(n.args("c1", pod, as(map[string]any{}, "vm1:another")), attach.CodeTryLater, "it knows no such user with that password")
	refused(args, attach.CodeTryLater, "permission denied; user vm1 has no role for /tuplenet/ there")
	role(store.Party{Duty: store.DutyPlugin, Of: "LS-B"})
	const lacks = "permission denied; user vm1 lacks the role of a plugin for switch LS-A: tpctl auth add vm1 --plugin LS-A"
	refused(args, attach.CodeDenied, lacks)

	role(store.Party{Duty: store.DutyPlugin, Of: "LS-A"})
	r := n.add(args)
	if err := check(ctx, n.args("c1", pod, as(map[string]any{"prevResult": r}, "vm1:vm1's"))); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	if err := status(ctx, args); err != nil {
		t.Errorf("STATUS: %v", err)
	}
	// Without the role DEL fails, as without etcd, and succeeds when the runtime comes again.
	do(n.store.DeleteUser(ctx, "vm1"))
	do(n.store.AddUser(ctx, "vm1", "vm1's"))
	role(store.Party{Duty: store.DutyPlugin, Of: "LS-B"})
	wantCode(t, del(ctx, args), attach.CodeDenied, lacks)
	if ports, veths := n.devices(); len(ports)+len(veths) > 0 {
		t.Errorf("on the node there is %q, %q", ports, veths)
	}
	role(store.Party{Duty: store.DutyPlugin, Of: "LS-A"})
	if err := collect(ctx, args); err != nil {
		t.Errorf("GC: %v", err)
	}
	n.wantNothing()
}
