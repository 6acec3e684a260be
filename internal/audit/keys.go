package audit

import (
	"fmt"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// keys finds values that cannot be used, and keys that nobody uses.
func (a *audit) keys() {
	hasVersion, hasObjects := false, false
	for _, item := range a.items {
		switch item.Role {
		case store.Version:
			hasVersion = true
		case store.Strange:
			a.foundKey(StrangeKey, item, Finding{What: "TupleNet has no such key", Remedy: []string{command("etcdctl", "del", item.Path)}})
		case store.Talk:
			if !item.Leased {
				a.foundKey(StaleCommand, item, Finding{What: "it has no lease, so it stays though nobody waits for it any more",
					Remedy: []string{repairOnly(item.Path)}, Repair: &Repair{Action: RemoveKey, Item: item}})
			}
		case store.Object:
			hasObjects = true
			if item.Err != nil {
				a.unreadable(item)
			}
		}
	}
	if hasObjects && !hasVersion {
		a.foundGlobal(VersionMissing, "globals/version", Finding{What: "it is missing", Repair: &Repair{Action: WriteGlobals}})
	}
}

// foundGlobal adds a finding about one of the global keys, which a repair mends.
func (a *audit) foundGlobal(kind Kind, name string, f Finding) {
	f.Kind, f.Object = kind, name
	f.Names = []string{name[strings.LastIndexByte(name, '/')+1:]}
	if len(f.Remedy) == 0 {
		f.Remedy = []string{repairOnly(f.Names[0])}
	}
	a.findings = append(a.findings, f)
}

// unreadable finds an entity whose value cannot be used.
func (a *audit) unreadable(item store.Item) {
	key := item.Key
	f := Finding{What: fmt.Sprintf("its value %q cannot be used: %v", item.Value, item.Err),
		Advice: "or write what was meant with etcdctl put " + quote(item.Path)}
	switch {
	case topology.CheckName(key.Name) != nil || key.Parent != "" && topology.CheckName(key.Parent) != nil:
		f.Remedy, f.Advice = []string{command("etcdctl", "del", item.Path)}, ""
	case key.Kind == topology.KindSwitch || key.Kind == topology.KindRouter:
		// What hangs on it is not to go with it.
		f.Remedy, f.Advice = []string{command("etcdctl", "put", item.Path, a.newValue(item))}, ""
	case key.Kind == topology.KindPresence || key.Kind == topology.KindContender || key.Kind == topology.KindAbsence:
		f.Remedy, f.Advice = []string{repairOnly(item.Path)}, ""
		f.Repair = &Repair{Action: RemoveKey, Item: item}
	default:
		f.Remedy = []string{del(key)}
	}
	a.found(UnreadableValue, key, f)
}

// newValue returns a value for a switch or router whose own cannot be used: a
// free id, and what is left of it.
func (a *audit) newValue(item store.Item) string {
	used := map[uint32]bool{}
	for _, s := range a.switches {
		used[s.ID] = true
	}
	for _, r := range a.routers {
		used[r.ID] = true
	}
	for _, i := range a.items {
		if i.Role == store.DeviceIDs {
			for _, id := range i.Used {
				used[id] = true
			}
		}
	}
	id := uint32(1)
	for used[id] {
		id++
	}
	kept := ""
	for field := range strings.SplitSeq(item.Value, ",") {
		if chassis, ok := strings.CutPrefix(strings.TrimSpace(field), "chassis="); ok && chassis != "" && item.Key.Kind == topology.KindRouter {
			kept = ",chassis=" + chassis
		}
	}
	return fmt.Sprintf("id=%d%s", id, kept)
}
