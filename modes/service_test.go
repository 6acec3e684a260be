package modes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/agent"
)

// systemd is the end of sd_notify(3) that listens.
type systemd struct {
	t    *testing.T
	conn *net.UnixConn
}

// underSystemd has this process find itself started by systemd, with a watchdog.
func underSystemd(t *testing.T, watchdog time.Duration) systemd {
	dir, err := os.MkdirTemp("", "notify") // shorter than TempDir: a socket is in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	return systemd{t, conn}
}

// hears returns what systemd is told next, or nothing if that takes longer.
func (s systemd) hears(patience time.Duration) string {
	s.t.Helper()
	said := make([]byte, 1000)
	if err := s.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	n, err := s.conn.Read(said)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal(err)
	}
	return strings.ReplaceAll(string(said[:n]), "\n", " ")
}

// TestHeartbeat shows what systemd hears of an agent, and when it takes it to have
// started.
func TestHeartbeat(t *testing.T) {
	s := newService(t.Context(), slog.New(slog.DiscardHandler))
	var cfg agent.Config
	if s.heartbeat(&cfg); cfg.Heartbeat != nil {
		t.Error("without systemd somebody wants to know of the agent")
	}

	listener := underSystemd(t, 8*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	s = newService(ctx, slog.New(slog.DiscardHandler))
	if s.heartbeat(&cfg); cfg.HeartbeatEvery != 2*time.Second {
		t.Errorf("a watchdog of 8s is fed every %s", cfg.HeartbeatEvery)
	}
	tells := func(want string, missing ...string) {
		t.Helper()
		cfg.Heartbeat(missing)
		if got := listener.hears(5 * time.Second); got != want {
			t.Errorf("systemd hears %q, want %q", got, want)
		}
	}
	tells("WATCHDOG=1 STATUS=waits: etcd; flows", "etcd", "flows")
	tells("WATCHDOG=1", "etcd", "flows")
	tells("WATCHDOG=1 READY=1 STATUS=all is in place")
	tells("WATCHDOG=1 STATUS=waits: etcd", "etcd")

	s.isReady, s.started = false, time.Now().Add(-time.Minute)
	tells("WATCHDOG=1 READY=1", "etcd")
	cancel()
	if got := listener.hears(5 * time.Second); got != "STOPPING=1" {
		t.Errorf("at its end systemd hears %q", got)
	}
}

// TestFeed shows that the watchdog is fed while there is an answer from within, and
// only then.
func TestFeed(t *testing.T) {
	listener := underSystemd(t, 80*time.Millisecond)
	s := newService(t.Context(), slog.New(slog.DiscardHandler))
	answers := make(chan error)
	go s.feed(t.Context(), func(ctx context.Context) error {
		select {
		case err := <-answers:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	for range 2 {
		answers <- nil
		if got := listener.hears(5 * time.Second); got != "WATCHDOG=1" {
			t.Errorf("systemd hears %q", got)
		}
	}
	answers <- errors.New("no")
	if got := listener.hears(200 * time.Millisecond); got != "" {
		t.Errorf("without an answer systemd hears %q", got)
	}
}
