package lab

import (
	"regexp"
	"strconv"
	"strings"

	"tuplenet/flows"
)

// trace is what ofproto/trace printed of a packet's way through br-int, see
// ovs-vswitchd(8).
type trace struct {
	steps  []step
	final  string  // the packet as it left: "icmp,reg5=0x7000a,..."; "unchanged"
	tunnel *tunnel // if it left by one
	out    string  // the interface that it left by otherwise, or empty
	asked  bool    // it waits for the agent, in contrast to one that was dropped and that the agent tells the sender of
}

// step is a table that the packet was looked up in.
type step struct {
	table    uint8
	datapath uint64 // metadata when it entered
}

// tunnel is what the receiving chassis sees of the encapsulation.
type tunnel struct {
	dst    string
	vni    uint64
	option string // the 8 bytes of TupleNet's option, in hexadecimal
}

var (
	traceBridge   = regexp.MustCompile(`^bridge\("(.*)"\)`)
	traceTable    = regexp.MustCompile(`^ ?(\d+)\. `)
	traceMetadata = regexp.MustCompile(`(?:(?:load|set_field):(0x[0-9a-f]+|\d+)(?:/0x[0-9a-f]+)?->(?:OXM_OF_METADATA|metadata)|OXM_OF_METADATA\[[^]]*\] is now (0x[0-9a-f]+|\d+))`)

	// The userspace datapath prints the header that it pushes, the kernel's
	// what it tells the kernel to push.
	tunnelHeader = regexp.MustCompile(`ipv4\(src=[\d.]+,dst=([\d.]+),proto=17.*geneve\([^)]*vni=(0x[0-9a-f]+|\d+)`)
	tunnelSet    = regexp.MustCompile(`set\(tunnel\(tun_id=(0x[0-9a-f]+|\d+),(?:src=[\d.]+,)?dst=([\d.]+)`)
	tunnelOption = regexp.MustCompile(`class=0xffee,type=(?:0x)?0,len=8,(0x[0-9a-f]+|\d+)`)
)

// actionIndent is how far at most lines are indented that tell of the packet
// itself: an action, and what came of it. Those beyond tell of what it might have
// been, such as larger (check_pkt_larger).
const actionIndent = "     "

// parseTrace reads the output of ofproto/trace --names. A packet that comes back
// from connection tracking goes on in a further part of it.
func parseTrace(out string) *trace {
	t := &trace{}
	inside, datapath := false, uint64(0)
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, actionIndent+" ") {
			continue
		}
		if m := traceBridge.FindStringSubmatch(line); m != nil {
			inside = m[1] == "br-int"
		} else if v, ok := strings.CutPrefix(line, "Final flow: "); ok {
			t.final = v
		} else if v, ok := strings.CutPrefix(line, "Datapath actions: "); ok {
			t.leave(v)
		} else if m := traceTable.FindStringSubmatch(line); m != nil && inside {
			if n, err := strconv.ParseUint(m[1], 10, 8); err == nil {
				t.steps = append(t.steps, step{uint8(n), datapath})
			}
		} else if m := traceMetadata.FindStringSubmatch(line); m != nil && inside {
			datapath = number(m[1] + m[2]) // one of them is empty
		}
	}
	return t
}

// leave reads from the datapath's actions where the packet goes.
func (t *trace) leave(actions string) {
	if m := tunnelHeader.FindStringSubmatch(actions); m != nil {
		t.tunnel = &tunnel{dst: m[1], vni: number(m[2])}
	} else if m := tunnelSet.FindStringSubmatch(actions); m != nil {
		t.tunnel = &tunnel{dst: m[2], vni: number(m[1])}
	}
	if t.tunnel != nil {
		t.tunnel.option = "0x0"
		if m := tunnelOption.FindStringSubmatch(actions); m != nil {
			t.tunnel.option = m[1]
		}
		return
	}
	last := actions[strings.LastIndexByte(actions, ',')+1:]
	if last != "drop" && !strings.ContainsAny(last, "()") {
		t.out = last
	}
	dropped := len(t.steps) > 0 && flows.Table(t.steps[len(t.steps)-1].table) == flows.TableDrop
	t.asked = t.out == "" && !dropped && strings.Contains(actions, "controller(")
}

// headers are the fields of a packet that change on its way and cross a tunnel.
// Its ICMP type is none: where a connection's source port is translated,
// ofproto/trace writes the new one over the type, 1024 for instance, which it
// does not take back. No real translation does so.
var headers = regexp.MustCompile(`(?:^|,)((?:dl_src|dl_dst|nw_src|nw_dst|nw_ttl)=[^,]+)`)

// icmpEcho is the ICMP type and code of a ping.
const icmpEcho = "icmp_type=8,icmp_code=0"

// received describes the packet, a ping that was sent as given, as it comes out of
// the tunnel at the other end.
func (t *trace) received(sent string) string {
	packet := t.final
	if packet == "unchanged" {
		packet = sent
	}
	fields := []string{"in_port=LOCAL", "tun_dst=" + t.tunnel.dst, "tun_id=" + strconv.FormatUint(t.tunnel.vni, 10), "tun_metadata0=" + t.tunnel.option, "icmp"}
	for _, m := range headers.FindAllStringSubmatch(packet, -1) {
		fields = append(fields, m[1])
	}
	return strings.Join(append(fields, icmpEcho), ",")
}

// number reads a number as Open vSwitch prints it. What the expressions above
// let through is one, or too large to be an id of ours.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 0, 64)
	return n
}
