package trace

import (
	"fmt"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/topology"
)

// Condition is how the agent of a chassis is that has told nothing of a packet.
type Condition struct {
	Answers bool // when it is asked how it is
	InSync  bool // and says that it has given its bridge all flows
	Amiss   bool // but the bridge holds others, which the agent mends now that it knows
}

// Heard completes the verdict with the condition of v.Silent's agent.
func (v *Verdict) Heard(c Condition) {
	switch sent := v.Outcome != Unsent; {
	case !sent && c.Answers:
		v.notShown(v.Silent)
	case !sent:
	case !c.Answers:
		v.Text += fmt.Sprintf(": the agent of %s does not answer, so nobody can tell what became of it there; it may have arrived", v.Silent)
		v.Remedy = doctor(v.Silent)
	case !c.InSync:
		v.Reason = NotThere
		v.Text += fmt.Sprintf(": the bridge of %s does not hold the flows that it should, as its agent says", v.Silent)
		v.Remedy = "see whether ovs-vswitchd runs there: " + doctor(v.Silent)
	case c.Amiss:
		v.Reason = FlowsDiffer
		v.Text += fmt.Sprintf(": the bridge of %s did not hold the flows of its agent, which makes them right now", v.Silent)
		v.Remedy = "trace it again"
	default:
		v.Text += ", though the agent there answers and its bridge holds all flows: the network between them loses it"
		v.Remedy = fmt.Sprintf(`"tuplenet doctor" on %s and on %s tells more`, v.Chassis, v.Silent)
	}
}

// notShown says of a packet that was sent, and came to no table.
func (v *Verdict) notShown(chassis string) {
	v.Outcome, v.Reason, v.Chassis = Vanished, FlowsDiffer, chassis
	v.Text = fmt.Sprintf("the agent of %s has sent the packet, and no table of its bridge has shown it: its flows are missing, or others' stand before them", chassis)
	v.Remedy = doctorFlows(chassis)
}

// Silent is the verdict on a packet of which no agent has told anything.
func Silent(m *topology.Model, name string, patience time.Duration) Verdict {
	port, _ := m.Get(topology.Key{Kind: topology.KindPortName, Name: name}).(topology.SwitchPort)
	v := Verdict{Outcome: Unsent, Reason: AwaitsAgent, Chassis: port.Chassis,
		Text: fmt.Sprintf("the agent of %s has not answered within %s", port.Chassis, patience)}
	if m.Get(topology.Presence{Chassis: port.Chassis}.Key()) == nil {
		v.Text += ", and it is not known whether it runs"
		v.Remedy = "start it there, or see how the path ought to be with --dry"
	} else {
		v.Silent, v.Remedy = port.Chassis, doctor(port.Chassis)
	}
	return v
}

// unseen says of a packet that has come to no known end where it was last.
func (a *assembly) unseen(v Verdict, s seen, end End) Verdict {
	v.Outcome, v.Reason = Vanished, LostOnTheWay
	if s.stage != 0 {
		v.Text = fmt.Sprintf("last seen in %s on %s, whose agent is of the original TupleNet", v.Device, v.Chassis)
		return v
	}
	switch {
	case s.is(flows.TableClassify) && end.Why == "":
		v.notShown(v.Chassis)
		return v
	case s.is(flows.TableClassify):
		v.Text = fmt.Sprintf("the agent of %s has sent the packet, and %s", v.Chassis, end.Why)
		return v
	}
	v.Table, v.Object = s.Table.String(), s.Object
	if end.Next != 0 {
		v.Reason = FlowsDiffer
		v.Text = fmt.Sprintf("vanished in %s on %s: after table %s the packet should have come to table %s and was not seen there: flows of one of the two are not the agent's",
			v.Device, v.Chassis, s.Table, end.Next)
		v.Remedy = doctorFlows(v.Chassis)
		return v
	}
	v.Text = fmt.Sprintf("not seen any more after table %s of %s on %s", v.Table, v.Device, v.Chassis)
	if end.Why != "" {
		v.Text += ": " + end.Why
	}
	v.Remedy = doctor(v.Chassis)
	return v
}

// lostBehind says why a packet that was sent to a chassis was not seen there, as
// far as etcd tells.
func (a *assembly) lostBehind(v Verdict, chassis string) Verdict {
	v.Outcome, v.Reason = Vanished, LostOnTheWay
	if chassis == "" {
		v.Text = fmt.Sprintf("sent from %s into a tunnel that leads to no chassis", v.Chassis)
		return v
	}
	v.Text = fmt.Sprintf("sent from %s to %s", v.Chassis, chassis)
	c, _ := a.m.Get(topology.Chassis{Name: chassis}.Key()).(topology.Chassis)
	if c.IP.IsValid() {
		v.Text += fmt.Sprintf(" (%s)", c.IP)
	}
	_, present := a.m.Get(topology.Presence{Chassis: chassis}.Key()).(topology.Presence)
	switch state, remedy := a.state(chassis); {
	case state != "":
		v.Reason, v.Remedy = ChassisDown, remedy
		v.Text += ", " + state + ", and not seen there; it may have arrived, as Open vSwitch works on without an agent"
	case !present:
		v.Text += " and not seen there; it is not known whether the agent there runs"
	default:
		v.Silent = chassis
		v.Text += " and not seen there"
	}
	return v
}

func doctor(chassis string) string {
	return fmt.Sprintf(`"tuplenet doctor" on %s tells more`, chassis)
}

func doctorFlows(chassis string) string {
	return fmt.Sprintf(`run "tuplenet doctor --only flows" on %s`, chassis)
}
