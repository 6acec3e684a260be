package flows

// Table is the number of an OpenFlow table.
type Table uint8

// The tables in the order in which packets walk them. To add one, add a line
// to the constants and one to the list. Numbers leave gaps, and a table keeps its number for
// good: a restarted agent of a later version then finds its flows where they
// were, and replaces none of them.
const (
	TableClassify Table = 0  // physical to logical
	TableArrival  Table = 10 // out of a tunnel: at its destination, or to be forwarded

	// Switch ingress, on the chassis where the packet enters a switch.
	TableSwitchSecurity Table = 98  // what a secured port may send
	TableSwitchARP      Table = 100 // ARP requests
	TableSwitchTarget   Table = 102 // ARP requests in a block of addresses that somebody has
	TableSwitchHook     Table = 201 // third parties' (the number is part of the contract)
	TableSwitchDirect   Table = 202 // to the host's own stack, if untunnel mode is on
	TableSwitchLookup   Table = 204 // destination port and its chassis
	TableSwitchOutput   Table = 206 // to another chassis: is it there, does it fit?
	TableTunnel         Table = 207 // into the tunnel

	// Switch egress, on the chassis that has the destination port.
	TableSwitchLoopback Table = 208 // nothing returns to its port unasked
	TableSwitchDeliver  Table = 210 // to the interface or to the peer router

	// Router ingress.
	TableRouterAdmit      Table = 214 // what is meant for the router itself
	TableRouterLocal      Table = 216 // answers for the router itself; NAT on entering
	TableRouterInside     Table = 220 // an snat address after connection tracking
	TableRouterTranslated Table = 222 // a dnat address after it
	TableRouterRoute      Table = 224 // next hop and router port
	TableRouterConnected  Table = 225 // in the network of a port: is anybody there?
	TableRouterPath       Table = 226 // of several next hops, the chosen one

	// Router egress.
	TableRouterReply   Table = 227 // answers of what a dnat rule leads to
	TableRouterNAT     Table = 228 // NAT on leaving
	TableRouterPool    Table = 229 // of several NAT addresses, the chosen one
	TableRouterOutside Table = 230 // what connection tracking made of a source
	TableRouterForward Table = 234 // from the router port into its switch
	TableNeighbour     Table = 236 // MAC of the next hop, or of an ARP request's target
	TableNeighbourDone Table = 238 // on to the switch, or back as an ARP reply

	// What this node cannot deliver.
	TableRedirect Table = 244 // to an edge that may
	TableWanted   Table = 246 // to the agent, which sees to it that it can

	TableDrop    Table = 252 // the one flow with actions=drop: its counter counts all drops
	TableForeign Table = 253 // frames of the physical network that are nobody's here, counted apart
)

// TableInfo describes a table to people.
type TableInfo struct {
	Table Table
	Name  string
	Miss  Table // where a packet goes that no flow of the table matches; 0: a rule says
}

// Tables lists all tables in order.
var Tables = []TableInfo{
	{TableClassify, "classify", TableDrop},
	{TableArrival, "arrival", TableSwitchLoopback},
	{TableSwitchSecurity, "switch-security", TableDrop},
	{TableSwitchARP, "switch-arp", TableSwitchHook},
	{TableSwitchTarget, "switch-target", 0},
	{TableSwitchHook, "switch-hook", TableSwitchDirect},
	{TableSwitchDirect, "switch-direct", TableSwitchLookup},
	{TableSwitchLookup, "switch-lookup", 0},
	{TableSwitchOutput, "switch-output", TableTunnel},
	{TableTunnel, "tunnel", 0},
	{TableSwitchLoopback, "switch-loopback", TableSwitchDeliver},
	{TableSwitchDeliver, "switch-deliver", TableDrop},
	{TableRouterAdmit, "router-admit", TableDrop},
	{TableRouterLocal, "router-local", TableDrop},
	{TableRouterInside, "router-inside", TableRouterTranslated},
	{TableRouterTranslated, "router-translated", 0},
	{TableRouterRoute, "router-route", 0},
	{TableRouterConnected, "router-connected", 0},
	{TableRouterPath, "router-path", 0},
	{TableRouterReply, "router-reply", TableRouterNAT},
	{TableRouterNAT, "router-nat", TableRouterForward},
	{TableRouterPool, "router-pool", TableDrop},
	{TableRouterOutside, "router-outside", TableRouterForward},
	{TableRouterForward, "router-forward", TableDrop},
	{TableNeighbour, "neighbour", TableDrop},
	{TableNeighbourDone, "neighbour-done", 0},
	{TableRedirect, "redirect", 0},
	{TableWanted, "wanted", 0},
	{TableDrop, "drop", 0},
	{TableForeign, "foreign", 0},
}

// String returns the table's name.
func (t Table) String() string {
	for _, i := range Tables {
		if i.Table == t {
			return i.Name
		}
	}
	return "unknown"
}
