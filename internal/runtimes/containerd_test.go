package runtimes

import (
	"os"
	"strings"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"tuplenet/internal/lab"
)

// TestContainerd runs pods on two hosts through the CRI, as kubelet does. They
// reach each other and the world outside, and notice nothing of a new agent and
// of a new containerd.
func TestContainerd(t *testing.T) {
	t.Parallel()
	need(t, "containerd", "runc")
	c := newCluster(t)
	tar := archive(t)
	alice, bob := newKubelet(c.machines[0], tar), newKubelet(c.machines[1], tar)

	here := alice.runPod("here", nil)
	there := bob.runPod("there", map[string]string{"tuplenet.io/ip": "10.20.1.77", "tuplenet.io/mac": "f2:01:00:00:00:77"})
	if there.address != "10.20.1.77" {
		t.Errorf("the annotation asks for 10.20.1.77, the pod has %s", there.address)
	}
	if out := there.exec("ip", "link", "show", "eth0"); !strings.Contains(out, "f2:01:00:00:00:77") {
		t.Errorf("the annotation asks for another MAC: %s", out)
	}
	reach := func() {
		t.Helper()
		here.ping(there.address)
		there.ping(here.address)
		there.ping("10.20.2.10")
		here.ping("172.16.1.10")
		if page := there.exec("timeout", "5", "wget", "-q", "-O", "-", "http://172.16.1.10/"); page != "hello from outside\n" {
			t.Errorf("the web server says %q", page)
		}
	}
	reach()

	for _, m := range c.machines {
		c.do(c.Restart(t.Context(), m.host, lab.Agent))
	}
	reach()
	c.do(c.WaitReady(t.Context()))
	alice.restart()
	bob.restart()
	reach()
	for _, p := range []*pod{here, there} {
		if s := p.status(); s.State != cri.PodSandboxState_SANDBOX_READY || s.Network.GetIp() != p.address {
			t.Errorf("after containerd's restart the pod is %s with %s, want it ready with %s", s.State, s.Network.GetIp(), p.address)
		}
	}

	// A pod that cannot have what it asks for, and that containerd therefore
	// takes back, leaves nothing.
	if _, err := alice.tryPod("taken", map[string]string{"tuplenet.io/ip": "10.20.1.77"}); err == nil || !strings.Contains(err.Error(), "10.20.1.77") {
		t.Errorf("two pods with one address: %v", err)
	}
	c.eventually(func() string { return unlike(c.containers(), here.sandbox, there.sandbox) })

	// Kubelet stops a pod, and removes it later. DEL comes for both, the second
	// time for a namespace that there is no more.
	there.stop()
	c.eventually(func() string { return unlike(c.containers(), here.sandbox) })
	there.remove()
	here.remove() // at once
	calls := bob.calls()
	if dels := lines(calls, "DEL eth0 "); len(dels) < 2 || !strings.HasSuffix(dels[len(dels)-1], " in nowhere") {
		t.Errorf("containerd was to call DEL twice, the second time without a namespace; it called:\n%s", calls)
	}
	c.nothingLeft()
}

// calls returns how the plugin was called, a line a call.
func (k *kubelet) calls() string {
	k.t.Helper()
	text, err := os.ReadFile(k.path("/var/log/noted"))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

// lines returns the lines of a text that begin with something.
func lines(text, prefix string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
