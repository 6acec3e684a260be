package lab

import (
	"bytes"
	"testing"
	"time"
)

func TestShellJoin(t *testing.T) {
	t.Parallel()
	got := shellJoin([]string{"ovs-ofctl", "add-flow", "br-int", "priority=1,actions=drop", "a b", "", "it's", "$(x)"})
	if want := `ovs-ofctl add-flow br-int priority=1,actions=drop 'a b' '' 'it'\''s' '$(x)'`; got != want {
		t.Errorf("shellJoin = %s, want %s", got, want)
	}
}

// TestTranscript shows that a command stands with its prompt, that blocks stay
// whole, and that a failing command's error is one line that has it all.
func TestTranscript(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	whole := &transcript{w: &out}
	first, endFirst := whole.block()
	second, endSecond := whole.block()
	on := place{name: "hv1", echo: first}
	if err := on.all(t.Context(), "true 1", "true 2"); err != nil {
		t.Fatal(err)
	}
	place{echo: second}.show([]string{"ip", "netns", "add", "x"})
	err := on.run(t.Context(), "sh", "-c", "echo one >&2; echo two >&2; exit 3")
	if want := "hv1# sh -c 'echo one >&2; echo two >&2; exit 3': exit status 3: one; two"; err == nil || err.Error() != want {
		t.Errorf("the error is %q, want %q", err, want)
	}
	endSecond()
	endFirst()
	want := "# ip netns add x\nhv1# true 1\nhv1# true 2\nhv1# sh -c 'echo one >&2; echo two >&2; exit 3'\n"
	if out.String() != want {
		t.Errorf("the transcript is\n%swant\n%s", out.String(), want)
	}
}

func TestPingSummary(t *testing.T) {
	t.Parallel()
	p := Pings{From: "a", To: "b"}
	if err := p.parse("4 packets transmitted, 3 received, +1 errors, 25% packet loss, time 402ms\nrtt min/avg/max/mdev = 0.627/1.049/1.721/0.480 ms\n"); err != nil {
		t.Fatal(err)
	}
	if p.Sent != 4 || p.Lost() != 1 || p.Min != 627*time.Microsecond || p.Max != 1721*time.Microsecond {
		t.Errorf("parsed %+v", p)
	}
	if err := p.parse("10 packets transmitted, 0 received, 100% packet loss, time 9ms\n\n"); err != nil || p.Received != 0 {
		t.Errorf("nothing received: %+v, %v", p, err)
	}
	if err := p.parse("ping: socket: Operation not permitted"); err == nil {
		t.Error("no summary is no error")
	}
}

func TestDevice(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, port := range []string{"lsp-alice", "fifteen-bytes-x", "sixteen-bytes-xy", "sixteen-bytes-xz", "eth0", "br-int"} {
		dev := device(port)
		if len(dev) > 15 || dev == "eth0" || dev == "br-int" {
			t.Errorf("the device of port %s is %q", port, dev)
		}
		if other, ok := seen[dev]; ok {
			t.Errorf("ports %s and %s have one device, %s", port, other, dev)
		}
		seen[dev] = port
	}
}
