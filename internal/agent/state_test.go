package agent

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tuplenet/internal/topology"
)

func neighbourAt(sw, ip string, mac topology.MAC) topology.Neighbour {
	return topology.Neighbour{Switch: sw, IP: netip.MustParseAddr(ip), MAC: mac}
}

func TestNeighbourFile(t *testing.T) {
	all := []topology.Neighbour{
		neighbourAt("outside1", "192.168.1.10", otherMAC),
		neighbourAt("outside1", "192.168.1.9", gatewayMAC),
		neighbourAt("a switch  with blanks ", "10.0.0.1", gatewayMAC),
		neighbourAt("#5", "10.0.0.1", gatewayMAC),
	}
	want := neighbourHeader +
		"10.0.0.1 52:54:00:00:00:01 #5\n" +
		"10.0.0.1 52:54:00:00:00:01 a switch  with blanks \n" +
		"192.168.1.9 52:54:00:00:00:01 outside1\n" +
		"192.168.1.10 52:54:00:00:00:02 outside1\n"
	content := formatNeighbours(all)
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	path := filepath.Join(t.TempDir(), neighbourFile)
	if err := replaceFile(path, content); err != nil {
		t.Fatal(err)
	}
	got, err := readNeighbours(path)
	if diff := cmp.Diff(all, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

func TestNeighbourFileMissing(t *testing.T) {
	if got, err := readNeighbours(filepath.Join(t.TempDir(), neighbourFile)); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := readNeighbours(t.TempDir()); err == nil || !strings.Contains(err.Error(), "learned before") {
		t.Errorf("a directory: %v", err)
	}
}

func TestNeighbourFileDamaged(t *testing.T) {
	good := "192.168.1.1 52:54:00:00:00:01 outside1\n"
	for damage, want := range map[string]string{
		"\n":                                           "is not an address, a MAC and a switch",
		"192.168.1.2 52:54:00:00:00:01\n":              "is not an address, a MAC and a switch",
		"192.168.1.2 52:54:00:00:00:01 \n":             "empty or contains only spaces",
		"192.168.1.2 52:54:00:00:00:01 a/b\n":          `"/" is not allowed`,
		"192.168.1 52:54:00:00:00:01 outside1\n":       `invalid IPv4 address "192.168.1"`,
		"fe80::1 52:54:00:00:00:01 outside1\n":         `invalid IPv4 address "fe80::1"`,
		"192.168.1.2 52:54:00:00:00 outside1\n":        "invalid MAC",
		"192.168.1.2 ff:ff:ff:ff:ff:ff outside1\n":     "no single machine",
		"192.168.1.2 00:00:00:00:00:00 outside1\n":     "no single machine",
		strings.Repeat("\x00", 1<<20) + "\n":           "is not an address, a MAC and a switch",
		"{\"192.168.1.2\": \"52:54:00:00:00:01\"}\n\n": "2 of 4 lines are damaged",
		"192.168.1.2 52:54:00:00:00:01 outsi":          "is not an address, a MAC and a switch", // torn off
	} {
		path := filepath.Join(t.TempDir(), neighbourFile)
		if err := os.WriteFile(path, []byte(neighbourHeader+good+damage), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readNeighbours(path)
		if len(got) != 1 || got[0] != neighbourAt("outside1", "192.168.1.1", gatewayMAC) {
			t.Errorf("%.60q: read %v", damage, got)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the first of them line 3") || len(err.Error()) > 1000 {
			t.Errorf("%.60q: the error is %.1000v, want %q", damage, err, want)
		}
	}
}

func FuzzParseNeighbour(f *testing.F) {
	f.Add("192.168.1.1 52:54:00:00:00:01 outside1\n")
	f.Fuzz(func(t *testing.T, line string) {
		n, err := parseNeighbour(line)
		if err != nil {
			return
		}
		text := strings.TrimPrefix(string(formatNeighbours([]topology.Neighbour{n})), neighbourHeader)
		if again, err := parseNeighbour(text); err != nil || again != n {
			t.Errorf("%q is %v, and written again %v, %v", line, n, again, err)
		}
	})
}

func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, neighbourFile)
	k := newKeeper(path, slog.New(slog.DiscardHandler))
	for i := range 1000 {
		k.put(bytes.Repeat([]byte{byte(i)}, i))
	}
	k.close()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{0xe7}, 999)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestKeeperFails has the run directory vanish: it is said once, and no matter
// for the agent.
func TestKeeperFails(t *testing.T) {
	var said bytes.Buffer
	k := newKeeper(filepath.Join(t.TempDir(), "gone", neighbourFile), slog.New(slog.NewTextHandler(&said, nil)))
	for range 100 {
		k.put([]byte("content"))
	}
	k.close()
	if n := strings.Count(said.String(), "cannot keep"); n != 1 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
}

// TestReplaceFileFails leaves the old file as it is.
func TestReplaceFileFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, neighbourFile)
	if err := os.MkdirAll(filepath.Join(path, "not a file"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(path, []byte("content")); err == nil {
		t.Error("a directory has been replaced by a file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
