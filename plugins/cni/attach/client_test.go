package attach

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serve makes an agent that does one thing with its connection.
func serve(t *testing.T, do func(conn net.Conn)) (runDir string) {
	t.Helper()
	runDir = t.TempDir()
	l, err := net.Listen("unix", filepath.Join(runDir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		if conn, err := l.Accept(); err == nil {
			defer conn.Close()
			do(conn)
		}
	}()
	return runDir
}

// answers is an agent that hears a request and says text. (Who closes a connection
// that holds what he has not read resets it.)
func answers(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, text)
	}
}

func TestClientErrors(t *testing.T) {
	stale := t.TempDir()
	if l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(stale, SocketName)}); err != nil {
		t.Fatal(err)
	} else {
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	for _, test := range []struct {
		name   string
		runDir string
		agent  func(conn net.Conn)
		code   Code
		says   string
	}{
		{name: "no agent", runDir: t.TempDir(), code: CodeTryLater, says: "no agent of TupleNet answers at"},
		{name: "socket of an agent that was killed", runDir: stale, code: CodeTryLater, says: "no agent of TupleNet answers at"},
		{name: "hangs up", agent: func(net.Conn) {}, code: CodeTryLater, says: "has hung up (check)"},
		{name: "silent", agent: func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, code: CodeTryLater, says: "has not answered in time (check)"},
		{name: "garbage", agent: answers("hello\n"), code: CodeAgent, says: "does not understand (check)"},
		{name: "wrong type", agent: answers(`{"mtu": "x"}`), code: CodeAgent, says: "does not understand (check)"},
		{name: "endless", agent: func(conn net.Conn) {
			_, _ = io.WriteString(conn, `{"ip":"`)
			for ones := []byte(strings.Repeat("1", 1<<20)); ; {
				if _, err := conn.Write(ones); err != nil {
					return
				}
			}
		}, code: CodeTryLater, says: "has hung up (check)"},
		{name: "refuses", agent: answers(`{"error": {"code": 103, "msg": "wrong", "details": "all"}}`), code: CodeNotAttached, says: "wrong; all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			runDir := test.runDir
			if test.agent != nil {
				runDir = serve(t, test.agent)
			}
			c, err := Dial(runDir)
			if err == nil {
				_, err = c.Ask(Request{Op: Check}, time.Second)
				c.Close(0)
			}
			var e *Error
			if !errors.As(err, &e) || e.Code != test.code || !strings.Contains(e.Error(), test.says) {
				t.Errorf("%v, want code %d, %q", err, test.code, test.says)
			}
		})
	}
}

// TestClose shows that a plugin waits until its agent has taken back.
func TestClose(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "back")
	c, err := Dial(serve(t, func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, conn)
		_ = os.WriteFile(marker, nil, 0o600)
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.Close(10 * time.Second)
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("the agent was not waited for: %v", err)
	}

	release := make(chan struct{})
	defer close(release)
	if c, err = Dial(serve(t, func(net.Conn) { <-release })); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	c.Close(10 * time.Millisecond)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("an agent that does not hang up was waited for %s", took)
	}
}
