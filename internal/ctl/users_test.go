package ctl

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// person returns a terminal at which somebody has typed a line.
func person(t *testing.T, line string) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	if _, err := master.WriteString(line); err != nil {
		t.Fatal(err)
	}
	return terminal
}

// A person is told who uses a switch before it is deleted, and can say no.
func TestQuestionNamesUsers(t *testing.T) {
	b := newBed(t)
	b.must("/u", "ls add", nil, "S")
	b.must("/u", "ls add", nil, "pods")
	b.must("/u", "lsp add", nil, "S", "vm", "10.0.0.1")
	b.must("/u", "lsp add", map[string]string{"parent": "vm"}, "pods", "web", "10.1.0.1")
	owned := topology.SwitchPort{Switch: "S", Name: "lsp-eth0-1", IP: netip.MustParseAddr("10.0.0.9"), MAC: topology.MAC{2, 0, 0, 0, 0, 1}, Owner: "cni:k8s/1/eth0"}
	if _, err := b.store("/u").CreateIf(t.Context(), nil, owned); err != nil {
		t.Fatal(err)
	}
	all := All()
	del := all[slices.IndexFunc(all, func(c Command) bool { return c.Name() == "ls del" })]
	asked := func(sw string) string {
		var said bytes.Buffer
		err := del.Run(t.Context(), Env{In: person(t, "no\n"), Out: &said, Err: &said, Flags: map[string]string{"recursive": "true"},
			Open: func(ctx context.Context) (*store.Store, error) { return b.open(ctx, "/u") }}, []string{sw})
		if err == nil || err.Error() != "operation canceled" {
			t.Errorf("%s: %v", sw, err)
		}
		return strings.TrimSuffix(said.String(), "\nconfirm? [yes/no] ")
	}
	if got, want := asked("S"), "S and all data under it will be deleted\ncontainers use 1 port of it\nports of it have 1 child (pods/web) in other switches"; got != want {
		t.Errorf("asked:\n%s\nwant:\n%s", got, want)
	}
	if got, want := asked("pods"), "pods and all data under it will be deleted"; got != want {
		t.Errorf("asked:\n%s\nwant:\n%s", got, want)
	}
	if n := len(b.switchPortsOf("/u")); n != 3 {
		t.Errorf("%d ports are left, want 3", n)
	}
}
