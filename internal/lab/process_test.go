package lab

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const tail = " S 1 77 77 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 1 0 298613 8 9"
	for name, c := range map[string]struct {
		stat  string
		state byte
		start uint64
		bad   bool
	}{
		"plain":                     {"77 (ovs-vswitchd)" + tail, 'S', 298613, false},
		"blanks and parentheses":    {"77 (a ) Z (b) 1 2)" + tail, 'S', 298613, false},
		"newline in the name":       {"77 (a\n)" + tail, 'S', 298613, false},
		"cut off":                   {"77 (a) S 1 2 3", 0, 0, true},
		"empty":                     {"", 0, 0, true},
		"start time that is no one": {"77 (a) S 1 77 77 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 1 0 x 8 9", 'S', 0, true},
	} {
		state, start, err := parseStat(c.stat)
		if (err != nil) != c.bad || !c.bad && (state != c.state || start != c.start) {
			t.Errorf("%s: parseStat = %c, %d, %v", name, state, start, err)
		}
	}
}

// TestProcessIdentity shows that a signal reaches the recorded process and no
// other one, and that a process that has ended is not taken for alive, though
// its parent has not looked yet.
func TestProcessIdentity(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	p, ok := findProcess(cmd.Process.Pid)
	if !ok {
		t.Fatal("the process is not found")
	}
	file := filepath.Join(t.TempDir(), "p")
	if err := p.save(file); err != nil {
		t.Fatal(err)
	}
	if got, ok := loadProcess(file); !ok || got != p {
		t.Fatalf("loadProcess = %v, %v, want %v", got, ok, p)
	}

	predecessor := process{p.pid, p.start - 1}
	if predecessor.alive() {
		t.Error("a process with another start time counts as the same")
	}
	if err := predecessor.signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if !p.alive() {
		t.Fatal("the signal hit a successor")
	}

	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for p.alive() { // a zombie from now on, until Wait
		if err := pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := loadProcess(file); ok {
		t.Error("a process that ended counts as running")
	}
	cmd.Wait()
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Errorf("a signal to what has ended: %v", err)
	}
}
