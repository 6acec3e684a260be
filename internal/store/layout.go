package store

import (
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tuplenet/internal/topology"
)

// layout is the prefix of all keys, with its trailing slash, and knows where
// things are kept under it.
type layout string

func newLayout(prefix string) layout {
	if prefix == "" {
		prefix = "/tuplenet"
	}
	return layout(strings.TrimSuffix(prefix, "/") + "/")
}

// version is the layout's number in globals/version.
const version = 1

func (l layout) version() string   { return string(l) + "globals/version" }
func (l layout) deviceIDs() string { return string(l) + "globals/device_ids" }
func (l layout) entities() string  { return string(l) + "entity_view/" }

// commands is the directory of what the agent of a chassis is asked to do.
func (l layout) commands(chassis string) string {
	return string(l) + "communicate/push/" + chassis + "/"
}

// answers is the directory of what agents have answered to commands.
func (l layout) answers() string { return string(l) + "communicate/cmd_result/" }

// answersBy is the directory of what the agent of a chassis has answered that may
// not write into that of all.
func (l layout) answersBy(chassis string) string {
	return string(l) + "communicate/answer/" + chassis + "/"
}

// allAnswers returns the range of keys of both.
func (l layout) allAnswers() (from, end string) {
	return string(l) + "communicate/answer/", clientv3.GetPrefixRangeEnd(l.answers())
}

// watched returns the range of keys that Watch looks at, from and including
// from, up to end: all entities. One range has one history and one order, which
// several would not have. What tools and agents talk about (communicate/) lies
// outside of it, and reaches those alone whom it concerns.
func (l layout) watched() (from, end string) {
	return string(l) + "contact/", clientv3.GetPrefixRangeEnd(l.entities())
}

// besides are the directories, in the range that is watched, of what agents
// write in places of their own: whether chassis are alive, and what is plugged in
// there.
var besides = map[topology.Kind]string{
	topology.KindPresence:  "contact/",
	topology.KindContender: "contender/",
	topology.KindAbsence:   "down/",
	topology.KindBinding:   "entity_bind/",
}

// group returns the directory that the entities of a kind are kept in, or the
// switches or routers that they hang on.
func (l layout) group(kind topology.Kind) string {
	if directory, ok := besides[kind]; ok {
		return string(l) + directory
	}
	switch kind {
	case topology.KindSwitch, topology.KindSwitchPort:
		return l.entities() + "LS/"
	case topology.KindChassis:
		return l.entities() + "chassis/"
	default:
		return l.entities() + "LR/"
	}
}

// collections are the directories under a switch or router, by what they hold.
var collections = map[topology.Kind]string{
	topology.KindSwitchPort:  "/lsp/",
	topology.KindRouterPort:  "/lrp/",
	topology.KindStaticRoute: "/lsr/",
	topology.KindNAT:         "/lnat/",
}

// collection returns the directory that the entities of a kind are kept in;
// parent is empty for what hangs on nothing.
func (l layout) collection(kind topology.Kind, parent string) string {
	return l.group(kind) + parent + collections[kind]
}

// Path returns the etcd key of an entity, for messages.
func (s *Store) Path(key topology.Key) string { return s.layout.path(key) }

// path returns the etcd key of an entity.
func (l layout) path(key topology.Key) string {
	if key.Kind == topology.KindBinding {
		return l.bindings(key.Parent) + key.Name
	}
	return l.collection(key.Kind, key.Parent) + key.Name
}

// bindings returns the directory of the bindings of a chassis.
func (l layout) bindings(chassis string) string {
	return l.group(topology.KindBinding) + chassis + "/"
}

// children returns the directory of everything that hangs on a switch or
// router.
func (l layout) children(key topology.Key) string { return l.path(key) + "/" }

// book returns the key that lists the addresses in use in a switch or router.
func (l layout) book(device topology.Key) string {
	if device.Kind == topology.KindSwitch {
		return string(l) + "ip_book/LS/" + device.Name
	}
	return string(l) + "ip_book/LR/" + device.Name
}

// key tells which entity an etcd key holds, if any. It is path's inverse.
func (l layout) key(path string) (topology.Key, bool) {
	rest, ok := strings.CutPrefix(path, l.entities())
	if !ok {
		return l.besideKey(path)
	}
	group, rest, _ := strings.Cut(rest, "/")
	name, rest, deep := strings.Cut(rest, "/")
	if name == "" {
		return topology.Key{}, false
	}
	if !deep {
		switch group {
		case "LS":
			return topology.Key{Kind: topology.KindSwitch, Name: name}, true
		case "LR":
			return topology.Key{Kind: topology.KindRouter, Name: name}, true
		case "chassis":
			return topology.Key{Kind: topology.KindChassis, Name: name}, true
		}
		return topology.Key{}, false
	}
	collection, child, _ := strings.Cut(rest, "/")
	if child == "" || strings.Contains(child, "/") {
		return topology.Key{}, false
	}
	key := topology.Key{Parent: name, Name: child}
	switch group + "/" + collection {
	case "LS/lsp":
		key.Kind = topology.KindSwitchPort
	case "LR/lrp":
		key.Kind = topology.KindRouterPort
	case "LR/lsr":
		key.Kind = topology.KindStaticRoute
	case "LR/lnat":
		key.Kind = topology.KindNAT
	default:
		return topology.Key{}, false
	}
	return key, true
}

// besideKey is key for what agents write in places of their own.
func (l layout) besideKey(path string) (topology.Key, bool) {
	for kind := range besides {
		if name, ok := strings.CutPrefix(path, l.group(kind)); ok {
			if kind == topology.KindBinding {
				chassis, port, _ := strings.Cut(name, "/")
				if sw, name, _ := strings.Cut(port, "/"); chassis == "" || sw == "" || name == "" || strings.Contains(name, "/") {
					return topology.Key{}, false
				}
				return topology.Key{Kind: kind, Parent: chassis, Name: port}, true
			}
			if name == "" || strings.Contains(name, "/") {
				return topology.Key{}, false
			}
			return topology.Key{Kind: kind, Name: name}, true
		}
	}
	return topology.Key{}, false
}
