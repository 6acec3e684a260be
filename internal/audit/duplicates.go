package audit

import "tuplenet/internal/topology"

// duplicates finds what is ignored because another one was there before.
func (a *audit) duplicates() {
	for _, c := range a.conflicts {
		f := Finding{What: "it is ignored: " + c.Because.String() + " has the same " + c.What, Remedy: []string{del(c.Ignored)}}
		kind := DuplicatePort
		switch c.Ignored.Kind {
		case topology.KindSwitch, topology.KindRouter:
			kind = DuplicateID
			f.Repair = &Repair{Action: Renumber, Key: c.Ignored}
			f.Remedy = []string{repairOnly(c.Ignored.Name)}
		case topology.KindSwitchPort, topology.KindRouterPort:
			f.Advice = "or make it again with another one"
		case topology.KindStaticRoute:
			kind = DuplicateRoute
		case topology.KindNAT:
			kind = DuplicateNAT
		case topology.KindChassis:
			kind = DuplicateTunnelAddress
		}
		a.found(kind, c.Ignored, f)
	}
}
