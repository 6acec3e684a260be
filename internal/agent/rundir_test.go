package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHoldRunDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if held, err := HoldRunDir(dir); held != nil || err != nil {
		t.Errorf("no run directory: %v, %v", held, err)
	}
	running, err := TakeRunDir(t.Context(), dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := HoldRunDir(dir); err == nil || !strings.Contains(err.Error(), "stop it first") || strings.Contains(err.Error(), "kill 0") {
		t.Errorf("an agent runs: %v", err)
	}
	running.Release()

	pid := filepath.Join(dir, "tuplenet.pid")
	if err := os.WriteFile(pid, []byte("1\n"), 0o644); err != nil { // of one that was killed
		t.Fatal(err)
	}
	held, err := HoldRunDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := readPid(pid); got != 0 {
		t.Errorf("an agent that starts would signal pid %d", got)
	}
	held.Release()
}

func TestRemoveRunFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := RemoveRunFiles(dir); err != nil {
		t.Errorf("no run directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range []string{"untunnel.json", "tuplenet.pid", "mac_ip_bind.data"} {
		all = append(all, filepath.Join(dir, name))
		if err := os.WriteFile(all[len(all)-1], nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	foreign := filepath.Join(dir, "foreign")
	if err := os.WriteFile(foreign, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := RunFiles(dir); !slices.Equal(got, all) {
		t.Errorf("files %q, want %q", got, all)
	}
	if err := RemoveRunFiles(dir); err != nil {
		t.Fatal(err)
	}
	if got := RunFiles(dir); !slices.Equal(got, all[:1]) {
		t.Errorf("files %q are left, want %q, which restoring needs", got, all[:1])
	}
	for _, path := range []string{foreign, all[0]} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveRunFiles(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the empty run directory is still there: %v", err)
	}
}
