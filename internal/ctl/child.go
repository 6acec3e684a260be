package ctl

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var (
	parentFlag = Flag{Name: "parent", Value: "PORT", Usage: "make it a child of `PORT`, of any switch, whose host holds workloads of its own"}
	tagFlag    = Flag{Name: "tag", Value: "N", Usage: "with --parent, the VLAN id of its packets there, `N` from 1 to 4094; default: the lowest that is free"}
	orphanFlag = Flag{Name: forceFlag.Name, Usage: "do it although the parent does not exist yet"}
	usedFlag   = Flag{Name: forceFlag.Name, Usage: "do it although a container or a Docker network uses the port, or others are its children"}
)

// parentage reads which port a child hangs on, and its tag there; 0: any.
func (s *session) parentage() (parent string, tag uint16, err error) {
	parent, err = reference(s.Flags[parentFlag.Name])
	text := s.Flags[tagFlag.Name]
	if err != nil || text == "" {
		return parent, 0, err
	}
	if parent == "" {
		return "", 0, fmt.Errorf("--%s tells a child from the other children of its parent: name that with --%s", tagFlag.Name, parentFlag.Name)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || n > topology.MaxTag {
		return "", 0, fmt.Errorf("invalid --%s %q, want a VLAN id from 1 to %d", tagFlag.Name, text, topology.MaxTag)
	}
	return parent, uint16(n), nil
}

// errTagTaken says that another child of the parent has the tag.
var errTagTaken = errors.New("conflict with other tag")

// createSwitchPort makes a port; a child without a tag gets the lowest that is
// free at its parent.
func (s *session) createSwitchPort(port topology.SwitchPort) ([]topology.Stored, error) {
	isFree := func(*store.View) error { return s.checkNames(port.Key()) }
	if port.Parent == "" {
		return s.createIf(isFree, port)
	}
	for anyTag := port.Tag == 0; ; {
		if anyTag {
			all, err := s.switchPorts()
			if err != nil {
				return nil, err
			}
			free := freeTags(childrenOf(all, port.Parent))
			if len(free) == 0 {
				return nil, fmt.Errorf("switch %s port %s: all %d tags of parent %s are in use", port.Switch, port.Name, topology.MaxTag, port.Parent)
			}
			port.Tag = free[0]
		}
		made, err := s.createIf(func(v *store.View) error {
			if err := isFree(v); err != nil {
				return err
			}
			return s.checkFamily(v, port)
		}, port)
		if !anyTag || !errors.Is(err, errTagTaken) {
			return made, err
		}
	}
}

// checkFamily refuses a child that is to be made and whose parent has no place
// for it. Of all the ports that workloads make and move, those are a condition of
// the change that hang on the same switch as the child or one of its siblings.
func (s *session) checkFamily(v *store.View, child topology.SwitchPort) error {
	named, err := s.portsNamed(child.Parent)
	if err != nil {
		return err
	}
	all, err := s.switchPorts()
	if err != nil {
		return err
	}
	if err := checkParent(v, named, child, childrenOf(all, child.Name), s.set(forceFlag)); err != nil {
		return err
	}
	switches := []string{child.Switch}
	for _, p := range childrenOf(all, child.Parent) {
		switches = append(switches, p.Switch)
	}
	slices.Sort(switches)
	for _, sw := range slices.Compact(switches) {
		ports, err := v.List(topology.KindSwitchPort, sw)
		if err != nil {
			return err
		}
		for _, p := range childrenOf(ports, child.Parent) {
			if p.Tag == child.Tag && p.Name != child.Name {
				return fmt.Errorf("switch %s port %s: tag %d: %w, child %s/%s of parent %s has it",
					child.Switch, child.Name, child.Tag, errTagTaken, p.Switch, p.Name, child.Parent)
			}
		}
	}
	return nil
}

// checkParent refuses a child whose parent is not there, unless it is forced to
// take that for granted, or is no port that a host is plugged into. named are the
// keys of the ports with the parent's name, children those of the child itself.
func checkParent(v source, named []topology.Key, child topology.SwitchPort, children []topology.SwitchPort, force bool) error {
	if len(named) == 0 && !force {
		return fmt.Errorf("parent port %s %w: create it first, or use --force", child.Parent, store.ErrNotFound)
	}
	for _, key := range named {
		e, err := v.Get(key)
		if err != nil {
			return err
		}
		if err := checkHost(e.(topology.SwitchPort)); err != nil {
			return err
		}
	}
	if len(children) > 0 {
		return fmt.Errorf("switch %s port %s cannot be a child: it has %s itself", child.Switch, child.Name, listChildPorts(children))
	}
	return nil
}

// checkHost refuses a port that no host is plugged into as a parent.
func checkHost(p topology.SwitchPort) error {
	what := ""
	switch {
	case p.Parent != "":
		what = "is a child itself, of port " + p.Parent
	case p.Outer():
		what = "leads to the physical network"
	case p.Peer != "":
		what = "belongs to router port " + p.Peer
	default:
		return nil
	}
	return fmt.Errorf("invalid parent %[2]s: switch %[1]s port %[2]s %[3]s; name a port that a host is plugged into", p.Switch, p.Name, what)
}

// checkUnused refuses to delete a port that somebody needs: a container that it
// belongs to, or its children.
func (s *session) checkUnused(v *store.View, key topology.Key) error {
	e, err := v.Get(key)
	port, ok := e.(topology.SwitchPort)
	if err != nil || !ok {
		return nil // what cannot be read may go
	}
	if port.Owner != "" {
		whose, err := s.owners(port)
		if err != nil {
			return err
		}
		return fmt.Errorf("switch %s port %s is in use by %s; it goes with that, or with --force", port.Switch, port.Name, whose.of(port))
	}
	all, err := s.switchPorts()
	if err != nil {
		return err
	}
	if list := childrenOf(all, port.Name); len(list) > 0 {
		return fmt.Errorf("switch %s port %s has %s, whose packets pass through its interface; delete them first, or use --force",
			port.Switch, port.Name, listChildPorts(list))
	}
	return nil
}

// switchPorts returns all switch ports.
func (s *session) switchPorts() ([]topology.Stored, error) {
	all, _, err := s.store.List(s.ctx, topology.KindSwitchPort, "")
	return all, err
}

// ports returns the switch ports among entities.
func ports(entities []topology.Stored) []topology.SwitchPort {
	var list []topology.SwitchPort
	for _, e := range entities {
		if p, ok := e.(topology.SwitchPort); ok {
			list = append(list, p)
		}
	}
	return list
}

// childrenOf returns the children of a port among entities.
func childrenOf(entities []topology.Stored, parent string) []topology.SwitchPort {
	return slices.DeleteFunc(ports(entities), func(p topology.SwitchPort) bool { return p.Parent != parent })
}

// freeTags returns the tags, ascending, that none of a port's children has.
func freeTags(children []topology.SwitchPort) []uint16 {
	var taken [topology.MaxTag + 1]bool
	for _, p := range children {
		taken[p.Tag] = true
	}
	var free []uint16
	for tag := 1; tag <= topology.MaxTag; tag++ {
		if !taken[tag] {
			free = append(free, uint16(tag))
		}
	}
	return free
}

// listChildPorts returns "2 children (S/a, S/b)".
func listChildPorts(list []topology.SwitchPort) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.Switch + "/" + p.Name
	}
	if len(list) == 1 {
		return "1 child (" + names[0] + ")"
	}
	return fmt.Sprintf("%d children (%s)", len(list), few(names))
}

// few returns names, or the first of them and how many more there are.
func few(names []string) string {
	const most = 3
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
