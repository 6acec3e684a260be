package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PidFile is the mark of the one agent of a run directory. The running agent
// holds a lock on it, so that a file that a dead one left is no obstacle.
type PidFile struct{ file *os.File }

// TakeRunDir makes this process the agent of a run directory, which it makes
// if need be. An agent that is running there is told to stop, and killed if it
// has not after patience; it leaves its flows, so that no packet notices.
func TakeRunDir(ctx context.Context, dir string, patience time.Duration) (*PidFile, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	path := filepath.Join(dir, "tuplenet.pid")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("pid file: %w", err)
	}
	signal, deadline := unix.SIGTERM, time.Now().Add(patience)
	for told := 0; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Now().After(deadline) {
			signal, told = unix.SIGKILL, 0
		}
		// The holder writes its pid just after it has the lock.
		if pid := readPid(path); pid > 0 && pid != told {
			if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
				f.Close()
				return nil, fmt.Errorf("stop the agent that runs in %s (pid %d): %w", dir, pid, err)
			}
			told = pid
		}
		if !pause(ctx, 20*time.Millisecond) {
			f.Close()
			return nil, ctx.Err()
		}
	}
	if err := errors.Join(f.Truncate(0), writePid(f)); err != nil {
		f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &PidFile{f}, nil
}

// Release gives the run directory back.
func (p *PidFile) Release() {
	p.file.Truncate(0) // a next agent must not signal whoever has our pid by then
	p.file.Close()
}

func writePid(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func readPid(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid == os.Getpid() {
		return 0
	}
	return pid
}
