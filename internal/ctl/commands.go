package ctl

// All returns the commands in the order in which help lists them.
func All() []Command {
	return []Command{
		{
			Object: "ls", Verb: "add", Alias: "a", Args: []string{"SWITCH"},
			Usage:   "create a logical switch",
			Example: "tpctl ls add LS-A",
			run:     addSwitch,
		},
		{
			Object: "ls", Verb: "del", Alias: "d", Args: []string{"SWITCH"}, Recursive: true,
			Usage:   "delete a logical switch",
			Notes:   "A switch with ports is deleted with -r only, after a \"yes\" on the terminal or from standard input.",
			Example: "echo yes | tpctl ls del -r LS-A",
			run:     deleteSwitch,
		},
		{
			Object: "ls", Verb: "show", Alias: "s", Args: []string{"[SWITCH]"},
			Usage:   "show one or all logical switches",
			Example: "tpctl ls show",
			run:     showSwitches,
		},
		{
			Object: "lsp", Verb: "add", Alias: "a", Args: []string{"SWITCH", "PORT", "IP", "[MAC]", "[PEER]"},
			Usage: "create a port of a logical switch",
			Notes: "Without MAC, or with \"\" for it, the port gets f2:01 and the four bytes of its address. PEER is the router port that it is plugged into.\n" +
				"The address 255.255.255.255 makes an outer port, which leads to the physical network; its MAC is ff:ff:ff:ff:ff:ee.",
			Example: "tpctl lsp add LS-A lsp-alice 10.20.1.10 f2:01:00:00:00:01",
			run:     addSwitchPort,
		},
		{
			Object: "lsp", Verb: "del", Alias: "d", Args: []string{"SWITCH", "PORT"},
			Usage:   "delete a port of a logical switch",
			Example: "tpctl lsp del LS-A lsp-alice",
			run:     deleteSwitchPort,
		},
		{
			Object: "lsp", Verb: "show", Alias: "s", Args: []string{"SWITCH", "[PORT]"},
			Usage:   "show one or all ports of a logical switch",
			Example: "tpctl lsp show LS-A",
			run:     showSwitchPorts,
		},
		{
			Object: "lr", Verb: "add", Alias: "a", Args: []string{"ROUTER", "[CHASSIS]"},
			Usage:   "create a logical router",
			Notes:   "With CHASSIS, the system-id of a host, the router lives on that host alone; without, on every host.",
			Example: "tpctl lr add LR-central",
			run:     addRouter,
		},
		{
			Object: "lr", Verb: "del", Alias: "d", Args: []string{"ROUTER"}, Recursive: true,
			Usage:   "delete a logical router",
			Notes:   "A router with ports, routes or NAT rules is deleted with -r only, after a \"yes\" on the terminal or from standard input.",
			Example: "echo yes | tpctl lr del -r LR-central",
			run:     deleteRouter,
		},
		{
			Object: "lr", Verb: "link", Args: []string{"ROUTER", "SWITCH", "CIDR"},
			Usage:   "plug a logical router into a logical switch",
			Notes:   "Creates the switch port SWITCH_to_ROUTER and the router port ROUTER_to_SWITCH with the address in CIDR, whose prefix length is that of the switch's network.",
			Example: "tpctl lr link LR-central LS-A 10.20.1.1/24",
			run:     linkRouter,
		},
		{
			Object: "lr", Verb: "show", Alias: "s", Args: []string{"[ROUTER]"},
			Usage:   "show one or all logical routers",
			Example: "tpctl lr show LR-central",
			run:     showRouters,
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
			Object: "lrp", Verb: "del", Alias: "d", Args: []string{"ROUTER", "PORT"},
			Usage:   "delete a port of a logical router",
			Example: "tpctl lrp del LR-central LR-central_to_LS-A",
			run:     deleteRouterPort,
		},
		{
			Object: "lrp", Verb: "show", Alias: "s", Args: []string{"ROUTER", "[PORT]"},
			Usage:   "show one or all ports of a logical router",
			Example: "tpctl lrp show LR-central",
			run:     showRouterPorts,
		},
		{
			Object: "ch", Verb: "del", Alias: "d", Args: []string{"NAME|IP"},
			Usage:   "delete the record of a chassis, by its system-id or its tunnel address",
			Notes:   "The other hosts drop their tunnels to it. Its agent does not write the record again until it is restarted.",
			Example: "tpctl ch del 192.168.1.11",
			run:     deleteChassis,
		},
		{
			Object: "ch", Verb: "show", Alias: "s", Args: []string{"[NAME]"},
			Usage:   "show one or all chassis",
			Example: "tpctl ch show",
			run:     showChassis,
		},
		{
			Object: "toolbox", Verb: "sync-device-map",
			Usage:   "make the map of ids in use what the switches and routers say",
			Notes:   "For a store into which others wrote switches or routers, or whose map is damaged.",
			Example: "tpctl toolbox sync-device-map",
			run:     syncDeviceMap,
		},
		{
			Object: "toolbox", Verb: "rebuild-ip-book",
			Usage:   "make the books of addresses in use what the ports say",
			Notes:   "For a store into which others wrote ports, or whose books are damaged.",
			Example: "tpctl toolbox rebuild-ip-book",
			run:     rebuildIPBooks,
		},
	}
}
