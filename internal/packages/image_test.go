//go:build packages

package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// inImage runs a script in a root file system where nothing runs, as when an image is
// built: without systemd, Open vSwitch or a network, and with a policy that nothing be
// started. The packages are outside of it, under $1 and $2, and it is mounted at $0.
func inImage(t *testing.T, format, script string) string {
	t.Helper()
	return must(t, exec.Command("unshare", "--mount", "--pid", "--net", "--uts", "--fork", "--kill-child",
		"sh", "-ec", prepare+`
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod +x usr/sbin/policy-rc.d
exec sh -ec "$4" /mnt/root "$2" "$3"`,
		*rootDir, "image", pkg(t, *distDir, format), pkg(t, *newerDir, format), script))
}

// TestDebInImage installs, upgrades, removes and purges the deb where nothing runs, and
// looks for what is left.
func TestDebInImage(t *testing.T) {
	t.Parallel()
	out := inImage(t, "deb", `
cp "$1" "$0/tmp/old.deb"
cp "$2" "$0/tmp/new.deb"
chroot "$0" sh -ec '
	export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
	touch /tmp/before
	dpkg -i /tmp/old.deb
	for program in tuplenet tpctl; do $program --version; done
	tuplenet agent --check
	test -d /run/tuplenet
	echo "log_level: debug" >>/etc/tuplenet/agent.yaml
	dpkg -i /tmp/new.deb </dev/null
	grep -x "log_level: debug" /etc/tuplenet/agent.yaml
	dpkg -r tuplenet
	test -e /etc/tuplenet/agent.yaml
	test ! -e /usr/bin/tpctl
	dpkg -P tuplenet
	left=$(find / -xdev -path /proc -prune -o -newer /tmp/before -name "*tuplenet*" -print)
	test -z "$left" || { echo "left behind: $left"; exit 1; }
' 2>&1`)
	if strings.Contains(strings.ToLower(out), "error") || strings.Contains(out, "not found") {
		t.Errorf("what dpkg and the package's scripts say:\n%s", out)
	}
}

// TestRPMInImage does so with the rpm, as far as that is possible without the rest of
// its family of distributions: in a Debian, by the rpm of this machine.
func TestRPMInImage(t *testing.T) {
	t.Parallel()
	out := inImage(t, "rpm", `
rpm() { command rpm --root "$root" --nodeps "$@" 2>&1; }
root=$0
touch "$root/tmp/before"
rpm -i "$1"
chroot "$root" tuplenet agent --check
chroot "$root" tpctl --version
chroot "$root" sh -c 'test -d /run/tuplenet && test -s /usr/share/zsh/site-functions/_tuplenet'
echo 'log_level: debug' >>"$root/etc/tuplenet/agent.yaml"
rpm -U "$2"
grep -x 'log_level: debug' "$root/etc/tuplenet/agent.yaml"
rpm -V tuplenet | grep -v agent.yaml || true
rpm -e tuplenet
left=$(find "$root/usr" "$root/etc/systemd" -newer "$root/tmp/before" -name '*tuplenet*')
test -z "$left" || { echo "left behind: $left"; exit 1; }
test -e "$root/etc/tuplenet/agent.yaml.rpmsave"
`)
	if strings.Contains(strings.ToLower(out), "error") || strings.Contains(out, "not found") {
		t.Errorf("what rpm and the package's scripts say:\n%s", out)
	}
}

// TestDependency finds Open vSwitch among what the packages need, in versions that can
// do what TupleNet asks of it.
func TestDependency(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]struct {
		ask  []string
		line string
	}{
		"deb": {[]string{"dpkg-deb", "-f", pkg(t, *distDir, "deb"), "Depends"}, "openvswitch-switch (>= 2.10)"},
		"rpm": {[]string{"rpm", "-q", "--requires", "-p", pkg(t, *distDir, "rpm")}, "openvswitch >= 2.10"},
	} {
		if got := must(t, exec.Command(want.ask[0], want.ask[1:]...)); !strings.Contains(got, want.line+"\n") {
			t.Errorf("the %s needs\n%swant %s", format, got, want.line)
		}
	}
}

// TestVersion makes versions of a history of commits and tags, and has dpkg and rpm
// sort them.
func TestVersion(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("../../packaging/version.sh")
	if err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	must(t, exec.Command("sh", "-ec", `mkdir "$1/packaging"; cp "$0" "$1/packaging"`, script, tree))
	unknown := must(t, exec.Command(filepath.Join(tree, "packaging/version.sh")))
	versions := []string{strings.TrimSpace(unknown)}
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@t.example"}, args...)...)
		cmd.Dir = tree
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
		must(t, cmd)
	}
	version := func(want string) {
		t.Helper()
		got := strings.TrimSpace(must(t, exec.Command(filepath.Join(tree, "packaging/version.sh"))))
		head := exec.Command("git", "-C", tree, "rev-parse", "--short=10", "HEAD")
		if want = strings.ReplaceAll(want, "COMMIT", "g"+strings.TrimSpace(must(t, head))); got != want {
			t.Errorf("version %s, want %s", got, want)
		}
		versions = append(versions, got)
	}
	commit := func() { t.Helper(); git("commit", "-q", "--allow-empty", "-m", "another") }

	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "one")
	version("0.3.99+1.COMMIT")
	for range 9 {
		commit()
	}
	version("0.3.99+10.COMMIT")
	git("tag", "v1.0.0-rc1")
	version("1.0.0~rc1")
	commit()
	version("1.0.0~rc1+1.COMMIT")
	git("tag", "v1.0.0")
	git("tag", "another-tag")
	version("1.0.0")
	for range 2 {
		commit()
	}
	version("1.0.0+2.COMMIT")
	for range 9 {
		commit()
	}
	version("1.0.0+11.COMMIT")
	git("tag", "v1.0.1")
	version("1.0.1")
	must(t, exec.Command("sh", "-c", `echo "# changed" >>"$0"`, filepath.Join(tree, "packaging/version.sh")))
	version("1.0.1+0.dirty")
	git("commit", "-q", "-a", "-m", "done")
	version("1.0.1+1.COMMIT")

	for i, older := range versions[:len(versions)-1] {
		newer := versions[i+1]
		if err := exec.Command("dpkg", "--compare-versions", older, "lt", newer).Run(); err != nil {
			t.Errorf("dpkg does not find %s older than %s: %v", older, newer, err)
		}
		if order := must(t, exec.Command("rpm", "--eval", "%{lua:print(rpm.vercmp('"+older+"', '"+newer+"'))}")); order != "-1\n" {
			t.Errorf("rpm does not find %s older than %s: %s", older, newer, order)
		}
	}
}
