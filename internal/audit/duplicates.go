package audit

import (
	"strings"

	"tuplenet/internal/topology"
)

// duplicates finds what is ignored because another one was there before.
func (a *audit) duplicates() {
	for _, c := range a.conflicts {
		f := Finding{What: "it is ignored: " + c.Because.String() + " has the same " + c.What, Remedy: []string{a.del(c.Ignored)}}
		kind := DuplicatePort
		switch c.Ignored.Kind {
		case topology.KindSwitch, topology.KindRouter:
			kind = DuplicateID
			f.Repair = &Repair{Action: Renumber, Key: c.Ignored}
			f.Remedy = []string{repairOnly(c.Ignored.Name)}
		case topology.KindSwitchPort, topology.KindRouterPort:
			f.Cure = revise(c.Ignored, attribute(c.What))
		case topology.KindStaticRoute:
			kind = DuplicateRoute
		case topology.KindNAT:
			kind = DuplicateNAT
		case topology.KindChassis:
			kind = DuplicateTunnelAddress
			f.Cure = "give one of the two hosts another address, and restart its agent"
			f.Advice = ifGone
		}
		a.found(kind, c.Ignored, f, c.Because)
	}
}

// attribute returns which property of a port a conflict is about: "port id 7
// (addresses ...)" is about the address that the id is made from.
func attribute(conflict string) string {
	word, _, _ := strings.Cut(conflict, " ")
	if word == "port" {
		return "address"
	}
	return word
}
