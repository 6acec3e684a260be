package audit

import (
	"fmt"
	"slices"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// Action is what a repair does.
type Action uint8

// The actions, in the order in which they are carried out: first what the
// others need.
const (
	WriteGlobals   Action = iota + 1 // make the globals that are missing
	SyncDeviceIDs                    // make device_ids anew
	RebuildIPBooks                   // make all books of addresses anew
	Renumber                         // give the switch or router Key another id
	ReleasePorts                     // end the binding of ports to the chassis Key, which is gone
	RemoveKey                        // delete Item and More, each if it and While are as they were read
)

// Repair is what mends a finding.
type Repair struct {
	Action Action
	Key    topology.Key
	Item   store.Item
	More   []store.Item
	While  *store.Item
}

// String says what the repair does. Repairs that say the same are the same.
func (r Repair) String() string {
	switch r.Action {
	case WriteGlobals:
		return "write the globals that are missing"
	case SyncDeviceIDs:
		return "tpctl toolbox sync-device-map"
	case RebuildIPBooks:
		return "tpctl toolbox rebuild-ip-book"
	case Renumber:
		return "give " + r.Key.String() + " an id of its own"
	case ReleasePorts:
		return "release the ports that are bound to " + r.Key.String()
	}
	if len(r.More) > 0 {
		return fmt.Sprintf("delete %s and %d more like it", r.Item.Path, len(r.More))
	}
	return "delete " + r.Item.Path
}

// objects are tpctl's words for kinds.
var objects = map[topology.Kind]string{
	topology.KindSwitch:      "ls",
	topology.KindSwitchPort:  "lsp",
	topology.KindRouter:      "lr",
	topology.KindRouterPort:  "lrp",
	topology.KindStaticRoute: "lsr",
	topology.KindNAT:         "lnat",
	topology.KindChassis:     "ch",
}

// Command puts words together as a shell reads them.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// operands returns arguments as a command takes them none of which is a flag.
func operands(args ...string) []string {
	if slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }) {
		return append([]string{"--"}, args...)
	}
	return args
}

// tpctl is the command that does verb to an object of a kind.
func tpctl(kind topology.Kind, verb string, args ...string) string {
	return Command(append([]string{"tpctl", objects[kind], verb}, operands(args...)...)...)
}

// quote returns a word as a shell takes it for one.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@+%", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !plain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// del is the command that deletes an entity.
func (a *audit) del(key topology.Key) string {
	if key.Kind == topology.KindSwitchPort && a.isUsed(key) || a.endsLink(key) {
		return Command(append([]string{"tpctl", objects[key.Kind], "del", "--force"}, operands(key.Parent, key.Name)...)...)
	}
	if key.Parent != "" {
		return tpctl(key.Kind, "del", key.Parent, key.Name)
	}
	return tpctl(key.Kind, "del", key.Name)
}

// delAll is the command that deletes a switch or router with what hangs on it.
func delAll(key topology.Key) string {
	return Command(append([]string{"tpctl", objects[key.Kind], "del", "-r"}, operands(key.Name)...)...)
}

// repairOnly is the command for what nothing but a repair mends.
func repairOnly(name string) string {
	return Command(append([]string{"tpctl", "check", "--repair"}, operands(name)...)...)
}

// ifGone is when what depends on a host is to be deleted.
const ifGone = "if the host is gone for good"

// startAgent is the cure of what a host without its agent lacks.
const startAgent = "start its agent again, on that host"

// revise is the cure of what another value of a property mends. A port is known
// by its name, which no file changes.
func revise(key topology.Key, property string) string {
	if property == "name" {
		return "make it again under another name, and then delete this one"
	}
	device := key
	if key.Parent != "" {
		device = key.ParentKey()
	}
	export := Command(append([]string{"tpctl", "export"}, operands(device.Name)...)...)
	return "give it another " + property + ": " + export + " > FILE, edit that, tpctl apply -f FILE"
}

// addPort is the command that makes a switch port.
func addPort(p topology.SwitchPort) string {
	words := []string{p.Switch, p.Name, p.IP.String(), p.MAC.String()}
	if p.Peer != "" {
		words = append(words, p.Peer)
	}
	return tpctl(topology.KindSwitchPort, "add", words...)
}

// addRouterPort is the command that makes a router port.
func addRouterPort(p topology.RouterPort) string {
	words := []string{p.Router, p.Name, p.Net.String(), p.MAC.String()}
	if p.Peer != "" {
		words = append(words, p.Peer)
	}
	return tpctl(topology.KindRouterPort, "add", words...)
}

// unplug returns the commands that take a router port away, and the switch port
// that it is plugged into.
func (a *audit) unplug(p topology.RouterPort) []string {
	commands := []string{a.del(p.Key())}
	if sp, ok := a.plugged(p); ok {
		commands = append(commands, a.del(sp.Key()))
	}
	return commands
}
