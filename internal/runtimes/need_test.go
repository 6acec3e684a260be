package runtimes

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// packages are Debian's that the tests want beside those of the lab, by a
// program that they have.
var packages = map[string]string{
	"busybox":                   "busybox-static",
	"podman":                    "podman",
	"runc":                      "runc",
	"containerd":                "containerd",
	unpacked("docker", dockerd): "docker.io",
	unpacked("docker", docker):  "docker.io",
	etcdV2:                      "etcd-server",
	"iptables":                  "iptables",
	"/usr/lib/cni/loopback":     "containernetworking-plugins",
	"/usr/lib/cni/portmap":      "containernetworking-plugins",
}

// need skips a test for which a program is missing here. In CI, which sets the
// variable CI, nothing is skipped.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		missing := t.Skipf
		if os.Getenv("CI") != "" {
			missing = t.Fatalf
		}
		missing("%s is missing: install the package %s, or all that the tests want with `make test-deps`", p, packages[p])
	}
}

// unpackedDir has packages that are not to be installed, each in a directory, see
// packaging/deps.sh.
var unpackedDir, _ = filepath.Abs("../../bin")

// unpacked returns the path of a program in a package that was unpacked, or else
// where it is if the package is installed.
func unpacked(dir, program string) string {
	path := filepath.Join(unpackedDir, dir, program)
	if _, err := os.Stat(path); err != nil {
		return program
	}
	return path
}

// binDir has tuplenet and cnitool.
var binDir string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make namespaces: run them as root (sudo make test)")
		return 1
	}
	var err error
	if binDir, err = os.MkdirTemp("", "tuplenet-runtimes-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(binDir)
	for _, program := range []string{"tuplenet", "github.com/containernetworking/cni/cnitool"} {
		build := exec.Command("go", "build", "-o", filepath.Join(binDir, filepath.Base(program)), program)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", program, err, out)
			return 1
		}
	}
	return m.Run()
}
