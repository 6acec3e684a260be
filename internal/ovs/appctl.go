package ovs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// appctlTimeout bounds a command. ovs-vswitchd answers between its other work,
// of which a large change of flows takes longest.
const appctlTimeout = 20 * time.Second

// appctl runs a command of ovs-vswitchd as ovs-appctl(8) does, and returns what
// that prints. The control socket speaks JSON-RPC 1.0; its path has the number
// of the process, so that a restart is no concern.
func (d *Driver) appctl(ctx context.Context, command string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, appctlTimeout)
	defer cancel()
	pid, err := os.ReadFile(filepath.Join(d.cfg.RunDir, "ovs-vswitchd.pid"))
	if err != nil {
		return "", fmt.Errorf("%w: is ovs-vswitchd running? %w", ErrNotConnected, err)
	}
	socket := filepath.Join(d.cfg.RunDir, fmt.Sprintf("ovs-vswitchd.%s.ctl", bytes.TrimSpace(pid)))
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("%w: is ovs-vswitchd running? %w", ErrNotConnected, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()

	if args == nil {
		args = []string{} // the server wants a list
	}
	var reply struct {
		Result string
		Error  *string
	}
	err = json.NewEncoder(conn).Encode(map[string]any{"id": 0, "method": command, "params": args})
	if err == nil {
		err = json.NewDecoder(conn).Decode(&reply)
	}
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%s over %s: %w", command, socket, ctx.Err())
	case err != nil:
		return "", fmt.Errorf("%s over %s: %w: %w", command, socket, ErrNotConnected, err)
	case reply.Error != nil:
		return "", fmt.Errorf("%s: ovs-vswitchd refuses: %s", command, strings.TrimSpace(*reply.Error))
	}
	return reply.Result, nil
}

// datapath returns the name of the bridge's datapath, which all bridges of one
// type share, as dpctl commands take it.
func (d *Driver) datapath() (string, error) {
	s, err := d.currentSession()
	if err != nil {
		return "", err
	}
	b := findBridge(s.cache, d.cfg.Bridge)
	if b == nil {
		return "", errors.New("the bridge is missing")
	}
	kind := b.DatapathType
	if kind == "" {
		kind = "system"
	}
	return fmt.Sprintf("%s@ovs-%s", kind, kind), nil
}
