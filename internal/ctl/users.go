package ctl

import (
	"context"
	"fmt"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// users are who loses something if a switch is deleted with its ports.
type users struct {
	sw       string
	owned    []topology.SwitchPort // its ports that containers use
	owners   owners                // of these
	children []topology.SwitchPort // of its ports, in other switches
	routers  []topology.RouterPort // that are plugged into it, and stay
}

// usersOf returns the users of a switch that networks are on.
func (s *session) usersOf(sw string, networks []store.Network) (users, error) {
	u := users{sw: sw}
	all, err := s.switchPorts()
	if err != nil {
		return u, err
	}
	own := map[string]topology.SwitchPort{}
	for _, p := range ports(all) {
		if p.Switch == sw {
			own[p.Name] = p
			if p.Owner != "" {
				u.owned = append(u.owned, p)
			}
		}
	}
	for _, p := range ports(all) {
		if _, ok := own[p.Parent]; ok && p.Switch != sw {
			u.children = append(u.children, p)
		}
	}
	if u.owners, err = s.owners(u.owned...); err != nil {
		return u, err
	}
	goes := map[string]bool{} // with a network
	for _, n := range networks {
		goes["to_"+n.ID] = n.Made // see store.Network.Link
	}
	routerPorts, _, err := s.store.List(s.ctx, topology.KindRouterPort, "")
	for _, e := range routerPorts {
		if r := e.(topology.RouterPort); own[r.Peer].Peer == r.Name && !goes[r.Name] {
			u.routers = append(u.routers, r)
		}
	}
	return u, err
}

// lost tells who has lost something.
func (u users) lost() []string {
	var notes []string
	if len(u.owned) > 0 {
		names := make([]string, len(u.owned))
		for i, p := range u.owned {
			names[i] = topology.ShortDockerID(p.Name) + " by " + u.owners.of(p)
		}
		notes = append(notes, fmt.Sprintf("%s of switch %s %s in use: %s", plural(len(u.owned), "port"), u.sw, wereOf(len(u.owned)), few(names)))
	}
	if len(u.children) > 0 {
		notes = append(notes, fmt.Sprintf("ports of switch %s had %s in other switches, which have no parent now", u.sw, listChildPorts(u.children)))
	}
	for _, r := range u.routers {
		notes = append(notes, fmt.Sprintf(`router %[1]s port %[2]s leads nowhere now; "tpctl lrp del %[1]s %[2]s" deletes it`, r.Router, r.Name))
	}
	return notes
}

// question is what is asked before a switch or router is deleted with what hangs
// on it. Only a person reads it, and is told who uses the ports of a switch.
func (c Command) question(ctx context.Context, env Env, device string) (string, error) {
	what := device + " and all data under it will be deleted"
	if c.Object != "ls" || !isTerminal(env.In) {
		return what, nil
	}
	st, err := env.Open(ctx)
	if err != nil {
		return "", err
	}
	defer st.Close()
	var warning string
	s := &session{Env: env, ctx: ctx, store: st, read: st}
	err = s.bounded(func(s *session) (err error) {
		warning, err = s.warning(device)
		return err
	})
	return what + warning, err
}

// warning returns what ends the question about a switch, or why that is not to be
// deleted.
func (s *session) warning(sw string) (string, error) {
	key := topology.Switch{Name: sw}.Key()
	networks, err := s.networksOf(key)
	if err != nil {
		return "", err
	}
	var text string
	if len(networks) > 0 {
		if !s.set(networksFlag) {
			return "", errInUse(key.String(), networks)
		}
		text = "\nit is the switch of " + listNetworks(networks)
	}
	u, err := s.usersOf(sw, networks)
	return text + u.warning(), err
}

// warning ends the question.
func (u users) warning() string {
	var text string
	if n := len(u.owned); n > 0 {
		text += fmt.Sprintf("\ncontainers use %s of it", plural(n, "port"))
	}
	if len(u.children) > 0 {
		text += fmt.Sprintf("\nports of it have %s in other switches", listChildPorts(u.children))
	}
	return text
}

func wereOf(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
