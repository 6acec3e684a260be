package trace

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"tuplenet/internal/packet"
	"tuplenet/internal/topology"
)

var update = flag.Bool("update", false, "rewrite the paths in testdata/*/*.txtar")

// TestDry computes the paths of packets. Each file of testdata/dry says, as text,
// what it shows, what the store holds, which packets are sent and where they go.
func TestDry(t *testing.T) {
	t.Parallel()
	golden(t, "dry", "paths", func(t *testing.T, archive *txtar.Archive) string {
		n := NewNetwork(stored(t, section(archive, "topology")), settingsOf(section(archive, "settings")))
		var got strings.Builder
		for line := range strings.Lines(section(archive, "packets")) {
			fmt.Fprintf(&got, "%s", line)
			for i, path := range tracePacket(t, n, strings.Fields(line)) {
				fmt.Fprintf(&got, "  path %d\n%s", i+1, renderPath(path))
			}
		}
		return got.String()
	})
}

// golden holds what make returns for each file of a directory in testdata against
// one of its sections, or writes it there.
func golden(t *testing.T, directory, name string, make func(*testing.T, *txtar.Archive) string) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + directory + "/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := make(t, archive)
			if *update {
				archive.Files = slices.DeleteFunc(archive.Files, func(f txtar.File) bool { return f.Name == name })
				archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(got)})
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(section(archive, name), got); diff != "" {
				t.Errorf("%s differ (-want +got; go test ./internal/trace -update rewrites them):\n%s", name, diff)
			}
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// stored reads what the store holds: a path below entity_view/ and a value a line,
// or "down CHASSIS".
func stored(t testing.TB, text string) []topology.Change {
	t.Helper()
	var changes []topology.Change
	for line := range strings.Lines(text) {
		path, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if path == "" {
			continue
		}
		c := topology.Change{Created: int64(len(changes) + 1)}
		if path == "down" {
			c.Entity = topology.Absence{Chassis: value}
		} else {
			e, err := topology.Parse(keyOf(path), value)
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			c.Entity = e
		}
		c.Key = c.Entity.Key()
		changes = append(changes, c)
	}
	return changes
}

func keyOf(path string) topology.Key {
	kinds := map[string]topology.Kind{"LS": topology.KindSwitch, "LR": topology.KindRouter, "chassis": topology.KindChassis,
		"LS/lsp": topology.KindSwitchPort, "LR/lrp": topology.KindRouterPort, "LR/lsr": topology.KindStaticRoute, "LR/lnat": topology.KindNAT}
	part := strings.Split(path, "/")
	if len(part) == 4 {
		return topology.Key{Kind: kinds[part[0]+"/"+part[2]], Parent: part[1], Name: part[3]}
	}
	return topology.Key{Kind: kinds[part[0]], Name: part[1]}
}

// settingsOf reads settings, a chassis a line: "hv1 all-flows untunnel".
func settingsOf(text string) func(string) Settings {
	all := map[string]Settings{}
	for line := range strings.Lines(text) {
		word := strings.Fields(line)
		all[word[0]] = Settings{
			AllFlows:   slices.Contains(word, "all-flows"),
			NoRedirect: slices.Contains(word, "no-redirect"),
			Untunnel:   slices.Contains(word, "untunnel"),
		}
	}
	return func(chassis string) Settings { return all[chassis] }
}

// tracePacket traces what packetOf reads.
func tracePacket(t testing.TB, n *Network, word []string) [][]Record {
	t.Helper()
	from, frame, err := packetOf(t, n, word)
	if err != nil {
		t.Fatal(word, err)
	}
	paths, err := n.Trace(from.Name, frame)
	if err != nil {
		t.Fatal(word, err)
	}
	return paths
}

// packetOf reads "PORT PROTOCOL DESTINATION [ttl=N] [size=N] [mac=MAC] [from=IP]
// [src=IP] [vlan=N] [damaged] [may-fragment]".
func packetOf(t testing.TB, n *Network, word []string) (from topology.SwitchPort, frame []byte, err error) {
	t.Helper()
	if from, err = n.source(word[0]); err != nil {
		return from, nil, err
	}
	p := Probe{Port: word[0], Proto: Proto(word[1]), IPDst: netip.MustParseAddr(word[2])}
	damaged, mayFragment, tag := false, false, 0
	for _, option := range word[3:] {
		name, value, _ := strings.Cut(option, "=")
		number, _ := strconv.Atoi(value)
		switch name {
		case "ttl":
			p.TTL = uint8(number)
		case "size":
			p.Size = number
		case "mac":
			p.EthDst, err = topology.ParseMAC(value)
		case "from":
			p.IPSrc, err = netip.ParseAddr(value)
			p.EthSrc = topology.MAC{2, 0, 0, 0, 0, 9}
		case "src":
			p.IPSrc, err = netip.ParseAddr(value)
		case "vlan":
			tag = number
		case "damaged":
			damaged = true
		case "may-fragment":
			mayFragment = true
		default:
			t.Fatalf("unknown option %q", option)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if frame, _, err = p.Frame(n.model); err != nil {
		return from, nil, err
	}
	if damaged {
		frame[len(frame)-1] ^= 1
	}
	if mayFragment {
		frame[etherLen+6] = 0
	}
	if tag != 0 {
		frame = packet.Tagged(frame, uint16(tag))
	}
	return from, frame, nil
}

// renderPath writes a path: a line for each stay in a device between two of its
// ports, with the tables, and who made the flow where it is not for all packets
// alike; in between what the packet looks like.
func renderPath(records []Record) string {
	var b strings.Builder
	stay := ""
	for _, r := range records {
		for _, s := range r.Steps {
			if s.Header != nil {
				fmt.Fprintf(&b, "\n    %s, %s > %s", s.Header, s.Header.EthSrc, s.Header.EthDst)
				stay = ""
			}
			if now := fmt.Sprintf("\n      %s %d %d>%d:", r.Chassis, s.Datapath, s.From, s.To); now != stay {
				stay = now
				b.WriteString(stay)
			}
			b.WriteString(" " + s.Table.String())
			if s.Object != "" {
				fmt.Fprintf(&b, " [%s: %s]", s.Rule, s.Object)
			}
			if s.Assumed != "" {
				fmt.Fprintf(&b, " (%s)", s.Assumed)
			}
			for _, e := range s.Ends {
				parts := slices.DeleteFunc([]string{string(e.Kind), e.Iface, e.Chassis, e.Why}, func(s string) bool { return s == "" })
				fmt.Fprintf(&b, " => %s", strings.Join(parts, " "))
			}
		}
	}
	return strings.TrimPrefix(b.String(), "\n") + "\n"
}
