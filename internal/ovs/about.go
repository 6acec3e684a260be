package ovs

import (
	"context"
	"strings"
)

// About tells which Open vSwitch this is.
type About struct {
	Version  string // of ovs-vswitchd, such as 3.1.0
	Datapath string // type of the bridge's: system (the kernel's), netdev (userspace) or dummy
}

// About asks the running ovs-vswitchd. The error is ErrNotConnected while it,
// or OVSDB, is away; what could be told comes beside it.
func (d *Driver) About(ctx context.Context) (About, error) {
	var a About
	name, err := d.datapath()
	if err != nil {
		return a, err
	}
	a.Datapath, _, _ = strings.Cut(name, "@")
	text, err := d.appctl(ctx, "version")
	a.Version = versionIn(text)
	return a, err
}

// versionIn returns the version in what ovs-vswitchd prints of itself:
// "ovs-vswitchd (Open vSwitch) 3.1.0", and lines of other versions.
func versionIn(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ""
	}
	return fields[len(fields)-1]
}
