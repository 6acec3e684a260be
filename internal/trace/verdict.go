package trace

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Outcome is what became of a packet in the end.
type Outcome string

// The outcomes.
const (
	Delivered Outcome = "delivered" // to a workload
	Left      Outcome = "left"      // to the physical network, or to the host's own network stack
	Answered  Outcome = "answered"  // by a router; an ARP request by the network
	Dropped   Outcome = "dropped"
	Waiting   Outcome = "waiting" // at an agent
	Unsent    Outcome = "unsent"  // the agent did not send it
	Vanished  Outcome = "vanished"
)

// Reason says, for programs, why a packet did not arrive.
type Reason string

// The reasons.
const (
	NoDestination Reason = "no-destination" // nobody has the address or MAC
	NotBound      Reason = "not-bound"      // the port is plugged in nowhere, or not where it is said to be
	ChassisDown   Reason = "chassis-down"   // the destination's chassis is down, or not known
	NotThere      Reason = "no-flows"       // the destination is there, but the flows to it are not
	NoRoute       Reason = "no-route"       // of a router
	TTL           Reason = "ttl"            // is used up
	NoNAT         Reason = "nat"            // it could not be translated
	BFD           Reason = "bfd"            // finds no way
	TooLarge      Reason = "too-large"      // for a tunnel
	Hairpin       Reason = "hairpin"        // it would return to the port that it came from
	RouterGone    Reason = "router-gone"    // it lives nowhere, or is not joined as it should be
	NotRouted     Reason = "not-routed"     // multicast, no IPv4, or nothing that a router answers
	Spoofed       Reason = "port-security"  // a secured port sends under another MAC or address than its own, or with a VLAN tag
	WrongTag      Reason = "vlan-tag"       // it has one where none belongs, or none that is known
	NoChassis     Reason = "no-chassis"     // it came out of a tunnel, and from the address of no chassis that has a record
	AwaitsARP     Reason = "arp"            // a machine of the physical network has not told its MAC
	AwaitsAgent   Reason = "agent"          // which has to work on it
	FlowsDiffer   Reason = "flows-differ"   // Open vSwitch has other flows than the agent made
	ThirdParty    Reason = "third-party"    // it took a flow of somebody else's
	LostOnTheWay  Reason = "lost"           // nobody has seen where it went
	Loops         Reason = "loop"           // it goes round in circles
	BadChecksum   Reason = "bad-checksum"   // whoever receives it drops it
	NotTold       Reason = "not-told"       // an agent of the original TupleNet does not say why
)

// Verdict is what became of a packet, where, and why.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Reason  Reason  `json:"reason,omitempty"`
	Port    string  `json:"port,omitempty"` // that it arrived at
	Chassis string  `json:"chassis,omitempty"`
	Device  string  `json:"device,omitempty"`
	Table   string  `json:"table,omitempty"` // that decided against it
	Object  string  `json:"object,omitempty"`
	Text    string  `json:"text"` // a sentence
	Remedy  string  `json:"remedy,omitempty"`
	// Silent is the chassis that should have told of the packet and did not,
	// though its agent ran not long ago: ask how it is, and tell Heard.
	Silent string `json:"silent,omitempty"`
}

// OK reports whether the packet arrived: at a workload, in the physical network,
// or at a router that answered it.
func (v Verdict) OK() bool {
	return v.Outcome == Delivered || v.Outcome == Left || v.Outcome == Answered
}

// String returns the sentence with the ids of Docker in it as Docker shows them,
// and what can be done.
func (v Verdict) String() string {
	text := topology.ShortDockerIDs(v.Text)
	if v.Remedy == "" {
		return text
	}
	return text + "; " + v.Remedy
}

// Spoil makes a packet that arrived one that its receiver drops: it was broken
// from the beginning, and no switch looks at checksums.
func (p *Path) Spoil(damage string) {
	if p.End.OK() {
		p.End.Outcome, p.End.Reason = Dropped, BadChecksum
		p.End.Text += ", where it is dropped: " + damage
	}
}

// last returns the hop that the packet came to last.
func (a *assembly) last() *Hop { return &a.hops[len(a.hops)-1] }

// end returns the step that the packet came to last, and what became of it there
// if that is known.
func (a *assembly) end() (s seen, end End, known bool) {
	steps := a.last().steps
	for i := len(steps) - 1; i >= 0; i-- {
		if s = steps[i]; !s.is(flows.TableWanted) {
			break
		}
	}
	for _, e := range s.Ends {
		if e.Kind != Wanted {
			return s, e, true
		}
	}
	return s, End{}, false
}

// held reports whether the agent has the packet and sends it on when it has made
// flows to its destination: no edge was there to take it.
func (a *assembly) held() bool {
	h := a.last()
	_, end, known := a.end()
	return h.steps[len(h.steps)-1].is(flows.TableWanted) && (!known || end.Kind == Drop) && a.why(h, h.culprit()).reason == NotThere
}

// final reports whether the packet has come to an end that it does not go on
// from.
func (a *assembly) final() bool {
	if len(a.hops) == 0 || a.held() {
		return false
	}
	_, end, known := a.end()
	return known && end.Kind != Tunnel && end.Kind != Waits
}

// verdict says what became of the packet.
func (a *assembly) verdict() Verdict {
	if len(a.hops) == 0 {
		return Verdict{Outcome: Vanished, Reason: LostOnTheWay, Text: "no agent has seen the packet"}
	}
	h := a.last()
	v := Verdict{Chassis: h.Chassis, Device: h.Device}
	s, end, known := a.end()
	switch {
	case a.held():
		v.Outcome, v.Reason = Waiting, AwaitsAgent
		v.Text = fmt.Sprintf("held by the agent of %s, which makes the flows to its destination", h.Chassis)
		v.Remedy = "the next one should arrive"
	case !known && h.Wanted:
		v = a.dropped(v, end) // the copy's end is the packet's
	case !known:
		v = a.unseen(v, s, end)
	case end.Kind == Output:
		v = a.arrived(v, end)
	case end.Kind == Host:
		v.Outcome, v.Text = Left, "left by the network stack of "+h.Chassis+" (untunnel mode)"
	case end.Kind == Tunnel:
		v = a.lostBehind(v, end.Chassis)
	case end.Kind == Waits:
		v = a.waits(v, s, end)
	case end.Kind == Refused:
		v.Outcome, v.Reason, v.Device = Unsent, AwaitsAgent, ""
		v.Text = fmt.Sprintf("not sent by the agent of %s: %s", h.Chassis, end.Why)
		v.Remedy = doctor(h.Chassis)
	case end == inCircles:
		v.Outcome, v.Reason, v.Text = Vanished, Loops, end.Why
	case end.Kind == Lost:
		v = a.unseen(v, s, end)
	case s.stage != 0:
		v.Outcome, v.Reason = Dropped, NotTold
		v.Text = fmt.Sprintf("dropped in %s on %s, whose agent, of the original TupleNet, does not say why", h.Device, h.Chassis)
	default:
		v = a.dropped(v, end)
	}
	if by := a.answerer(); by != "" {
		if v.OK() {
			v.Outcome, v.Text = Answered, by+" answered, and the answer was "+v.Text
		} else {
			v.Text = by + " answered, and the answer was " + v.Text
		}
	}
	return v
}

// arrived says where the packet left the network.
func (a *assembly) arrived(v Verdict, end End) Verdict {
	v.Port = end.Iface
	port, ok := a.m.Get(topology.Key{Kind: topology.KindPortName, Name: end.Iface}).(topology.SwitchPort)
	switch {
	case !ok:
		v.Outcome, v.Text = Left, fmt.Sprintf("sent out of interface %s on %s", end.Iface, v.Chassis)
	case port.Outer():
		v.Outcome, v.Text = Left, fmt.Sprintf("sent to the physical network by %s on %s", end.Iface, v.Chassis)
		if port.Peer != "" {
			v.Text += " (bridge " + port.Peer + ")"
		}
	default:
		v.Outcome, v.Text = Delivered, fmt.Sprintf("delivered to %s on %s", end.Iface, v.Chassis)
		if isFree(port) {
			v.Text += fmt.Sprintf(", which no container of %s has yet", port.Pool)
		}
	}
	return v
}

// answerer names who answered the packet itself, if somebody did.
func (a *assembly) answerer() string {
	first, last := a.hops[0].steps[0].header, a.last()
	s := last.steps[len(last.steps)-1]
	if first.ARP == arpRequest && (s.header.ARP == arpReply || s.is(flows.TableNeighbourDone)) {
		return "the network"
	}
	for i := range a.hops {
		h := &a.hops[i]
		if slices.ContainsFunc(h.Changes, func(c string) bool { return strings.HasPrefix(c, answers) }) {
			return h.Device + " on " + h.Chassis
		}
	}
	return ""
}

// waits says what the packet waits for.
func (a *assembly) waits(v Verdict, s seen, end End) Verdict {
	v.Outcome, v.Reason = Waiting, AwaitsAgent
	v.Table, v.Object = s.Table.String(), s.Object
	switch end.Why {
	case flows.NoNeighbour.String():
		v.Reason = AwaitsARP
		v.Text = fmt.Sprintf("held by the agent of %s, as nobody in the physical network behind %s has answered ARP for %s yet",
			v.Chassis, v.Device, a.nextHop())
		v.Remedy = fmt.Sprintf("see whether %s is up", a.nextHop())
	case flows.TooLarge.String():
		v.Reason = TooLarge
		v.Text = fmt.Sprintf("too large for the tunnel: the agent of %s sends it on in fragments", v.Chassis)
	case flows.QuotedAddress.String():
		v.Text = fmt.Sprintf("with the agent of %s, which translates the packet that the ICMP error quotes and sends it on", v.Chassis)
	default:
		v.Text = fmt.Sprintf("held by the agent of %s: %s", v.Chassis, end.Why)
	}
	return v
}

// nextHop returns the address that the packet goes to next: that of the static
// route that it took last, or its destination.
func (a *assembly) nextHop() netip.Addr {
	for i := len(a.hops) - 1; i >= 0; i-- {
		h := &a.hops[i]
		name, ok := strings.CutPrefix(h.Object, topology.KindStaticRoute.String()+" ")
		if router, route, slash := strings.Cut(name, "/"); ok && slash {
			if r, ok := a.m.Get(topology.StaticRoute{Router: router, Name: route}.Key()).(topology.StaticRoute); ok {
				return r.NextHop
			}
		}
		if strings.HasPrefix(h.Device, topology.KindRouter.String()+" ") {
			break
		}
	}
	s := a.last().culprit()
	return s.header.IPDst
}

// strayed returns the steps that took other flows than the agents have made.
func strayed(hops []Hop) (out []*seen) {
	for i := range hops {
		for j := range hops[i].steps {
			if s := &hops[i].steps[j]; s.Astray {
				out = append(out, s)
			}
		}
	}
	return out
}

func astray(s *seen) string {
	if s.is(flows.TableSwitchHook) {
		return fmt.Sprintf("in table %s, which is left to third parties, the packet took a flow of theirs", s.Table)
	}
	made := "made for " + s.Object
	if s.Object == "" {
		made = "made there"
	}
	return fmt.Sprintf("in table %s the packet took another flow than the agent %s", s.Table, made)
}

// say fills in what became of the packet, and what else went wrong on its way.
func (a *assembly) say(p *Path) {
	p.End = a.verdict()
	var cause *seen
	if !p.End.OK() && len(a.hops) > 0 {
		first := len(a.hops) - 1
		for first > 0 && a.hops[first-1].Chassis == p.End.Chassis && a.hops[first-1].Device == p.End.Device {
			first-- // the agent has sent it on, from there
		}
		if here := strayed(a.hops[first:]); len(here) > 0 {
			cause = here[0]
			p.End.blame(cause)
		}
	}
	for _, s := range strayed(a.hops) {
		if cause != nil && s.chassis == cause.chassis && astray(s) == astray(cause) {
			continue
		}
		warning := s.chassis + ": " + astray(s)
		if !s.is(flows.TableSwitchHook) {
			warning += "; " + doctorFlows(s.chassis)
		}
		if !slices.Contains(p.Warnings, warning) {
			p.Warnings = append(p.Warnings, warning)
		}
	}
}

// blame makes a flow that is not as it should be the reason for what came of it.
func (v *Verdict) blame(s *seen) {
	v.Reason, v.Table, v.Object = FlowsDiffer, s.Table.String(), s.Object
	v.Remedy = doctorFlows(s.chassis)
	if s.is(flows.TableSwitchHook) {
		v.Reason, v.Remedy = ThirdParty, ""
	}
	v.Text = fmt.Sprintf("%s in %s on %s: %s", v.Outcome, cmp.Or(v.Device, "no switch"), v.Chassis, astray(s))
}

// since says how long a chassis has been down, as far as anybody knows.
func since(down topology.Absence) string {
	if down.Since == 0 {
		return ""
	}
	return " since " + time.Unix(down.Since, 0).UTC().Format(time.RFC3339)
}

// CanSend reports whether a packet can be sent from a port, as far as the store
// tells; if not, the verdict says why.
func CanSend(m *topology.Model, name string) (Verdict, bool) {
	port, err := SourcePort(m, name)
	if err != nil {
		return Verdict{Outcome: Unsent, Reason: NoDestination, Text: err.Error()}, false
	}
	v := Verdict{Outcome: Unsent, Chassis: port.Chassis}
	if port.Chassis == "" {
		text, remedy := nowhere(port)
		v.Reason, v.Remedy = NotBound, remedy
		v.Text = fmt.Sprintf("not sent: port %s of switch %s %s", port.Name, port.Switch, text)
		return v, false
	}
	a := assembly{m: m}
	if state, remedy := a.state(port.Chassis); state != "" {
		v.Reason, v.Remedy = ChassisDown, remedy
		v.Text = fmt.Sprintf("not sent: port %s is on %s, %s", port.Name, port.Chassis, state)
		return v, false
	}
	return v, true
}
