package ctl

import (
	"slices"

	"tuplenet/internal/topology"
)

// All returns the commands in the order in which help lists them.
func All() []Command {
	return withListFlags(slices.Concat([]Command{
		{
			Object: "ls", Verb: "add", Alias: "a", Args: []string{"SWITCH"}, Flags: []Flag{securityFlag},
			Usage:   "create a logical switch",
			Notes:   "With --port-security all its ports have port security, those included that are made later.",
			Example: "tpctl ls add LS-A",
			run:     addSwitch,
		},
		{
			Object: "ls", Verb: "del", Alias: "d", Args: []string{"SWITCH"}, Flags: []Flag{recursiveFlag, networksFlag},
			Usage: "delete a logical switch",
			Notes: "A switch with ports is deleted with -r only, after a \"yes\" on the terminal or from standard input. Containers whose ports go with it are named, and so are ports of routers that lead nowhere without it: \"tpctl lrp del\" deletes these.\n" +
				"A switch that Docker networks are on is deleted with --force only, and then TupleNet forgets these, too; \"docker network rm\" is the way.",
			Example: "echo yes | tpctl ls del -r LS-A",
			run:     deleteSwitch,
		},
		{
			Object: "ls", Verb: "show", Alias: "s", Args: []string{"[SWITCH]"},
			Usage:   "show one or all logical switches",
			Notes:   "Of a switch that Docker networks are on it also shows these: their names in Docker, and the hosts that made them; one is shown as removed if Docker has removed it and the switch is still in use. SWITCH may be such a name, too.",
			Example: "tpctl ls show",
			list:    listSwitches, fields: []string{"name", "id", "security", "docker"},
		},
		provisionCommand(), unprovisionCommand(),
		{
			Object: "ls", Verb: "port-security", Args: []string{"SWITCH", "on|off"},
			Usage:   "switch port security of all ports of a logical switch on or off",
			Notes:   "Off leaves on what ports have themselves, see \"tpctl lsp port-security\".",
			Example: "tpctl ls port-security LS-A on",
			run:     secureSwitch,
		},
		{
			Object: "lsp", Verb: "add", Alias: "a", Args: []string{"SWITCH", "PORT", "IP", "[MAC]", "[PEER]"}, Flags: []Flag{parentFlag, tagFlag, securityFlag, orphanFlag},
			Usage: "create a port of a logical switch",
			Notes: "Without MAC, or with \"\" for it, the port gets f2:01 and the four bytes of its address. PEER is the router port that it is plugged into.\n" +
				"The address 255.255.255.255 makes an outer port, which leads to the physical network; its MAC is ff:ff:ff:ff:ff:ee.\n" +
				"With --parent it is the port of a workload within the virtual machine or container that is plugged in at another port, such as \"tpctl lsp add ls-pods web 10.40.1.10 --parent vm1 --tag 10\". It has a switch, an address and routes of its own; " +
				"its packets pass through the parent's interface with a VLAN tag.",
			Example: "tpctl lsp add LS-A lsp-alice 10.20.1.10 f2:01:00:00:00:01",
			run:     addSwitchPort,
		},
		{
			Object: "lsp", Verb: "del", Alias: "d", Args: []string{"SWITCH", "PORT"}, Flags: []Flag{usedFlag},
			Usage:   "delete a port of a logical switch",
			Notes:   "A container's port, which goes with the container, a port that others are children of, and one that links a Docker network to its router are deleted with --force only. PORT may be the first 12 digits, or more, of the id that Docker gave it.",
			Example: "tpctl lsp del LS-A lsp-alice",
			run:     deleteSwitchPort,
		},
		{
			Object: "lsp", Verb: "show", Alias: "s", Args: []string{"SWITCH", "[PORT]"}, Flags: []Flag{allFlag},
			Usage:   "show one or all ports of a logical switch",
			Notes:   "Of a child it also shows parent and tag, of a container's port the owner, of a port that \"tpctl ls provision\" made the pool, and where port security is on, that; of a port that a container of Docker has, the name of the network. SWITCH may be such a name, too, and PORT the first 12 digits, or more, of the id that Docker gave it.",
			Example: "tpctl lsp show LS-A",
			list:    listSwitchPorts, fields: []string{"name", "ip", "mac", "peer", "chassis", "parent", "tag", "security", "owner", "pool", "docker", "switch"},
		},
		{
			Object: "lsp", Verb: "port-security", Args: []string{"SWITCH", "PORT", "on|off"},
			Usage:   "switch port security of a port on or off",
			Notes:   "With port security only packets with the port's own MAC and address come from it: what a workload sends under another's name is dropped.",
			Example: "tpctl lsp port-security LS-A lsp-alice on",
			run:     securePort,
		},
		{
			Object: "lr", Verb: "add", Alias: "a", Args: []string{"ROUTER", "[CHASSIS]"}, Flags: []Flag{forceFlag},
			Usage: "create a logical router",
			Notes: "With CHASSIS, the system-id of a host, the router lives on that host alone; without, on every host. " +
				"\"tpctl ch show\" lists the chassis that have a record.",
			Example: "tpctl lr add LR-edge1 edge1-node",
			run:     addRouter,
		},
		{
			Object: "lr", Verb: "del", Alias: "d", Args: []string{"ROUTER"}, Flags: []Flag{recursiveFlag, networksFlag},
			Usage:   "delete a logical router",
			Notes:   "A router with ports, routes or NAT rules is deleted with -r only, after a \"yes\" on the terminal or from standard input; one that Docker networks are linked to with --force only.",
			Example: "echo yes | tpctl lr del -r LR-central",
			run:     deleteRouter,
		},
		{
			Object: "lr", Verb: "link", Args: []string{"ROUTER", "SWITCH", "CIDR"},
			Usage:   "plug a logical router into a logical switch",
			Notes:   "Creates the switch port SWITCH_to_ROUTER and the router port ROUTER_to_SWITCH with the address in CIDR, whose prefix length is that of the switch's network. Where one of the two is left it creates the other.",
			Example: "tpctl lr link LR-central LS-A 10.20.1.1/24",
			run:     linkRouter,
		},
		{
			Object: "lr", Verb: "show", Alias: "s", Args: []string{"[ROUTER]"},
			Usage:   "show one or all logical routers",
			Example: "tpctl lr show LR-central",
			list:    listDevices(topology.KindRouter), fields: []string{"name", "id", "chassis"},
		},
		{
			Object: "lrp", Verb: "add", Alias: "a", Args: []string{"ROUTER", "PORT", "CIDR", "[MAC]", "[PEER]"},
			Usage: "create a port of a logical router",
			Notes: "CIDR is the port's address and the prefix length of the network that it is in. Without MAC, or with \"\" for it, the port gets f2:01 and the four bytes of its address. " +
				"PEER is the switch port that it is plugged into.",
			Example: "tpctl lrp add LR-central LR-central_to_LS-A 10.20.1.1/24",
			run:     addRouterPort,
		},
		{
			Object: "lrp", Verb: "del", Alias: "d", Args: []string{"ROUTER", "PORT"}, Flags: []Flag{networksFlag},
			Usage:   "delete a port of a logical router",
			Notes:   "One that links a Docker network to the router is deleted with --force only.",
			Example: "tpctl lrp del LR-central LR-central_to_LS-A",
			run:     deleteRouterPort,
		},
		{
			Object: "lrp", Verb: "show", Alias: "s", Args: []string{"ROUTER", "[PORT]"}, Flags: []Flag{allFlag},
			Usage:   "show one or all ports of a logical router",
			Example: "tpctl lrp show LR-central",
			list:    listChildren(topology.KindRouterPort), fields: []string{"name", "ip", "prefix", "mac", "peer", "router"},
		},
		{
			Object: "lsr", Verb: "add", Alias: "a", Args: []string{"ROUTER", "NAME", "CIDR", "NEXT_HOP", "OUT_PORT"},
			Usage: "create a static route of a logical router",
			Notes: "What goes to CIDR is sent by the router's port OUT_PORT to NEXT_HOP, an address in that port's network. " +
				"Routes with one CIDR and one NEXT_HOP through different ports share the traffic.",
			Example: "tpctl lsr add LR-edge1 to_ext_world1 0.0.0.0/0 192.168.1.1 LR-edge1_to_outside1",
			run:     addRoute,
		},
		{
			Object: "lsr", Verb: "del", Alias: "d", Args: []string{"ROUTER", "NAME"},
			Usage:   "delete a static route of a logical router",
			Example: "tpctl lsr del LR-edge1 to_ext_world1",
			run:     deleteRoute,
		},
		{
			Object: "lsr", Verb: "show", Alias: "s", Args: []string{"ROUTER", "[NAME]"}, Flags: []Flag{allFlag},
			Usage:   "show one or all static routes of a logical router",
			Example: "tpctl lsr show LR-edge1",
			list:    listChildren(topology.KindStaticRoute), fields: []string{"name", "ip", "prefix", "next_hop", "outport", "router"},
		},
		{
			Object: "lnat", Verb: "add", Alias: "a", Args: []string{"ROUTER", "NAME", "CIDR", "snat|dnat", "IP"},
			Usage: "create a NAT rule of a logical router",
			Notes: "CIDR is always the internal side and IP the external address. snat hides what leaves CIDR behind IP; several rules with one CIDR are a pool of addresses. " +
				"dnat leads what comes for IP to the one address of CIDR. An snat and a dnat of one address and one IP are a floating IP, which keeps no connections.",
			Example: "tpctl lnat add LR-edge1 snat_rule1 10.20.0.0/16 snat 192.168.1.30",
			run:     addNAT,
		},
		{
			Object: "lnat", Verb: "del", Alias: "d", Args: []string{"ROUTER", "NAME"},
			Usage:   "delete a NAT rule of a logical router, and with it its connections",
			Example: "tpctl lnat del LR-edge1 snat_rule1",
			run:     deleteNAT,
		},
		{
			Object: "lnat", Verb: "show", Alias: "s", Args: []string{"ROUTER", "[NAME]"}, Flags: []Flag{allFlag},
			Usage:   "show one or all NAT rules of a logical router",
			Example: "tpctl lnat show LR-edge1",
			list:    listChildren(topology.KindNAT), fields: []string{"name", "ip", "prefix", "xlate_type", "xlate_ip", "router"},
		},
		{
			Object: "patchport", Verb: "add", Alias: "a", Args: []string{"SWITCH", "PORT", "CHASSIS", "BRIDGE"}, Flags: []Flag{forceFlag},
			Usage: "create the port of a logical switch that leads to the physical network",
			Notes: "The agent of CHASSIS joins br-int and BRIDGE, which holds the NIC to the physical network, by a pair of patch ports. " +
				"To make that pair by hand, create the port with \"tpctl lsp add SWITCH PORT 255.255.255.255\".",
			Example: "tpctl patchport add outside1 patchport-outside1 edge1-node br0",
			run:     addPatchPort,
		},
		{
			Object: "patchport", Verb: "del", Alias: "d", Args: []string{"SWITCH", "PORT"},
			Usage:   "delete a port that leads to the physical network",
			Example: "tpctl patchport del outside1 patchport-outside1",
			run:     deletePatchPort,
		},
		{
			Object: "patchport", Verb: "show", Alias: "s", Args: []string{"SWITCH", "[PORT]"}, Flags: []Flag{allFlag},
			Usage:   "show one or all ports of a logical switch that lead to the physical network",
			Example: "tpctl patchport show outside1",
			list:    listPatchPorts, fields: []string{"name", "ip", "mac", "peer", "chassis", "switch"},
		},
		{
			Object: "ch", Verb: "del", Alias: "d", Args: []string{"NAME|IP"},
			Usage: "take a chassis out, by its system-id or its tunnel address",
			Notes: "Deletes its record, and the other hosts drop their tunnels to it. If its agent does not run, the ports that were plugged in there are released, too; " +
				"patch ports and routers that somebody bound to it are named and stay. An agent that runs does not write the record again until it is restarted.",
			Example: "tpctl ch del 192.168.1.11",
			run:     deleteChassis,
		},
		{
			Object: "ch", Verb: "show", Alias: "s", Args: []string{"[NAME]"},
			Usage: "show one or all chassis",
			Notes: "A chassis is up now, stopped (for a few seconds after its agent was stopped), or down, with the time since when (15 to 20 s after its agent was killed); of agents that do not tell nothing is said. " +
				"A contender is the address of another host that was refused, as it has the same system-id.",
			Example: "tpctl ch show",
			list:    listChassis, fields: []string{"name", "ip", "tick", "mtu", "state", "since", "contender"},
		},
		{
			Object: "edge", Verb: "init", Flags: initFlags, steps: true,
			Usage: "build the first road between the virtual and the physical network",
			Notes: "Shows the commands that build it, asks, and carries them out: the edge router, pinned to CHASSIS, between two switches, one with a patch port to BRIDGE, one that leads to the central router; " +
				"routes; NAT of the virtual network, if --snat says so; and at the end the central router's default route. Run again after a failure, it goes on where it stopped.",
			Example: "tpctl edge init --vip 192.168.1.20/24 --phy-br br0 --virt 10.20.0.0/16 --inner 100.64.88.100/24 --ext-gw 192.168.1.1 --snat 192.168.1.30",
			run:     edgeInit,
		},
		{
			Object: "edge", Verb: "add", Flags: addFlags, steps: true,
			Usage: "build another road beside one that is there",
			Notes: "Copies an existing road's routes and floating IPs to a new edge, and at the end gives the central router the same route through it, so that both share the traffic. " +
				"Where the other edge has snat rules, the new one needs addresses of its own (--snat), or --no-snat.",
			Example: "tpctl edge add --vip 192.168.1.21/24 --phy-br br0 --snat 192.168.1.31",
			run:     edgeAdd,
		},
		{
			Object: "edge", Verb: "remove", Flags: removeFlags, steps: true,
			Usage:   "take a road away",
			Notes:   "Deletes the central router's route first, waits for the traffic to leave, then deletes the rest.",
			Example: "tpctl edge remove --vip 192.168.1.21",
			run:     edgeRemove,
		},
	}, traceCommands(), flowCommands(), topologyCommands(), fileCommands(), statusCommands(), auditCommands(), authCommands(), toolboxCommands()))
}
