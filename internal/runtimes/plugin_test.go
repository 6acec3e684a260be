package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// attachment is a container's interface, as a runtime names it.
type attachment struct {
	on        *machine
	container string
	netns     string // file; empty where the runtime has none any more
	ifname    string // default eth0
	args      string // CNI_ARGS
	conf      string // default tutorial
}

// attachment returns that of a container on the machine, in a new network
// namespace of the same name.
func (m *machine) attachment(container string) attachment {
	m.t.Helper()
	return attachment{on: m, container: container, netns: m.netns(container)}
}

// call calls the plugin directly, as a runtime does, and returns what it
// prints. An error that the plugin reports is a *types.Error.
func (a attachment) call(ctx context.Context, command string) ([]byte, error) {
	return output(a.command(ctx, command))
}

// command prepares what call runs, with what comes before the plugin.
func (a attachment) command(ctx context.Context, command string, before ...string) *exec.Cmd {
	cmd := a.on.command(ctx, append(before, "/opt/cni/bin/tpcni")...)
	ifname, conf := a.ifname, a.conf
	if ifname == "" {
		ifname = "eth0"
	}
	if conf == "" {
		conf = tutorial
	}
	cmd.Env = append(cmd.Env, "CNI_COMMAND="+command, "CNI_CONTAINERID="+a.container, "CNI_NETNS="+a.netns, "CNI_IFNAME="+ifname, "CNI_PATH=/opt/cni/bin", "CNI_ARGS="+a.args)
	cmd.Stdin = strings.NewReader(conf)
	return cmd
}

// output runs a plugin.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	reported := &types.Error{}
	if json.Unmarshal(out, reported) == nil && reported.Code != 0 {
		return out, reported
	}
	return out, fmt.Errorf("%w: %s%s", err, out, stderr.String())
}

// add attaches a container and returns its address.
func (a attachment) add() (netip.Addr, error) {
	out, err := a.call(a.on.t.Context(), "ADD")
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ADD %s: %w", a.container, err)
	}
	return addressOf(out)
}

// del takes a container's interface back.
func (a attachment) del() error {
	if _, err := a.call(a.on.t.Context(), "DEL"); err != nil {
		return fmt.Errorf("DEL %s: %w", a.container, err)
	}
	return nil
}

// addressOf returns the address in the result of an ADD, of any version.
func addressOf(result []byte) (netip.Addr, error) {
	var r types100.Result // 0.3.0 and later give addresses in the same place
	if err := json.Unmarshal(result, &r); err != nil {
		return netip.Addr{}, fmt.Errorf("the result is %q: %w", result, err)
	}
	if len(r.IPs) == 0 {
		return netip.Addr{}, fmt.Errorf("no address in the result %q", result)
	}
	ip, _ := netip.AddrFromSlice(r.IPs[0].Address.IP)
	return ip.Unmap(), nil
}

// mustAdd is add for what has to succeed.
func (a attachment) mustAdd() netip.Addr {
	a.on.t.Helper()
	ip, err := a.add()
	if err != nil {
		a.on.t.Fatal(err)
	}
	return ip
}

// mustDel is del for what has to succeed.
func (a attachment) mustDel() {
	a.on.t.Helper()
	if err := a.del(); err != nil {
		a.on.t.Fatal(err)
	}
}

// wantCode checks that a plugin has reported an error of the specification's, or
// of its own, in a sentence with certain words.
func wantCode(t *testing.T, err error, code uint, words ...string) {
	t.Helper()
	reported := &types.Error{}
	if !errors.As(err, &reported) || reported.Code != code {
		t.Errorf("the error is %v, want code %d", err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(reported.Error(), w) {
			t.Errorf("the error %q does not speak of %q", reported.Error(), w)
		}
	}
}
