package ctl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var emptiedNodeFlag = Flag{Name: nodeFlag.Name, Value: nodeFlag.Value, Required: true, Usage: "`NODE`, for whose workloads the ports were made"}

func unprovisionCommand() Command {
	return Command{
		Object: "ls", Verb: "unprovision", Args: []string{"SWITCH"}, Flags: []Flag{emptiedNodeFlag}, steps: true,
		Usage: "delete the ports of a node's workloads that are free",
		Notes: "Deletes the ports that \"tpctl ls provision\" made in SWITCH for NODE, but for those that are in use, which it names. " +
			"The switch and its other ports stay, a router's included. It asks nobody: \"tpctl ls provision\" makes the ports again.",
		Example: "tpctl ls unprovision ls-worker1 --node worker1",
		run:     unprovisionSwitch,
	}
}

func unprovisionSwitch(s *session, args []string) error {
	sw, err := name(args[0])
	if err != nil {
		return err
	}
	node, err := reference(s.Flags[nodeFlag.Name])
	if err != nil {
		return err
	}
	var used []string // as the last plan has it
	// Nobody is asked.
	a := &application{session: s, started: time.Now(), approved: map[topology.Key]bool{}}
	a.plan = func(n *store.Snapshot) (changes []manifest.Change, _ []string, err error) {
		changes, used, err = emptied(n, sw, node)
		return changes, nil, err
	}
	a.tell = func() error {
		if len(used) > 0 {
			s.note(fmt.Sprintf("what is in use stays: %s", strings.Join(used, ", ")))
		}
		return s.say("switch %s: %s for %s deleted", sw, plural(len(a.done), "port"), node)
	}
	return a.carryOut()
}

// emptied returns the deletion of a pool's free ports, and which of its ports are
// in use, and by whom.
func emptied(n *store.Snapshot, sw, node string) (changes []manifest.Change, used []string, err error) {
	key := topology.Switch{Name: sw}.Key()
	if n.Entities[key] == nil && n.Broken[key] == nil {
		return nil, nil, fmt.Errorf("switch %s %w", sw, store.ErrNotFound)
	}
	all := slices.SortedFunc(maps.Values(n.Entities), func(a, b topology.Stored) int { return a.Key().Compare(b.Key()) })
	children := map[string][]topology.SwitchPort{}
	for _, p := range ports(all) {
		children[p.Parent] = append(children[p.Parent], p)
	}
	others := "" // node that the switch is provisioned for
	for _, p := range ports(all) {
		switch {
		case p.Switch != sw || p.Pool == "":
		case p.Pool != node:
			others = p.Pool
		case p.Owner != "":
			used = append(used, p.Name+" by "+owners(nil).of(p))
		case len(children[p.Name]) > 0:
			used = append(used, p.Name+" by "+listChildPorts(children[p.Name]))
		default:
			changes = append(changes, manifest.Change{Key: p.Key(), Before: p})
		}
	}
	if others != "" && len(changes)+len(used) == 0 {
		return nil, nil, fmt.Errorf("switch %s has been provisioned for node %s, and not for %s", sw, others, node)
	}
	return changes, used, nil
}
