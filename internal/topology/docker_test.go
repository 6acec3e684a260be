package topology

import (
	"strings"
	"testing"
)

func TestDockerNames(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for name, short := range map[string]string{
		id: "0123456789ab", "": "", "LS-A": "LS-A", id[1:]: id[1:], id + "0": id + "0",
		strings.ToUpper(id): strings.ToUpper(id), "x" + id[1:]: "x" + id[1:], id[:31] + "/" + id[32:]: id[:31] + "/" + id[32:],
	} {
		if got := ShortDockerID(name); got != short {
			t.Errorf("ShortDockerID(%q) = %q, want %q", name, got, short)
		}
		if IsDockerID(name) != (name == id) {
			t.Errorf("IsDockerID(%q) = %v", name, !(name == id))
		}
	}
	for name, starts := range map[string]bool{id: false, id[:63]: true, id[:12]: true, id[:11]: false, "": false, "LS-A-is-a-name": false, strings.ToUpper(id[:12]): false} {
		if StartsDockerID(name) != starts {
			t.Errorf("StartsDockerID(%q) = %v", name, !starts)
		}
	}
	text := "switch port " + id + "/to_" + id + ", no x" + id
	if got, want := ShortDockerIDs(text), "switch port 0123456789ab/to_0123456789ab, no x"+id; got != want {
		t.Errorf("ShortDockerIDs(%q) = %q, want %q", text, got, want)
	}
	for owner, network := range map[string]string{
		"cnm:" + id + "/" + id + "/eth": id, "cnm:n/e/eth": "n", "cnm:n": "", "cni:k8s/1/eth0": "", "": "", "cnm:/e/eth": "",
	} {
		if got := (SwitchPort{Owner: owner}).DockerNetwork(); got != network {
			t.Errorf("owner %q is of network %q, want %q", owner, got, network)
		}
	}
}
