package store

import (
	"strings"

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

// alive returns the key that says that a chassis is alive; see Presence.
func (l layout) alive(chassis string) string { return string(l) + "alive/" + chassis }

// groups are the directories that switches, routers and chassis are kept in.
func (l layout) group(kind topology.Kind) string {
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
	return l.collection(key.Kind, key.Parent) + key.Name
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
		return topology.Key{}, false
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

// parentOf returns the key of the switch or router that key hangs on.
func parentOf(key topology.Key) topology.Key {
	return topology.Key{Kind: key.Kind.Parent(), Name: key.Parent}
}
