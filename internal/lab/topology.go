package lab

import "context"

// makeTopology makes the logical topology of the file with tpctl, as a person
// would: a route's port before the route. No chassis has registered yet, and it
// does not matter whether one ever will.
func (l *Lab) makeTopology(ctx context.Context) error {
	echo, end := l.echo.block()
	defer end()
	phy := l.phy(echo)
	phy.showEnv()
	for _, args := range l.Spec.topology() {
		if err := phy.run(ctx, append([]string{"tpctl"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// topology returns the arguments of the calls of tpctl that make the logical
// topology, in their order.
func (s *Spec) topology() [][]string {
	var calls [][]string
	tpctl := func(args ...string) { calls = append(calls, args) }
	for _, sw := range s.Switches {
		tpctl("ls", "add", sw.Name)
		for _, p := range sw.Ports {
			args := []string{"lsp", "add", sw.Name, p.Name, p.Address}
			if p.MAC != "" {
				args = append(args, p.MAC)
			}
			tpctl(args...)
		}
	}
	for _, r := range s.Routers {
		if r.Chassis != "" {
			tpctl("lr", "add", "--force", r.Name, r.Chassis)
		} else {
			tpctl("lr", "add", r.Name)
		}
		for _, k := range r.Links {
			tpctl("lr", "link", r.Name, k.Switch, k.Address)
		}
	}
	for _, r := range s.Routers {
		for _, k := range r.Routes {
			tpctl("lsr", "add", r.Name, k.Name, k.To, k.Via, k.Port)
		}
		for _, n := range r.NAT {
			tpctl("lnat", "add", r.Name, n.Name, n.Net, n.Type, n.Address)
		}
	}
	for _, sw := range s.Switches {
		if o := sw.Outer; o != nil {
			tpctl("patchport", "add", "--force", sw.Name, o.Port, o.Host, o.Bridge)
		}
	}
	return calls
}
