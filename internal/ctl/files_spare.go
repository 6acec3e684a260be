package ctl

import (
	"fmt"
	"maps"
	"slices"

	"tuplenet/internal/manifest"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// spared is what --prune does not delete though no file describes it.
type spared struct {
	owned    int                     // ports of containers
	switches int                     // of Docker networks
	ofDocker func(topology.Key) bool // what these consist of
}

// spares finds out what --prune spares. The networks are read after the snapshot:
// none of its switches was made for one that is not among them.
func (a *application) spares(snapshot *store.Snapshot, wanted manifest.Description) (spared, error) {
	s := spared{ofDocker: func(topology.Key) bool { return false }}
	if !a.set(pruneFlag) {
		return s, nil
	}
	var networks []store.Network
	err := a.bounded(func(s *session) (err error) {
		networks, err = s.store.Networks(s.ctx)
		return err
	})
	if err != nil {
		return s, err
	}
	described := map[topology.Key]bool{}
	for _, o := range wanted {
		described[o.Entity.Key()] = true
	}
	on := map[string]bool{}
	for _, n := range networks {
		// Of a switch that is the operator's the files may say what hangs on it.
		on[n.Switch] = on[n.Switch] || n.Made || !described[topology.Switch{Name: n.Switch}.Key()]
	}
	for key := range snapshot.Entities {
		if key.Kind == topology.KindSwitch && topology.IsDockerID(key.Name) {
			on[key.Name] = true // the original's plugin keeps no record
		}
	}
	s.ofDocker = partsOf(snapshot.Entities, on)
	for key, e := range snapshot.Entities {
		p, _ := e.(topology.SwitchPort)
		switch {
		case described[key]:
		case key.Kind == topology.KindSwitch && on[key.Name]:
			s.switches++
		case p.Owner != "":
			s.owned++
		}
	}
	return s, nil
}

// notes tells what is spared.
func (s spared) notes() (notes []string) {
	if s.owned > 0 {
		notes = append(notes, fmt.Sprintf("%s that containers use, and what they hang on, are not deleted", plural(s.owned, "port")))
	}
	if s.switches > 0 {
		notes = append(notes, fmt.Sprintf("%s that Docker networks are on, and what hangs on them, are not deleted", plural(s.switches, "switch")))
	}
	return notes
}

// tellSpared tells of switches and routers that were to be deleted and have got
// something meanwhile that nobody was asked about.
func (a *application) tellSpared(snapshot *store.Snapshot, changes []manifest.Change) {
	stays := maps.Clone(a.approved)
	for _, c := range changes {
		delete(stays, c.Key)
	}
	for _, key := range slices.SortedFunc(maps.Keys(stays), topology.Key.Compare) {
		if snapshot.Entities[key] != nil {
			a.note(fmt.Sprintf("%s stays, as something new hangs on it; run it again to delete it", key))
		}
	}
}
