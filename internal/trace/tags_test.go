package trace

import (
	"encoding/hex"
	"path/filepath"
	"regexp"
	"testing"

	"golang.org/x/tools/txtar"

	"tuplenet/internal/packet"
)

// TestTags asks Open vSwitch what it does with frames that come by an interface
// with children: whose VLAN tags come off and go on, and that none comes through
// which the store does not know, however many tags Open vSwitch looks at.
func TestTags(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "dry", "children.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	n := NewNetwork(stored(t, section(archive, "topology")), nil)
	r := realityOf(t, n, "hv1")
	r.sync(t, n.bridge("hv1").engine.All())
	actions := regexp.MustCompile(`(?m)^Datapath actions: (.*)$`)
	for _, limit := range []string{"1", "2"} { // 1 is the default
		r.Vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit="+limit)
		for name, test := range map[string]struct {
			packet []string
			tags   []uint16 // the outer one last
			want   string   // actions
		}{
			"to a child":             {[]string{"node1", "icmp", "10.20.1.3"}, nil, `^push_vlan\(vid=3,pcp=0\),\d+$`},
			"from a child":           {[]string{"pod-c", "icmp", "10.20.1.1"}, []uint16{3}, `^pop_vlan,\d+$`},
			"to a sibling":           {[]string{"pod-a", "icmp", "10.20.2.2"}, []uint16{1}, `^pop_vlan,push_vlan\(vid=2,pcp=0\),\d+$`},
			"an answer to a child":   {[]string{"pod-c", "arp", "10.20.1.1"}, []uint16{3}, `^set\(eth.*\),set\(arp.*\),\d+$`},
			"a tag of nobody":        {[]string{"node1", "icmp", "10.20.1.2"}, []uint16{9}, `^drop$`},
			"one in another":         {[]string{"pod-c", "icmp", "10.20.1.1"}, []uint16{2, 3}, `^drop$`},
			"a tag without id":       {[]string{"node1", "icmp", "10.20.1.2"}, []uint16{0}, `^drop$`},
			"from a secured child":   {[]string{"pod-a", "icmp", "10.20.2.2", "src=10.20.2.9"}, []uint16{1}, `^drop$`},
			"another child's packet": {[]string{"pod-a", "icmp", "10.20.2.2"}, []uint16{2}, `^drop$`},
		} {
			_, frame, err := packetOf(t, n, test.packet)
			if err != nil {
				t.Fatal(name, err)
			}
			for _, tag := range test.tags {
				frame = packet.Tagged(frame, tag)
			}
			output := r.Appctl("ofproto/trace", "br-int", "in_port=1", hex.EncodeToString(frame))
			found := actions.FindStringSubmatch(output)
			if found == nil || !regexp.MustCompile(test.want).MatchString(found[1]) {
				t.Errorf("%s, with a limit of %s: want %s:\n%s", name, limit, test.want, output)
			}
		}
	}
}
