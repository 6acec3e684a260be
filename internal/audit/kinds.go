package audit

import (
	"fmt"
	"strings"
)

// Severity tells how bad a finding is.
type Severity uint8

// The severities, in their order.
const (
	Note    Severity = iota + 1 // untidy; no packet notices
	Warning                     // it will bite, or does so in some cases
	Error                       // packets are lost or go astray
)

var severities = [...]string{Note: "note", Warning: "warning", Error: "error"}

// String returns the severity's word.
func (s Severity) String() string { return severities[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// ParseSeverity is String's inverse.
func ParseSeverity(word string) (Severity, error) {
	for s := Note; s <= Error; s++ {
		if s.String() == word {
			return s, nil
		}
	}
	return 0, fmt.Errorf("invalid severity %q, want error, warning or note", word)
}

// Kind is one sort of inconsistency. Kinds are ordered as they are listed.
type Kind uint8

// The kinds.
const (
	UnreadableValue Kind = iota + 1
	ParentMissing
	PeerMissing
	PeerOneSided
	RouterPortUnplugged
	LinkMismatch
	ChildParentMissing
	ChildParentUnfit
	DuplicateID
	DuplicatePort
	PortUnusable
	DuplicateRoute
	DuplicateNAT
	DuplicateTunnelAddress
	NetworkShadowed
	NetworksOverlap
	NetworkTooWide
	AddressOutside
	ExternalAddressTwice
	RouteDead
	NextHopNobody
	NextRouterNoWay
	RouteLoop
	RouteUnused
	RouteOverNetwork
	NATDead
	NATOverlap
	NATWithin
	FloatingIPMissing
	ChassisGone
	PatchPortGone
	RouterPinnedGone
	AttachmentLeaked
	PoolNodeMissing
	DockerSwitchMissing
	DockerLinkMissing
	DockerGatewayMissing
	DockerRecordUnreadable
	DockerNetworkLeaked
	DockerNetworkUnlisted
	DockerNetworkUnrecorded
	DockerEndpointLeaked
	DockerReservationLeft
	DockerReservationOld
	ChassisUnregistered
	ChassisDown
	ChassisDownIdle
	DownContradicted
	DownLeftover
	StaleLiveness
	SystemIDTwice
	MTUDiffers
	DeviceIDsMissing
	DeviceIDsDamaged
	DeviceIDUnlisted
	DeviceIDLeaked
	IPBookDamaged
	AddressUnlisted
	AddressLeaked
	VersionMissing
	StaleCommand
	StrangeKey
	lastKind = iota
)

// about is what there is to know of a kind. All but Severity are sentences.
type about struct {
	Word     string // that it is known by
	Severity Severity
	Means    string // what is wrong
	Effect   string // what it does to traffic
	Mend     string // what the remedy does, and what else there is to do
}

var kinds = [...]about{
	UnreadableValue: {"unreadable-value", Error, "The value of an object cannot be used.",
		"An agent that has known an earlier value goes on with that one; one that starts now does without the object.",
		"Describe what was meant in a file for tpctl apply, or delete the object. A switch or router gets a free id that way, as what hangs on it is to stay. What says whether a chassis is alive is deleted by --repair."},
	ParentMissing: {"parent-missing", Error, "Ports, routes or NAT rules are kept under the name of a switch or router that does not exist.",
		"They do nothing until it is made again; packets to such ports are lost.",
		"Make the switch or router again, or delete what is there."},
	PeerMissing: {"peer-missing", Error, "A port names a peer that does not exist.",
		"The router and the switch are not joined: no packet passes between them.",
		"Make the other end again, or delete the end that is left."},
	PeerOneSided: {"peer-one-sided", Error, "A port names a peer that does not name it back.",
		"The router and the switch are not joined: no packet passes between them.",
		"Make the end that names nobody again, with its peer; give an end whose peer belongs to another, or to a workload, another peer, or delete it. --repair does neither, as to join two networks may be what nobody wanted."},
	RouterPortUnplugged: {"router-port-unplugged", Warning, "A router port has no peer, and no switch port names it.",
		"It leads nowhere; the router drops what goes to its network.", "Plug it in, or delete it."},
	LinkMismatch: {"link-mismatch", Error, "The two ends of a link have different addresses or MACs.",
		"Workloads find another gateway than there is.", "Make the switch's end again as the router's end is."},
	ChildParentMissing: {"child-parent-missing", Error, "A child port names a parent that does not exist.",
		"No packet reaches it: there is no interface that its packets pass through.", "Make the parent again, or delete the child."},
	ChildParentUnfit: {"child-parent-unfit", Error, "The parent of a child port is one that no host is plugged into: a child itself, a router's port, or one to the physical network.",
		"No packet reaches it.", "Give it the port of its host as parent, or delete it."},
	DuplicateID: {"duplicate-id", Error, "Two switches or routers have one id.",
		"The one that was created later is ignored, with all that hangs on it.", "Give it an id of its own (--repair does)."},
	DuplicatePort: {"duplicate-port", Error, "Two ports have one address, port id (the low 16 bits of the address) or MAC in a switch or router, one tag at a parent, or one name anywhere.",
		"The one that was created later is ignored: packets to it are lost or reach the other one.", "Give it another address, MAC, tag or name, or delete it."},
	PortUnusable: {"port-unusable", Error, "A port has an address or MAC that no machine can have.",
		"Packets to it are lost.", "Give it another one, or delete it."},
	DuplicateRoute: {"duplicate-route", Warning, "Two static routes of a router are equal but for their names.",
		"None; when one is deleted the packets still go that way.", "Delete the one that was created later."},
	DuplicateNAT: {"duplicate-nat", Warning, "Two NAT rules of a router are equal but for their names, or two dnat rules have one external address.",
		"The one that was created later is ignored.", "Delete it."},
	DuplicateTunnelAddress: {"duplicate-tunnel-address", Warning, "Two chassis have one tunnel address.",
		"The one that registered last has it; packets to ports that are bound to the other are lost.", "Give one of the hosts another address, or, if the other is gone for good, delete its record."},
	NetworkShadowed: {"network-shadowed", Error, "The network of a router port overlaps that of another port of the router, and there are workloads whose packets go by the other one.",
		"The router does not find these workloads.", "Give one of the networks other addresses, or take the port away."},
	NetworksOverlap: {"networks-overlap", Warning, "A network of a router lies within another of the same router.",
		"The smaller one takes the packets, also those to workloads that are yet to come in the larger one.", "Give one of the networks other addresses, or take the port with the smaller one away."},
	NetworkTooWide: {"network-too-wide", Warning, "The network of a router port is wider than /16.",
		"Ports are told apart by the low 16 bits of their addresses: two that agree in these will collide.", "Make the port again with /16."},
	AddressOutside: {"address-outside", Warning, "A workload's address is in none of the networks of its switch's routers.",
		"No router finds it: it talks to its switch alone.", "Give it an address of the network, or delete it."},
	ExternalAddressTwice: {"external-address-twice", Error, "Two routers announce one address in one physical network, or on one switch between routers. (A floating IP may be served by any number of edges.)",
		"Packets to it reach now the one, now the other, and answers get lost.", "Give the second another one, or take it away."},
	RouteDead: {"route-dead", Error, "A static route cannot work as it is stored.",
		"Packets to its network take another route or are dropped.", "Make the port that it needs again, or give it another next hop or output port; or delete it."},
	NextHopNobody: {"next-hop-nobody", Error, "Nobody has a route's next hop's address, and its switch does not lead to the physical network.",
		"Packets to its network are dropped.", "Make the port that it leads to, or one to the physical network; or delete the route."},
	NextRouterNoWay: {"next-router-no-way", Error, "The router that a route leads to knows no part of the route's network.",
		"It drops all of these packets.", "Give that router one, or delete the route."},
	RouteLoop: {"route-loop", Warning, "Routes of several routers to one network lead round in a circle.",
		"Packets to what none of the routers has a closer route to go round until their TTL ends.", "Lead one of the routes elsewhere, or delete it."},
	RouteUnused: {"route-unused", Warning, "Of several routes to one network this one gets no packets.",
		"None now; it takes over when the others go, and not when their next hops fail.", "Leave it if that is what it is for, or delete it."},
	RouteOverNetwork: {"route-over-network", Warning, "A static route has the network of a port of its own router.",
		"All packets to that network go to the route's next hop, and none to the workloads that are there.", "Give it another network, or delete it."},
	NATDead: {"nat-dead", Error, "A NAT rule cannot work as it is stored.",
		"Packets leave with their own addresses, or do not find in.", "Give it another address, or delete it."},
	NATOverlap: {"nat-overlap", Warning, "The network of an snat rule lies in that of another.",
		"Workloads in the smaller one leave under its external address, and not under that of the larger one.", "Give it another network, a single address for an exception, or delete it."},
	NATWithin: {"nat-within", Warning, "The external address of a NAT rule lies within its internal network.",
		"The workload that has it, now or later, is cut off.", "Give it an address of the physical network, or delete it."},
	FloatingIPMissing: {"floating-ip-missing", Warning, "Of several edges that share traffic one lacks a floating IP that another has.",
		"Answers that leave by it carry the internal address, and are lost.", "Give it the same rules."},
	ChassisGone: {"chassis-gone", Error, "Ports are bound to a chassis that has no record.",
		"There is no tunnel to it: packets to these ports are dropped.", "Start the agent of that chassis; or, if the host is gone for good, release the ports (--repair does): an agent binds them again when they are plugged in."},
	PatchPortGone: {"patch-port-gone", Error, "A patch port is bound to a chassis that has no record.",
		"Its switch has no way to the physical network.", "Start the agent of that chassis; or, if the host is gone for good, delete the port."},
	RouterPinnedGone: {"router-pinned-gone", Error, "A router is pinned to a chassis that has no record.",
		"Routes that lead to it are not used; what has no other is dropped.", "Start the agent of that chassis; or, if the host is gone for good, take its road away, or the router."},
	AttachmentLeaked: {"attachment-leaked", Note, "A port belongs to a container, but to no host any more: its chassis has been taken out.",
		"None; but its address is not given out again.", "Start the agent of its host, if that still runs; or delete the port."},
	PoolNodeMissing: {"pool-node-missing", Warning, "Ports were made in advance for a node that is neither a chassis with a record nor a switch port.",
		"None; but no container gets their addresses.", "Start the agent of that node, or make its port; or delete the ports."},
	DockerSwitchMissing: {"docker-switch-missing", Error, "The switch of a Docker network does not exist.",
		"Its containers reach nobody, and none can be attached.", "Remove the network in Docker, and make it again; a switch that was not made for it can be made again instead. If Docker does not know the network any more, delete its record."},
	DockerLinkMissing: {"docker-link-missing", Error, "The link of a Docker network to its router is gone, or half of it.",
		"Its containers reach nobody outside of it.", "Make again what is missing."},
	DockerGatewayMissing: {"docker-gateway-missing", Warning, "Nobody has the gateway's address of a Docker network whose switch has a router.",
		"Its containers find no way out of it.", "Give a router that address, or remove the network in Docker and make it again with a gateway that there is."},
	DockerRecordUnreadable: {"docker-record-unreadable", Warning, "What the plugin for Docker keeps cannot be read.",
		"None; but no container can be attached to that network, or nobody gets that address.", "Delete it; Docker can then remove the network. A reservation is deleted by --repair."},
	DockerNetworkLeaked: {"docker-network-leaked", Note, "No Docker knows a network any more: the only host that did is gone, or Docker has removed it.",
		"None; but its switch and its subnet stay.", "Start the agent of that host, and remove the network in Docker there; or, if the host is gone for good, delete it. The plugin on any host ends what Docker has removed."},
	DockerNetworkUnlisted: {"docker-network-unlisted", Note, "The Docker that a network was made for has never said that it has it: it was killed in that moment, or the plugin on its host cannot reach it.",
		"None; but its switch and its subnet stay.", "See whether Docker on that host lists it, and delete it if not; otherwise see what the plugin there says of Docker (tpcnm --check)."},
	DockerNetworkUnrecorded: {"docker-network-unrecorded", Note, "A switch without workloads has the name of a Docker network of which there is no record: it is one of the original TupleNet, or was left behind.",
		"None.", "Leave it if a Docker knows it, or delete it."},
	DockerEndpointLeaked: {"docker-endpoint-leaked", Note, "Ports belong to containers of a Docker network that there is no record of.",
		"None; but their addresses are not given out again.", "Leave them as long as their containers run; or delete them."},
	DockerReservationLeft: {"docker-reservation-left", Note, "What was reserved for Docker is still reserved, though its host is gone, or something has it by now.",
		"None; but it stays taken.", "End the reservation (--repair does)."},
	DockerReservationOld: {"docker-reservation-old", Note, "What was reserved for Docker long ago still has nothing that has it. (A virtual address of a service, and an auxiliary address of a network, never have.)",
		"None; but it stays taken.", "Leave it if Docker lists it; the plugin on its host ends it otherwise, when it runs; or delete it."},
	ChassisUnregistered: {"chassis-unregistered", Error, "The agent of a chassis runs, but it has no record: it has been deleted, or the agent has not finished its start.",
		"Others have no tunnel to it.", "Restart the agent on that host."},
	ChassisDown: {"chassis-down", Error, "A chassis is down, and ports or routers depend on it.",
		"Packets to them are lost unless the host still forwards without its agent.", "Start its agent; or, if the host is gone for good, delete its record, which releases its ports."},
	ChassisDownIdle: {"chassis-down-idle", Note, "A chassis is down, and nothing depends on it.",
		"None.", "Start its agent; or, if the host is gone for good, delete its record."},
	DownContradicted: {"down-contradicted", Warning, "A chassis is declared down, but its agent runs.",
		"Others do not redirect packets to it.", "Delete the declaration (--repair does)."},
	DownLeftover: {"down-leftover", Note, "A chassis without a record is declared down.",
		"None.", "Delete the declaration (--repair does)."},
	StaleLiveness: {"stale-liveness", Warning, "What an agent says of itself has no lease: somebody else wrote it.",
		"The chassis counts as alive, or as contended, for ever.", "Delete the key (--repair does); an agent that runs writes it again."},
	SystemIDTwice: {"system-id-twice", Warning, "A second host with the system-id of a chassis that is alive wants to take part.",
		"The second host takes no part.", "Give the second host a system-id of its own."},
	MTUDiffers: {"mtu-differs", Warning, fmt.Sprintf("The tunnels of a chassis have room for packets that differ from those of most by more than %d bytes.", mtuSpan),
		"Large packets within a switch are lost between this host and the others; routed ones are fragmented or refused.", "Give the host's NIC the MTU of the others."},
	DeviceIDsMissing: {"device-ids-missing", Note, "The book of ids is missing.",
		"None; it is made when it is needed.", "Make it (--repair does)."},
	DeviceIDsDamaged: {"device-ids-damaged", Warning, "The book of ids cannot be read.",
		"None; but no switch or router can be made or deleted.", "Make it anew (--repair does)."},
	DeviceIDUnlisted: {"device-id-unlisted", Note, "The book of ids lacks that of a switch or router, as when others than tpctl made it.",
		"None; but the next switch or router may get the same id.", "Make it anew (--repair does)."},
	DeviceIDLeaked: {"device-id-leaked", Note, "The book of ids has one that no switch or router has.",
		"None; but it is not given out again.", "Make it anew (--repair does)."},
	IPBookDamaged: {"ip-book-damaged", Warning, "The book of addresses of a switch or router cannot be read.",
		"None; but no port can be made or deleted there.", "Make it anew (--repair does)."},
	AddressUnlisted: {"address-unlisted", Note, "The book of addresses lacks that of a port, as when others than tpctl made it.",
		"None; but the address may be given to a second port.", "Make it anew (--repair does)."},
	AddressLeaked: {"address-leaked", Note, "The book of addresses has one that no port has.",
		"None; but no port can get it.", "Make it anew (--repair does)."},
	VersionMissing: {"version-missing", Note, "The store does not say its version.",
		"None; but a later TupleNet may take it for an empty one.", "Write it (--repair does, and so does any command that makes something)."},
	StaleCommand: {"stale-command", Note, "What a tool has asked agents, or they have answered, has no lease.",
		"None.", "Delete the key (--repair does)."},
	StrangeKey: {"strange-key", Note, "A key has no place in TupleNet's layout.",
		"None: nobody reads it.", "Delete it with etcdctl if you know whose it is."},
}

func (k Kind) about() about { return kinds[k] }

// String returns the word that the kind is known by.
func (k Kind) String() string { return kinds[k].Word }

// MarshalText implements encoding.TextMarshaler.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Document returns the list of all kinds, in Markdown.
func Document() string {
	var sections []string
	for s := Error; s >= Note; s-- {
		section := "## " + strings.ToUpper(s.String()[:1]) + s.String()[1:] + "s\n"
		for k := UnreadableValue; k <= lastKind; k++ {
			if a := k.about(); a.Severity == s {
				section += fmt.Sprintf("\n**%s**: %s\n*Traffic:* %s\n*Remedy:* %s\n", a.Word, a.Means, a.Effect, a.Mend)
			}
		}
		sections = append(sections, section)
	}
	return strings.Join(sections, "\n")
}
