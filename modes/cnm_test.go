package modes

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestNotify shows that systemd is told when Docker can ask the plugin, and when
// that ends.
func TestNotify(t *testing.T) {
	dir, err := os.MkdirTemp("", "cnm") // shorter than TempDir: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	config, socket := filepath.Join(dir, "cnm.json"), filepath.Join(dir, "plugins", "tuplenet.sock")
	if err := os.WriteFile(config, fmt.Appendf(nil, `{"etcd_cluster": "127.0.0.1:1", "socket": %q, "docker_unix_sock": %q, "rundir": %q}`, socket, filepath.Join(dir, "docker.sock"), dir), 0o600); err != nil {
		t.Fatal(err)
	}
	plugin := exec.Command("tpcnm", "--config", config)
	plugin.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	plugin.Stderr = t.Output()
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plugin.Process.Kill() })
	told := func(want string) {
		t.Helper()
		said := make([]byte, 100)
		if err := systemd.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := systemd.Read(said); err != nil || string(said[:n]) != want {
			t.Fatalf("systemd is told %q (%v), want %q", said[:n], err, want)
		}
	}
	told("READY=1")
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatalf("it says that it is ready, and is not: %v", err)
	}
	conn.Close()
	if err := plugin.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told("STOPPING=1")
	if err := plugin.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}
