package runtimes

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// machine is a host of a lab as a container runtime wants one: with a file
// system, mounts and processes of its own, in the network namespace of the host.
// Its files are those of the machine that the tests run on, and what is written
// stays in memory. It ends with its process 1, and everything with it.
type machine struct {
	t      *testing.T
	name   string
	host   string // name in the lab
	net    string // file of the host's network namespace
	runDir string // of the host's agent
	init   *exec.Cmd
}

// boot is what process 1 of a machine does; its arguments are binDir, runDir,
// which is where an agent's run directory is by default, and the directory of what
// is unpacked for the tests and not installed. Control groups have no
// namespace here, so those of the containers are made under cgroup, and shutDown
// removes them.
const boot = `
mount --make-rslave /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir run/tuplenet run/netns
mount --bind $1 run/tuplenet
cp $0/tuplenet $0/cnitool usr/bin
for program in usr/bin/docker usr/sbin/dockerd; do
	[ ! -e $2/docker/$program ] || { touch $program; mount --bind $2/docker/$program $program; }
done
mount -t tmpfs tmpfs tmp
pivot_root . mnt
umount -l /mnt

ln -sf tuplenet /usr/bin/tpcni
rm -rf /opt/cni /etc/cni
mkdir -p /opt/cni/bin /etc/cni/net.d
ln -s /usr/lib/cni/* /opt/cni/bin
ln -s /usr/bin/tpcni /opt/cni/bin/tpcni
echo booted
while :; do sleep 1000 & wait; done
`

// newMachine boots a machine on a host.
func newMachine(t *testing.T, l *lab.Lab, host string) *machine {
	t.Helper()
	name := l.Name + "-" + host
	m := &machine{t: t, name: name, host: host, net: "/run/netns/" + name, runDir: filepath.Join(l.Dir, host)}
	m.boot()
	t.Cleanup(m.shutDown)
	return m
}

func (m *machine) boot() {
	m.t.Helper()
	m.init = exec.Command("nsenter", "--net="+m.net, "sh", "-ec", boot, binDir, m.runDir, unpackedDir)
	m.init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS, Setsid: true}
	var complaint bytes.Buffer
	m.init.Stderr = &complaint
	out, err := m.init.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.init.Start(); err != nil {
		m.t.Fatalf("boot %s: %v", m.name, err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "booted\n" {
		m.shutDown()
		m.t.Fatalf("%s does not boot: %s%s", m.name, line, complaint.String())
	}
}

// shutDown ends all processes of the machine at once, as a power cut does, and
// with them its mounts and the network namespaces of its containers.
func (m *machine) shutDown() {
	m.t.Helper()
	m.init.Process.Kill()
	m.init.Wait()
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + m.cgroup())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, group := range append(groups, "/sys/fs/cgroup/"+m.cgroup()) {
		if err := removeGroup(group); err != nil {
			m.t.Errorf("%s: %v", m.name, err)
		}
	}
}

// cgroup is the name of the control group that the machine's containers are in.
func (m *machine) cgroup() string { return m.name }

// removeGroup removes a control group with those below it, if it is there.
func removeGroup(dir string) error {
	var groups []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, group := range slices.Backward(groups) {
		err := os.Remove(group)
		// The kernel takes a moment to let go of what has just ended.
		for deadline := time.Now().Add(patience); errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline); err = os.Remove(group) {
			time.Sleep(10 * time.Millisecond)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// path returns where a file of the machine is found from outside.
func (m *machine) path(file string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.init.Process.Pid, file)
}

// command prepares a command on the machine.
func (m *machine) command(ctx context.Context, argv ...string) *exec.Cmd {
	args := append([]string{"--target", fmt.Sprint(m.init.Process.Pid), "--mount", "--pid", "--ipc", "--uts", "--net", "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = os.Environ()
	cmd.WaitDelay = time.Second
	return cmd
}

// try runs a command on the machine and returns what it prints. Its error holds
// what it complained of.
func (m *machine) try(argv ...string) (string, error) {
	return m.tryWith(nil, argv...)
}

// tryWith is try with further environment.
func (m *machine) tryWith(env []string, argv ...string) (string, error) {
	cmd := m.command(m.t.Context(), argv...)
	cmd.Env = append(cmd.Env, env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s# %s: %w: %s", m.name, strings.Join(argv, " "), err, strings.TrimSpace(stderr.String()+string(out)))
	}
	return string(out), err
}

// run is try for what has to succeed.
func (m *machine) run(argv ...string) string {
	m.t.Helper()
	out, err := m.try(argv...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// write writes a file on the machine.
func (m *machine) write(file, content string) {
	m.t.Helper()
	m.run("mkdir", "-p", filepath.Dir(file))
	if err := os.WriteFile(m.path(file), []byte(content), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

// netns makes a network namespace, as a runtime does before it calls a plugin,
// and returns its file.
func (m *machine) netns(name string) string {
	m.t.Helper()
	m.run("ip", "netns", "add", name)
	return "/run/netns/" + name
}

// inside runs a command in a network namespace that netns has made.
func (m *machine) inside(name string, argv ...string) string {
	m.t.Helper()
	return m.run(append([]string{"ip", "netns", "exec", name}, argv...)...)
}
