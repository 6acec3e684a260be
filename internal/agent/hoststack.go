package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// hostStackDevice is the device by which packets enter the host's own stack in
// untunnel mode: the port of Driver.SetHostStack.
const hostStackDevice = "br-int-dsrgw"

// Sysctl is a kernel setting of this host that untunnel mode has changed. (The
// kernel itself may set it, as a consequence of another.)
type Sysctl struct {
	Name string `json:"name"` // as sysctl(8) has it
	Was  string `json:"was"`  // before the first change
	Set  string `json:"set"`  // by it
}

const (
	ipForward       = "net.ipv4.ip_forward"
	acceptRedirects = "net.ipv4.conf.all.accept_redirects"
	anyForwarding   = "net.ipv4.conf.*.forwarding"
)

// untunnelSysctls are what makes the host's stack route packets that come from
// hostStackDevice with the addresses of workloads.
var untunnelSysctls = []struct {
	name, value string
	optional    bool // the kernel may have been built without
}{
	// An address of its own would make the device ask br-int for routers.
	{"net.ipv6.conf." + hostStackDevice + ".disable_ipv6", "1", true},
	{ipForward, "1", false},
	{"net.ipv4.conf.all.rp_filter", "0", false},
	{"net.ipv4.conf." + hostStackDevice + ".rp_filter", "0", false},
	{"net.ipv4.conf." + hostStackDevice + ".forwarding", "1", false},
}

// enableUntunnel makes the host's stack take packets from hostStackDevice, which
// has to exist, in the network namespace of this process. What settings were
// before is in the run directory ahead of any change; what it holds already
// stays, as by then the present values are ours. It may be called at any time
// again, and has to be when the device was made anew.
func enableUntunnel(rundir string) error {
	link, err := netlink.LinkByName(hostStackDevice)
	if err != nil {
		return fmt.Errorf("untunnel mode: device %s, which Open vSwitch is to make in this network namespace: %w", hostStackDevice, err)
	}
	changes, err := sysctlChanges()
	if err != nil {
		return err
	}
	if err := keepSysctls(rundir, changes); err != nil {
		return err
	}
	for _, s := range untunnelSysctls {
		if slices.ContainsFunc(changes, func(c Sysctl) bool { return c.Name == s.name }) {
			if err := writeSysctl(s.name, s.value); err != nil {
				return err
			}
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up device %s; untunnel mode needs CAP_NET_ADMIN: %w", hostStackDevice, err)
	}
	return nil
}

// sysctlChanges returns what enableUntunnel has to change, and what the kernel
// changes because of that.
func sysctlChanges() ([]Sysctl, error) {
	var changes []Sysctl
	for _, s := range untunnelSysctls {
		now, err := readSysctl(s.name)
		if s.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if now == s.value {
			continue
		}
		changes = append(changes, Sysctl{s.name, now, s.value})
		if s.name == ipForward {
			carried, err := carriedByForwarding()
			if err != nil {
				return nil, err
			}
			changes = append(changes, carried...)
		}
	}
	return changes, nil
}

// carriedByForwarding returns the settings that would not be what they were
// after ip_forward has gone from 0 to 1 and back. The kernel's ip-sysctl says
// that a change of it resets others: these are the forwarding of every device,
// and whether redirects are accepted.
func carriedByForwarding() ([]Sysctl, error) {
	now, err := readSysctl(acceptRedirects)
	if err != nil {
		return nil, err
	}
	carried := []Sysctl{{acceptRedirects, now, "0"}}
	paths, err := filepath.Glob(sysctlPath(anyForwarding))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		name := swapDots.Replace(strings.TrimPrefix(path, sysctlRoot))
		if filepath.Base(filepath.Dir(path)) == "all" { // ip_forward by another name
			continue
		}
		if now, err := readSysctl(name); err == nil && now == "1" {
			carried = append(carried, Sysctl{name, now, "1"})
		}
	}
	return carried, nil
}

// ChangedSysctls returns the settings that untunnel mode changed for the agents
// of a run directory, as far as they are still what it made them, and are to
// become something else.
func ChangedSysctls(rundir string) ([]Sysctl, error) {
	kept, err := keptSysctls(rundir)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(kept, func(s Sysctl) bool {
		now, err := readSysctl(s.Name) // that of a device goes with it
		return err != nil || now != s.Set || s.Set == s.Was
	}), nil
}

// RestoreSysctls gives the settings that untunnel mode changed for the agents
// of a run directory the values that they had before, and returns the names of
// those. What somebody else has changed meanwhile stays as it is. It must be
// called in the network namespace in which the agent ran, and when it has
// succeeded it has nothing to do any more.
func RestoreSysctls(rundir string) (restored []string, err error) {
	kept, err := keptSysctls(rundir)
	if err != nil {
		return nil, err
	}
	// Seen first, as restoring ip_forward changes others.
	ours := slices.DeleteFunc(kept, func(s Sysctl) bool {
		now, err := readSysctl(s.Name)
		return err != nil || now != s.Set
	})
	for _, s := range ours {
		err := writeSysctl(s.Name, s.Was)
		if errors.Is(err, fs.ErrNotExist) { // its device has just gone
			continue
		}
		if err != nil {
			return restored, err
		}
		if s.Was != s.Set {
			restored = append(restored, s.Name)
		}
	}
	if err := os.Remove(keptPath(rundir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return restored, fmt.Errorf("forget the sysctls that were restored: %w", err)
	}
	return restored, nil
}

func keptPath(rundir string) string { return filepath.Join(rundir, "untunnel.json") }

// keptSysctls returns what keepSysctls has kept.
func keptSysctls(rundir string) ([]Sysctl, error) {
	data, err := os.ReadFile(keptPath(rundir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sysctls of before untunnel mode: %w", err)
	}
	var kept []Sysctl
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("sysctls of before untunnel mode: %s is damaged (%w); look at the values with sysctl, then remove the file", keptPath(rundir), err)
	}
	return kept, nil
}

// keepSysctls adds what is to be changed to what has been kept before.
func keepSysctls(rundir string, changes []Sysctl) error {
	kept, err := keptSysctls(rundir)
	if err != nil {
		return err
	}
	before := len(kept)
	for _, c := range changes {
		if !slices.ContainsFunc(kept, func(s Sysctl) bool { return s.Name == c.Name }) {
			kept = append(kept, c)
		}
	}
	if len(kept) == before {
		return nil
	}
	data, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	// Renamed into place, lest a crash leaves half of it.
	path := keptPath(rundir)
	err = os.WriteFile(path+".new", append(data, '\n'), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("keep the present sysctls, of which untunnel mode changes some (is the run directory writable?): %w", err)
	}
	return nil
}

const sysctlRoot = "/proc/sys/"

// swapDots makes a path of a sysctl's name, and back: a dot in a device's name
// is a slash in that of its sysctl, see sysctl(8).
var swapDots = strings.NewReplacer(".", "/", "/", ".")

func sysctlPath(name string) string { return sysctlRoot + swapDots.Replace(name) }

// readSysctl reads a setting of the network namespace of the calling thread.
func readSysctl(name string) (string, error) {
	data, err := os.ReadFile(sysctlPath(name))
	if err != nil {
		return "", fmt.Errorf("sysctl %s cannot be read; the agent needs the /proc of its network namespace: %w", name, err)
	}
	return strings.TrimSpace(string(data)), nil
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(sysctlPath(name), []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl %s cannot be set to %s; run as root with a writable /proc/sys, or set it by hand with `sysctl -w %[1]s=%[2]s`: %w", name, value, err)
	}
	return nil
}
