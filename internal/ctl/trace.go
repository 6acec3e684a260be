package ctl

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// Flags of trace. The names with an underscore, and -j and -d, are the original's.
var (
	toFlag          = Flag{Name: "to", Value: "IP|PORT", Usage: "`IP|PORT` that the packet goes to: an address, or the switch port that has it; the MACs are found"}
	viaFlag         = Flag{Name: "via", Value: "ROUTER", Usage: "`ROUTER`, or its address, that the workload sends to, where its switch has several"}
	packetFlag      = Flag{Name: "packet", Aliases: []string{"d"}, Value: "HEX", Usage: "send this Ethernet frame, in hexadecimal (`HEX`), instead"}
	sourceFlag      = Flag{Name: "port", Aliases: []string{"j"}, Value: "PORT", Usage: "the `PORT`, in place of the argument"}
	srcMACFlag      = Flag{Name: "src-mac", Aliases: []string{"src_mac"}, Value: "MAC", Usage: "source `MAC`; without it the port's"}
	srcIPFlag       = Flag{Name: "src-ip", Aliases: []string{"src_ip"}, Value: "IP", Usage: "source `IP`; without it the port's"}
	dstMACFlag      = Flag{Name: "dst-mac", Aliases: []string{"dst_mac"}, Value: "MAC", Usage: "destination `MAC`; without it that of the machine in the switch, or of the switch's router"}
	dstIPFlag       = Flag{Name: "dst-ip", Aliases: []string{"dst_ip"}, Value: "IP", Usage: "`IP` that the packet goes to, as --to"}
	protoFlag       = Flag{Name: "proto", Value: "PROTOCOL", Usage: "`PROTOCOL`: icmp (an echo request, the default), icmp-reply, tcp (a SYN), udp, or arp (a request)"}
	sportFlag       = Flag{Name: "sport", Value: "N", Usage: "source port `N` of tcp or udp; 40000 without it"}
	dportFlag       = Flag{Name: "dport", Value: "N", Usage: "destination port `N` of tcp or udp; 80 or 53 without it"}
	ttlFlag         = Flag{Name: "ttl", Value: "N", Default: "64", Usage: "TTL `N`"}
	sizeFlag        = Flag{Name: "size", Value: "BYTES", Usage: "size of the IP packet in `BYTES`; it must not be fragmented"}
	dryFlag         = Flag{Name: "dry", Usage: "send nothing: compute the path from the store alone"}
	compareFlag     = Flag{Name: "compare", Usage: "do both, and say where they differ"}
	graphFlag       = Flag{Name: "graph", Usage: "draw the path, as --format graph does"}
	formatFlag      = Flag{Name: "format", Value: "FORMAT", Default: "text", Usage: "`FORMAT`: text, graph, dot (for Graphviz) or tuplenet (a line a stage, as the original prints)"}
	tablesFlag      = Flag{Name: "tables", Aliases: []string{"v"}, Usage: "show all tables that the packet came to, not only those that decided"}
	waitFlag        = Flag{Name: "wait", Aliases: []string{"wait_time"}, Value: "TIME", Default: "2s", Usage: "`TIME` to wait at most for the packet to come to its end, such as 500ms; a number alone is seconds"}
	allSwitchesFlag = Flag{Name: "all", Aliases: []string{"auto_detect"}, Value: "SWITCH", Many: true, Usage: "trace between all ports of `SWITCH` that are plugged in, and print a matrix; several are separated by commas"}
	parallelFlag    = Flag{Name: "parallel", Value: "N", Usage: "with --all, trace `N` packets at a time; without it BATCH_NUM of the environment, or 16"}

	traceFlags = []Flag{toFlag, viaFlag, protoFlag, sportFlag, dportFlag, ttlFlag, sizeFlag, srcMACFlag, srcIPFlag, dstMACFlag, dstIPFlag, packetFlag, sourceFlag,
		allSwitchesFlag, parallelFlag, dryFlag, compareFlag, tablesFlag, graphFlag, formatFlag, waitFlag}
)

func traceCommands() []Command {
	return []Command{{
		Object: "trace", Args: []string{"[PORT]"}, Flags: traceFlags, reads: true, steps: true,
		Usage: "follow a packet from a switch port to its end",
		Notes: "Has the agent of PORT's chassis send a marked packet as if the workload had sent it, and shows its way as the agents tell it: a line for each switch and router that it came through, with chassis, " +
			"ports, the table that decided and the object whose flow that was; what was done to it; and where it ended, or why it was dropped there. The packet is a real one: it is delivered. " +
			"PORT may be the first 12 digits, or more, of the id that Docker gave it; it is shown so, but in JSON and by --format tuplenet.\n" +
			"--dry computes the way from the store, without any agent, and shows all ways if there are several. --compare does both: where they differ, a node's flows are not what the store wants.\n" +
			"--all sends an ICMP echo reply, which no workload answers, from each port to each other; where NAT is on the way, an echo request.\n" +
			"The exit status is 0 if the packet arrived: at a workload, in the physical network, or at a router that answered it.",
		Example: "tpctl trace lsp-alice --to lsp-bob",
		run:     runTrace,
	}}
}

// traceOptions are what the flags of trace say.
type traceOptions struct {
	probe    trace.Probe
	frame    []byte // of --packet; nil: the probe's
	damage   string // of that frame: why it will not be received
	dry      bool
	compare  bool
	format   string
	tables   bool
	patience time.Duration
	atOnce   int // packets
}

// runTrace follows one packet, or one between each two ports.
func runTrace(s *session, args []string) error {
	opts, err := s.traceOptions(args)
	if err != nil {
		return err
	}
	t, err := s.newTracing(opts)
	if err != nil {
		return err
	}
	if switches := s.Flags[allSwitchesFlag.Name]; switches != "" {
		return t.matrix(strings.Split(switches, ","))
	}
	return t.one()
}

// traceOptions reads the flags, and says what contradicts itself.
func (s *session) traceOptions(args []string) (o traceOptions, err error) {
	port := optional(args, 0)
	all := s.Flags[allSwitchesFlag.Name] != ""
	switch given := s.Flags[sourceFlag.Name]; {
	case given != "" && port != "" && given != port:
		return o, fmt.Errorf("tpctl trace: two ports, %s and %s: name one", port, given)
	case port == "":
		port = given
	}
	if all && port != "" {
		return o, fmt.Errorf("tpctl trace: --all traces from every port, and takes several switches with commas between them: --all %s,%s", s.Flags[allSwitchesFlag.Name], port)
	}
	if port == "" && !all {
		return o, errors.New("tpctl trace: require PORT, or --all SWITCH instead")
	}
	o.dry, o.compare, o.tables = s.set(dryFlag), s.set(compareFlag), s.set(tablesFlag)
	if err := o.readFormat(s); err != nil {
		return o, err
	}
	if err := s.useless(); err != nil {
		return o, err
	}
	if o.patience, err = waitTime(s.Flags[waitFlag.Name]); err != nil {
		return o, err
	}
	if o.atOnce, err = atOnce(s.Env); err != nil {
		return o, err
	}
	o.probe.Port = port
	if s.Flags[packetFlag.Name] != "" {
		err = o.readPacket(s)
	} else {
		err = o.readProbe(s)
	}
	return o, err
}

// formats are those that a path can be printed in.
var formats = []string{"text", "graph", "dot", "tuplenet"}

func (o *traceOptions) readFormat(s *session) error {
	o.format = s.Flags[formatFlag.Name]
	if s.set(graphFlag) {
		o.format = "graph"
	}
	if !slices.Contains(formats, o.format) {
		return fmt.Errorf("invalid --format %q, want %s", o.format, strings.Join(formats, ", "))
	}
	return nil
}

// useless says which flag would say nothing beside the others.
func (s *session) useless() error {
	given := func(f Flag) bool { return s.Flags[f.Name] != "" && s.Flags[f.Name] != f.Default }
	proto := trace.Proto(s.Flags[protoFlag.Name])
	for _, rule := range []struct {
		applies bool
		because string
		flags   []Flag
	}{
		{given(compareFlag), "--compare traces live and dry", []Flag{dryFlag}},
		{given(compareFlag), "--compare tells in words what differs", []Flag{graphFlag, formatFlag}},
		{given(dryFlag), "--dry sends nothing", []Flag{waitFlag}},
		{given(graphFlag), "--graph is a format", []Flag{formatFlag}},
		{given(graphFlag) || given(formatFlag), "--tables is for text", []Flag{tablesFlag}},
		{s.JSON, "--json tells everything", []Flag{graphFlag, formatFlag}},
		{given(packetFlag), "--packet is a whole packet", []Flag{toFlag, dstIPFlag, dstMACFlag, srcIPFlag, srcMACFlag, viaFlag, protoFlag, ttlFlag, sizeFlag, sportFlag, dportFlag}},
		{given(allSwitchesFlag), "--all sends from every port to every other", []Flag{toFlag, dstIPFlag, dstMACFlag, srcIPFlag, srcMACFlag}},
		{given(allSwitchesFlag), "--all sends packets of its own and prints a matrix", []Flag{packetFlag, graphFlag, formatFlag}},
		{given(allSwitchesFlag) && !s.JSON, "--all prints a matrix", []Flag{tablesFlag}},
		{!given(allSwitchesFlag), "without --all there is one packet", []Flag{parallelFlag}},
		{proto != trace.TCP && proto != trace.UDP, "only --proto tcp and --proto udp have ports", []Flag{sportFlag, dportFlag}},
		{proto == trace.ARP, "an ARP request asks the switch, and has neither TTL nor size", []Flag{viaFlag, ttlFlag, sizeFlag}},
		{given(dstMACFlag), "--dst-mac says who gets the packet", []Flag{viaFlag}},
	} {
		for _, f := range rule.flags {
			if rule.applies && given(f) {
				return fmt.Errorf("%s: leave out --%s", rule.because, f.Name)
			}
		}
	}
	return nil
}

// readPacket reads a packet that is given as it is.
func (o *traceOptions) readPacket(s *session) (err error) {
	if o.frame, err = hex.DecodeString(strings.Join(strings.Fields(s.Flags[packetFlag.Name]), "")); err != nil {
		return fmt.Errorf("invalid --packet: want an Ethernet frame in hexadecimal: %w", err)
	}
	if _, o.damage, err = trace.Inspect(o.frame); err != nil {
		return fmt.Errorf("invalid --packet: %w", err)
	}
	return nil
}

// readProbe reads what the packet is to be like.
func (o *traceOptions) readProbe(s *session) error {
	p := &o.probe
	for _, f := range []struct {
		flag Flag
		addr *netip.Addr
	}{{toFlag, &p.IPDst}, {dstIPFlag, &p.IPDst}, {srcIPFlag, &p.IPSrc}} {
		text := s.Flags[f.flag.Name]
		if text == "" {
			continue
		}
		ip, err := topology.ParseAddr(text)
		if err != nil && f.flag.Name == toFlag.Name {
			p.To = text
			continue
		}
		if err != nil {
			return fmt.Errorf("--%s: %w", f.flag.Name, err)
		}
		if f.addr.IsValid() && *f.addr != ip {
			return fmt.Errorf("--to and --dst-ip are one thing: leave out one of %s and %s", *f.addr, ip)
		}
		*f.addr = ip
	}
	if p.To != "" && p.IPDst.IsValid() {
		return fmt.Errorf("--to and --dst-ip are one thing: leave out one of %s and %s", p.To, p.IPDst)
	}
	for _, f := range []struct {
		flag Flag
		mac  *topology.MAC
	}{{srcMACFlag, &p.EthSrc}, {dstMACFlag, &p.EthDst}} {
		if text := s.Flags[f.flag.Name]; text != "" {
			mac, err := topology.ParseMAC(text)
			if err != nil {
				return fmt.Errorf("--%s: %w", f.flag.Name, err)
			}
			*f.mac = mac
		}
	}
	p.Proto, p.Via = trace.Proto(s.Flags[protoFlag.Name]), s.Flags[viaFlag.Name]
	for _, f := range []struct {
		flag  Flag
		least uint64
		most  uint64
		set   func(uint64)
	}{
		{sportFlag, 1, 65535, func(n uint64) { p.SrcPort = uint16(n) }},
		{dportFlag, 1, 65535, func(n uint64) { p.DstPort = uint16(n) }},
		{ttlFlag, 1, 255, func(n uint64) { p.TTL = uint8(n) }},
		{sizeFlag, 1, trace.MaxSize, func(n uint64) { p.Size = int(n) }},
	} {
		if text := s.Flags[f.flag.Name]; text != "" {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n < f.least || n > f.most {
				return fmt.Errorf("invalid --%s %q, want a number from %d to %d", f.flag.Name, text, f.least, f.most)
			}
			f.set(n)
		}
	}
	return nil
}

// waitTime reads a time; the original's was a number of seconds.
func waitTime(text string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		text = strconv.FormatFloat(n, 'f', -1, 64) + "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("invalid --wait %q, want a time above 0 such as 2s", text)
	}
	return d, nil
}

// maxAtOnce keeps well below the packets that can wait for one agent.
const maxAtOnce = 128

// atOnce returns how many packets are traced at a time.
func atOnce(env Env) (int, error) {
	name, text := "--"+parallelFlag.Name, env.Flags[parallelFlag.Name]
	if text == "" {
		name, text = "BATCH_NUM", cmp.Or(os.Getenv("BATCH_NUM"), "16")
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxAtOnce {
		return 0, fmt.Errorf("invalid %s %q, want a number from 1 to %d", name, text, maxAtOnce)
	}
	return n, nil
}

// traced is what is told of one packet; in JSON all of it.
type traced struct {
	From   string `json:"from"`         // port
	To     string `json:"to,omitempty"` // port, if one was named or all are traced
	Packet string `json:"packet"`
	Note   string `json:"note,omitempty"`
	Way    string `json:"way,omitempty"` // which of several; they are from a dry trace
	Dry    bool   `json:"dry,omitempty"`
	trace.Path
	Compared *compared `json:"compared,omitempty"`

	frame   []byte
	records []trace.Record
}

// compared is what a comparison gave.
type compared struct {
	Agree      bool              `json:"agree"`
	Difference *trace.Difference `json:"difference,omitempty"`
	ought      trace.Path        // a way that the packet ought to take
}

// ok reports whether the packet arrived, and by the way that it ought to take.
func (r traced) ok() bool {
	return r.End.OK() && (r.Compared == nil || r.Compared.Agree)
}

// one traces one packet, and prints what became of it.
func (t *tracing) one() error {
	r, err := t.packet(t.probe)
	if err != nil {
		return err
	}
	defer t.end()
	results := []traced{r}
	if t.dry {
		results, err = t.computed(r)
	} else {
		results[0], err = t.sent(r)
	}
	if err != nil {
		return err
	}
	fine := true
	for i, r := range results {
		if len(results) > 1 {
			r.Way = fmt.Sprintf("%d of %d", i+1, len(results))
		}
		if err := t.print(r); err != nil {
			return fmt.Errorf("print the path: %w", err)
		}
		fine = fine && r.ok()
	}
	if !fine {
		return ErrTold
	}
	return nil
}

// print prints a path in the format that was asked for.
func (t *tracing) print(r traced) error {
	if t.JSON {
		if !t.tables {
			r.Hops = slices.Clone(r.Hops)
			for i := range r.Hops {
				r.Hops[i].Visits = nil
			}
		}
		return WriteJSON(t.Out, r)
	}
	switch t.format {
	case "tuplenet":
		return trace.WriteOriginal(t.Out, r.records, t.model)
	case "dot":
		return r.WriteDot(t.Out, r.From)
	}
	fmt.Fprintln(t.Out, r.title())
	if t.format == "graph" {
		return r.WriteGraph(t.Out, r.From, !unicodeLocale())
	}
	text := trace.TextOptions{Tables: t.tables, Cut: cut}
	if isTerminal(t.Out) {
		text.Width = t.width()
	}
	if err := r.WriteText(t.Out, text); err != nil || r.Compared == nil {
		return err
	}
	if r.Compared.Agree {
		_, err := fmt.Fprintln(t.Out, "that is the way that the store wants")
		return err
	}
	why := ""
	if d := r.Compared.Difference; !d.ToldBy(r.End) {
		why = " " + d.String()
	}
	fmt.Fprintf(t.Out, "that is not what the store wants.%s\nIt ought to be:\n", why)
	return r.Compared.ought.WriteText(t.Out, text)
}

// title says which packet the path is of.
func (r traced) title() string {
	title := r.From + ": " + r.Packet
	if r.Way != "" {
		title += ", way " + r.Way
	}
	if r.Note != "" {
		title += "\nnote: " + r.Note
	}
	return topology.ShortDockerIDs(title)
}
