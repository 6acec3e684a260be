package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

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
			a.foundKey(StrangeKey, item, Finding{What: "TupleNet has no such key", Remedy: []string{Command("etcdctl", "del", item.Path)}})
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
	f := Finding{What: fmt.Sprintf("its value %q cannot be used: %v", item.Value, item.Err)}
	switch {
	case !utf8.ValidString(item.Path) || topology.CheckName(key.Name) != nil || key.Parent != "" && topology.CheckName(key.Parent) != nil:
		f.Remedy = []string{Command("etcdctl", "del", item.Path)} // tpctl takes no such name
	case key.Kind == topology.KindSwitch || key.Kind == topology.KindRouter:
		// What hangs on it is not to go with it.
		f.Remedy = []string{a.describeAgain(item)}
		f.Advice = "which gives it a free id; if nobody needs it: " + a.del(key)
	case key.Kind == topology.KindChassis:
		f.Remedy, f.Advice = []string{a.del(key)}, "and restart its agent, which writes it again"
	case key.Kind == topology.KindPresence || key.Kind == topology.KindContender || key.Kind == topology.KindAbsence:
		f.Remedy = []string{repairOnly(item.Path)}
		f.Repair = &Repair{Action: RemoveKey, Item: item}
	default:
		f.Cure = "describe what was meant in a file: tpctl apply -f FILE"
		f.Remedy = []string{a.del(key)}
	}
	a.found(UnreadableValue, key, f)
}

// describeAgain is the command that gives a switch or router whose value cannot
// be used a value: a free id, and what is left of it.
func (a *audit) describeAgain(item store.Item) string {
	fields, group, force := map[string]string{}, "switches", ""
	if item.Key.Kind == topology.KindRouter {
		group = "routers"
		for field := range strings.SplitSeq(item.Value, ",") {
			if chassis, ok := strings.CutPrefix(strings.TrimSpace(field), "chassis="); ok && chassis != "" {
				fields["chassis"] = chassis
				if a.byKey[topology.Chassis{Name: chassis}.Key()] == nil {
					force = " --force"
				}
			}
		}
	}
	text, err := json.Marshal(map[string]any{group: map[string]any{item.Key.Name: fields}})
	if err != nil {
		panic(err) // these are strings
	}
	return Command("echo", string(text)) + " | tpctl apply -f -" + force
}
