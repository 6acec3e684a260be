package modes

import "github.com/urfave/cli/v2"

// gatewayCommand is the agent of an edge: GATEWAY=1 ONDEMAND=0 tuplenet agent.
func gatewayCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeGateway),
		Usage: "run the agent of an edge, a host that leads to the physical network (also: GATEWAY=1 ONDEMAND=0 tuplenet)",
		Description: "It does what the agent does and, for the routers that are pinned to this host, what an edge has to:\n" +
			"it joins br-int to the bridges that `tpctl patchport add` names, answers for addresses on the\n" +
			"physical network and translates. `tpctl edge` builds such a road with all that belongs to it.\n\n" +
			example("tuplenet gateway --interface eth0 --host 192.168.1.10:2379"),
		Flags:  agentFlags(),
		Action: func(c *cli.Context) error { return runAgent(c, true) },
	}
}
