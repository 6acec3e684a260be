package agent

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tuplenet/internal/topology"
)

// neighbourFile is where the MACs of the physical network survive a restart,
// in the run directory. A line is an address, its MAC and the switch that leads
// there, whose name may contain blanks; what follows # at its beginning is for
// people.
const neighbourFile = "mac_ip_bind.data"

const neighbourHeader = "# machines of the physical network: address, MAC, logical switch\n"

// formatNeighbours makes the content of the file; equal neighbours in any order
// make an equal one.
func formatNeighbours(all []topology.Neighbour) []byte {
	slices.SortFunc(all, func(a, b topology.Neighbour) int {
		return cmp.Or(strings.Compare(a.Switch, b.Switch), a.IP.Compare(b.IP))
	})
	var b bytes.Buffer
	b.WriteString(neighbourHeader)
	for _, n := range all {
		fmt.Fprintf(&b, "%s %s %s\n", n.IP, n.MAC, n.Switch)
	}
	return b.Bytes()
}

// readNeighbours returns what the file at path holds; without a file that is
// nothing. Damaged lines are skipped: the error tells of them and comes beside
// the others.
func readNeighbours(path string) ([]topology.Neighbour, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the MACs learned before: %w", err)
	}
	var all []topology.Neighbour
	var damage error
	number, damaged := 0, 0
	for line := range strings.Lines(string(content)) {
		number++
		if strings.HasPrefix(line, "#") {
			continue
		}
		n, err := parseNeighbour(line)
		if err != nil {
			if damaged++; damage == nil {
				damage = fmt.Errorf("line %d: %w", number, err)
			}
			continue
		}
		all = append(all, n)
	}
	if damage != nil {
		return all, fmt.Errorf("read the MACs learned before from %s: %d of %d lines are damaged and skipped, the first of them %w",
			path, damaged, number, damage)
	}
	return all, nil
}

func parseNeighbour(line string) (topology.Neighbour, error) {
	text, whole := strings.CutSuffix(line, "\n")
	fields := strings.SplitN(text, " ", 3)
	if !whole || len(fields) != 3 {
		return topology.Neighbour{}, fmt.Errorf("%.100q is not an address, a MAC and a switch", text)
	}
	ip, err := netip.ParseAddr(fields[0])
	if err != nil || !ip.Is4() {
		return topology.Neighbour{}, fmt.Errorf("invalid IPv4 address %.40q", fields[0])
	}
	mac, err := topology.ParseMAC(fields[1])
	switch {
	case err != nil:
		return topology.Neighbour{}, err
	case mac.IsMulticast(), mac == topology.MAC{}:
		return topology.Neighbour{}, fmt.Errorf("MAC %s belongs to no single machine", mac)
	}
	if err := topology.CheckName(fields[2]); err != nil {
		return topology.Neighbour{}, fmt.Errorf("switch: %w", err)
	}
	return topology.Neighbour{Switch: fields[2], IP: ip, MAC: mac}, nil
}

// keeper writes a file beside the agent's loop, as the disk may be slow. Of
// contents that come faster than they can be written, the last counts.
type keeper struct {
	path   string
	log    *slog.Logger
	latest chan []byte // capacity 1
	done   chan struct{}
}

// newKeeper returns a keeper of the file at path, which works until close.
func newKeeper(path string, log *slog.Logger) *keeper {
	k := &keeper{path: path, log: log, latest: make(chan []byte, 1), done: make(chan struct{})}
	go k.work()
	return k
}

// put sets what the file is to hold, and does not wait. One goroutine may call
// put and close.
func (k *keeper) put(content []byte) {
	select {
	case <-k.latest:
	default:
	}
	k.latest <- content // there is room: nobody else sends
}

// close returns when the file holds what was last put.
func (k *keeper) close() {
	close(k.latest)
	<-k.done
}

func (k *keeper) work() {
	defer close(k.done)
	failed := false
	for content := range k.latest {
		err := replaceFile(k.path, content)
		if err != nil && !failed {
			k.log.Warn("cannot keep what was learned for a restart, will try again when there is more", "error", err)
		}
		failed = err != nil
	}
}

// replaceFile gives a file a new content, which is there whole or not at all.
func replaceFile(path string, content []byte) error {
	// Made with mode 0600, and under a name that no reader looks for.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	// Renamed before its content is on the disk, it could be found empty after
	// a power failure.
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
