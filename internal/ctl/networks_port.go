package ctl

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/audit"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// portNamed returns the name that is meant among those of ports: the very name, or
// an id of Docker that begins so. One that none has is returned as it is.
func portNamed(name string, known []string) (string, error) {
	if !topology.StartsDockerID(name) || slices.Contains(known, name) {
		return name, nil
	}
	var found []string
	for _, k := range known {
		if topology.IsDockerID(k) && strings.HasPrefix(k, name) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return name, nil
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("the ids of %d ports begin with %s (%s): give more digits", len(found), name, few(found))
}

// portKey returns the key of the switch port that the first two arguments name.
func (s *session) portKey(args []string) (topology.Key, error) {
	key, err := childKey(topology.KindSwitchPort, args)
	if err != nil {
		return key, err
	}
	return s.portMeant(key)
}

// portMeant returns the key of the switch port that is meant by one: its name may
// be the beginning of an id of Docker.
func (s *session) portMeant(key topology.Key) (topology.Key, error) {
	if !topology.StartsDockerID(key.Name) {
		return key, nil
	}
	all, _, err := s.read.List(s.ctx, key.Kind, key.Parent)
	if err == nil {
		key.Name, err = portNamed(key.Name, portNames(ports(all)))
	}
	return key, err
}

func portNames(list []topology.SwitchPort) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Name
	}
	return names
}

// deletePort deletes a port; one that links a Docker network to its router by
// force only.
func (s *session) deletePort(check func(*store.View) error, key topology.Key) error {
	networks, err := s.linkedBy(key)
	if err != nil {
		return err
	}
	if len(networks) > 0 && !s.set(networksFlag) {
		return errInUse(fmt.Sprintf("%s %s port %s", key.Kind.Parent(), key.Parent, key.Name), networks)
	}
	if err := s.deleteChildIf(check, key.Kind, "port", []string{key.Parent, key.Name}); err != nil {
		return err
	}
	if len(networks) > 0 {
		s.note(cutOff(networks) + `; "tpctl check" tells what makes the link again`)
	}
	return nil
}

// linkedBy returns the Docker networks that a port links to their router.
func (s *session) linkedBy(key topology.Key) ([]store.Network, error) {
	port, err := s.read.Get(s.ctx, key)
	if err != nil {
		return nil, nil // what is not there, or cannot be read, links nothing
	}
	all, err := s.read.Networks(s.ctx)
	return slices.DeleteFunc(all, func(n store.Network) bool { return !audit.EndsLink(n, port) }), err
}

// cutOff tells what networks have lost with their router.
func cutOff(networks []store.Network) string {
	return "the containers of " + listNetworks(networks) + " have no way out of their networks now"
}

// checkRelink refuses to link a router to the switch of a Docker network that has
// lost its link to it, and tells what makes that again: its ports have names of
// their own.
func (s *session) checkRelink(router, sw string) error {
	networks, err := s.networksOf(topology.Switch{Name: sw}.Key())
	if err != nil {
		return err
	}
	for _, n := range networks {
		if n.Router != router {
			continue
		}
		findings, err := s.audit([]string{n.ID}, audit.Error)
		if err != nil {
			return err
		}
		for _, f := range findings {
			if f.Kind == audit.DockerLinkMissing && f.About(n.ID) {
				remedy := f.Cure
				if len(f.Remedy) > 0 {
					remedy = fmt.Sprintf(`"%s" makes it again`, strings.Join(f.Remedy, " && "))
				}
				return fmt.Errorf("%s is on switch %s, and %s: %s", f.Object, sw, f.What, remedy)
			}
		}
	}
	return nil
}
