package agent

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/ovs"
	"tuplenet/internal/store"
)

// takeHost is a PluginServer that hands the agent's Host over.
type takeHost chan *Host

func (c takeHost) Serve(ctx context.Context, h *Host) {
	c <- h
	<-ctx.Done()
}

// An agent's heart beats while it waits, tells for what, and stands still while its
// loop hangs.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	h := s.newHost("hv-a", "192.168.1.1")
	st, err := store.New(store.Config{Endpoints: []string{s.endpoint}, Log: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	hosts, beats := make(takeHost, 1), make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	h.StopVswitchd()
	go func() {
		ended <- Run(ctx, Config{Store: st, OVS: ovs.Config{RunDir: h.RunDir(), Log: logTo(t)}, TunnelIP: netip.MustParseAddr(h.ip), RunDir: h.RunDir(), Log: logTo(t),
			Plugins: hosts, HeartbeatEvery: 10 * time.Millisecond,
			Heartbeat: func(missing []string) {
				select {
				case beats <- strings.Join(missing, "; "):
				case <-ctx.Done():
				}
			}})
	}()
	// beat returns what it tells next, within so much time.
	beat := func(patience time.Duration) (missing string, comes bool) {
		select {
		case missing = <-beats:
			return missing, true
		case <-time.After(patience):
			return "", false
		}
	}
	tells := func(what string, is func(missing string) bool) {
		t.Helper()
		eventually(t, what, func() bool {
			missing, comes := beat(time.Second)
			return comes && is(missing)
		})
	}
	ready := func(missing string) bool { return missing == "" }
	tells("it waits for the bridge", func(missing string) bool { return strings.Contains(missing, "no connection to the bridge, for flows") })
	h.StartVswitchd()
	tells("it is ready", ready)

	host, hangs, goOn := <-hosts, make(chan struct{}), make(chan struct{})
	go host.do(ctx, func() { close(hangs); <-goOn })
	<-hangs
	beat(200 * time.Millisecond) // one may have been on its way
	if missing, comes := beat(200 * time.Millisecond); comes {
		t.Errorf("while its loop hangs the heart beats, %q", missing)
	}
	close(goOn)
	tells("it goes on", ready)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
