//go:build packages

package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// machine is a host that runs nothing but the distribution and what is installed in
// it: with processes, devices and a network of its own. What it writes stays in
// memory, and ends with its process 1.
type machine struct {
	t    *testing.T
	name string
	pid  string // of process 1
}

// prepare makes a root file system of the one at $0, for a machine with the name $1,
// and goes there. Of what the host has in /proc/sys only the network's is its own.
const prepare = `
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir="$0",upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty net/tun; do
	mkdir -p dev/net; touch dev/$d; mount --bind /dev/$d dev/$d
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
echo "$1" | tee etc/hostname >etc/openvswitch/system-id.conf
`

// boot goes on from prepare and becomes process 1. Its control group is the one that it
// was started in. What has nothing to do here is let off.
const boot = prepare + `
hostname "$1"
mount -t cgroup2 cgroup2 sys/fs/cgroup
for unit in getty.target systemd-logind.service systemd-sysctl.service apt-daily.timer apt-daily-upgrade.timer; do
	ln -sf /dev/null etc/systemd/system/$unit
done
mkdir old
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=tuplenet /lib/systemd/systemd --log-target=journal --show-status=0
`

// start boots a machine.
func start(t *testing.T, name string) *machine {
	t.Helper()
	group := controlGroup(t, name)
	// A namespace of control groups begins where its first process is.
	cmd := exec.Command("sh", "-c", `echo $$ >"$1/cgroup.procs" && shift && exec "$@"`, "sh", group,
		"unshare", "--cgroup", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
		"sh", "-ec", boot, *rootDir, name)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	m := &machine{t: t, name: name}
	within(t, 30*time.Second, func() error {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
		if m.pid = strings.TrimSpace(string(children)); m.pid == "" {
			return fmt.Errorf("%s has no process 1: %w\n%s", name, err, out.String())
		}
		if state, err := m.command("systemctl", "is-system-running").CombinedOutput(); strings.TrimSpace(string(state)) != "running" {
			return fmt.Errorf("%s is %s: %w\n%s", name, state, err, out.String())
		}
		return nil
	})
	t.Cleanup(func() {
		if t.Failed() {
			log, err := m.command("journalctl", "--no-pager", "-o", "cat", "-n", "200").CombinedOutput()
			t.Logf("%s's log, %v:\n%s", name, err, log)
		}
	})
	return m
}

// controlGroup makes a control group, of version 2, which every kernel has that
// systemd runs on.
func controlGroup(t *testing.T, name string) string {
	top := t.TempDir()
	must(t, exec.Command("mount", "-t", "cgroup2", "cgroup2", top))
	t.Cleanup(func() { must(t, exec.Command("umount", top)) })
	group := filepath.Join(top, fmt.Sprintf("tuplenet-packages-%d-%s", os.Getpid(), name))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		within(t, 10*time.Second, func() error { // its processes are going
			out, err := exec.Command("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";").CombinedOutput()
			if _, gone := os.Stat(group); os.IsNotExist(gone) {
				return nil
			}
			return fmt.Errorf("remove control group %s: %w\n%s", group, err, out)
		})
	})
	return group
}

// command returns a command of the machine.
func (m *machine) command(program string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", m.pid, "--all", "--root", "--wd", "--",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", program}, args...)...)
}

// run runs a script in the machine, which has to succeed, and returns what it prints.
func (m *machine) run(script string, args ...any) string {
	m.t.Helper()
	return must(m.t, m.command("sh", "-ec", fmt.Sprintf(script, args...)))
}

// write writes a file of the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	cmd := m.command("tee", path)
	cmd.Stdin = strings.NewReader(text)
	must(m.t, cmd)
}

// install installs a package of this machine's with dpkg, or upgrades to it.
func (m *machine) install(deb string) string {
	m.t.Helper()
	file, err := os.Open(deb)
	if err != nil {
		m.t.Fatal(err)
	}
	defer file.Close()
	cmd := m.command("sh", "-ec", "cat >/tmp/tuplenet.deb; dpkg -i /tmp/tuplenet.deb </dev/null; rm /tmp/tuplenet.deb")
	cmd.Stdin = file
	return must(m.t, cmd)
}

// isActive reports whether a unit is active.
func (m *machine) isActive(unit string) bool {
	return m.command("systemctl", "is-active", "--quiet", unit).Run() == nil
}

// property returns a property of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	return strings.TrimSpace(m.run("systemctl show --value -p %s %s", name, unit))
}

// must runs a command that has to succeed, and returns what it prints.
func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out, complaints bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out.String(), complaints.String())
	}
	return out.String() + complaints.String()
}

// within polls until f succeeds.
func within(t *testing.T, patience time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
