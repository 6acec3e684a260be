package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// netnsDir is where named network namespaces are found, see ip-netns(8).
const netnsDir = "/run/netns"

// namespace returns the name of the namespace of a host, an outside machine, a
// workload or the physical switch.
func (l *Lab) namespace(name string) string { return l.Name + "-" + name }

// namespaces returns the lab's namespaces: all whose names begin with its own,
// also those that somebody added to it.
func (l *Lab) namespaces() ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: list its namespaces: %w", l.Name, err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), l.namespace("")) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// addNamespace makes the namespace of a place. It begins as a kernel does, and not
// with what this machine has set, as a container runtime on it may have.
func addNamespace(ctx context.Context, p place) error {
	if namespaceExists(p.ns) {
		return fmt.Errorf("network namespace %s exists already: remove it with `ip netns del %[1]s`", p.ns)
	}
	if err := (place{echo: p.echo}).run(ctx, "ip", "netns", "add", p.ns); err != nil {
		return err
	}
	return p.run(ctx, "sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
}

// removeNamespace ends what runs in a namespace, then removes it, if it is
// there. Devices in it go, and with each its peer.
func removeNamespace(ctx context.Context, echo *transcript, ns string) error {
	if !namespaceExists(ns) {
		return nil
	}
	if err := killAll(ctx, []string{ns}); err != nil {
		return fmt.Errorf("remove namespace %s: %w", ns, err)
	}
	return place{echo: echo}.run(ctx, "ip", "netns", "del", ns)
}

func namespaceExists(ns string) bool {
	_, err := os.Lstat(filepath.Join(netnsDir, ns))
	return err == nil
}
