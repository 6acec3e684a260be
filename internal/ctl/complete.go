package ctl

import (
	"context"
	"slices"
	"strings"

	"tuplenet/internal/audit"
	"tuplenet/internal/store"
	"tuplenet/internal/topology"
	"tuplenet/internal/trace"
)

// ownKinds are the kinds of the objects that commands are about.
var ownKinds = map[string]topology.Kind{
	"ls":        topology.KindSwitch,
	"lsp":       topology.KindSwitchPort,
	"patchport": topology.KindSwitchPort,
	"lr":        topology.KindRouter,
	"lrp":       topology.KindRouterPort,
	"lsr":       topology.KindStaticRoute,
	"lnat":      topology.KindNAT,
	"ch":        topology.KindChassis,
}

// Complete returns, in order, the words beginning with prefix that may stand
// behind args, the command's arguments so far; or, if flag is not empty, as the
// value of the flag of that name. reach returns the store, for the names that it
// holds. It gives up in silence: what cannot be known is left out.
func (c Command) Complete(ctx context.Context, reach func() (*store.Store, error), flag string, args []string, prefix string) []string {
	word, before := c.argument(len(args)), ""
	if flag != "" {
		i := slices.IndexFunc(c.Flags, func(f Flag) bool { return f.Name == flag || slices.Contains(f.Aliases, flag) })
		if i < 0 {
			return nil
		}
		word = c.Flags[i].Value
		if c.Flags[i].Many {
			before = prefix[:strings.LastIndex(prefix, ",")+1]
			prefix = prefix[len(before):]
		}
	}
	var found []string
	switch {
	case word == removeVIPFlag.Value:
		found = roads(ctx, reach)
	case word == nodeFlag.Value:
		found = append(hostPorts(ctx, reach), namesOf(ctx, reach, []topology.Kind{topology.KindChassis}, topology.Key{}, prefix)...)
	case flag == parentFlag.Name:
		found = hostPorts(ctx, reach)
	case c.Object == "trace" && strings.Contains(word, "PORT"):
		found = Ports(ctx, reach)
	default:
		for one := range strings.SplitSeq(word, "|") {
			found = append(found, c.words(one)...)
			if kinds := c.kindsOf(one, flag == ""); len(kinds) > 0 {
				found = append(found, namesOf(ctx, reach, kinds, c.parentIn(args), prefix)...)
			}
		}
	}
	found = slices.DeleteFunc(found, func(s string) bool { return !strings.HasPrefix(s, prefix) })
	for i := range found {
		found[i] = before + found[i]
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// argument returns the name of the argument at i, without its brackets.
func (c Command) argument(i int) string {
	if n := len(c.Args); i >= n {
		if n == 0 || !strings.Contains(c.Args[n-1], "...") {
			return ""
		}
		i = n - 1
	}
	return strings.TrimSuffix(strings.Trim(c.Args[i], "[]"), "...")
}

// words returns what an argument or a flag's value of that name may be that is
// in no store. What is written in small letters stands for itself.
func (c Command) words(name string) []string {
	switch name {
	case tableFlag.Value:
		return tableNames()
	case protoFlag.Value:
		return []string{string(trace.ICMP), string(trace.ICMPReply), string(trace.TCP), string(trace.UDP), string(trace.ARP)}
	case formatFlag.Value:
		return formats
	case severityFlag.Value:
		return []string{audit.Error.String(), audit.Warning.String(), audit.Note.String()}
	case sortFlag.Value:
		return c.fields
	case filterFlag.Value:
		conditions := make([]string, len(c.fields))
		for i, f := range c.fields {
			conditions[i] = f + "="
		}
		return conditions
	}
	if name != "" && name == strings.ToLower(name) {
		return []string{name}
	}
	return nil
}

// kindsOf returns the kinds of the objects that an argument, or else a flag's
// value, of that name names. Of an object that is yet to be made nobody knows
// the name.
func (c Command) kindsOf(name string, argument bool) []topology.Kind {
	own := ownKinds[c.Object]
	var kind topology.Kind
	switch name {
	case "SWITCH":
		kind = topology.KindSwitch
	case "ROUTER":
		kind = topology.KindRouter
	case "CHASSIS", "ID":
		kind = topology.KindChassis
	case "OUT_PORT":
		kind = topology.KindRouterPort
	case "PEER":
		kind = topology.KindSwitchPort
		if own == kind {
			kind = topology.KindRouterPort
		}
	case "PORT":
		kind = topology.KindSwitchPort
		if own.Parent() == topology.KindRouter {
			kind = own
		}
	case "NAME":
		kind = own
	}
	switch {
	case argument && c.Verb == "add" && kind == own:
		return nil
	case kind != 0:
		return []topology.Kind{kind}
	case name == "NAME" || name == objectFlag.Value:
		return []topology.Kind{topology.KindSwitch, topology.KindSwitchPort, topology.KindRouter}
	}
	return nil
}

// parentIn returns which switch or router the first argument names, if it does.
func (c Command) parentIn(args []string) topology.Key {
	if len(args) > 0 {
		switch c.argument(0) {
		case "SWITCH":
			return topology.Key{Kind: topology.KindSwitch, Name: args[0]}
		case "ROUTER":
			return topology.Key{Kind: topology.KindRouter, Name: args[0]}
		}
	}
	return topology.Key{}
}

// namesOf returns the names of objects; of what hangs on parent's kind, those
// that hang on parent.
func namesOf(ctx context.Context, reach func() (*store.Store, error), kinds []topology.Kind, parent topology.Key, prefix string) []string {
	st, err := reach()
	if err != nil {
		return nil
	}
	defer st.Close()
	var found []string
	for _, kind := range kinds {
		of := ""
		if kind.Parent() == parent.Kind {
			of = parent.Name
		}
		names, err := st.Names(ctx, kind, of, prefix)
		if err != nil {
			return nil
		}
		found = append(found, names...)
	}
	return found
}

// Ports returns the names of the switch ports that packets come from and go to:
// those of workloads, and those that lead to the physical network. Like Complete
// it leaves out what cannot be known.
func Ports(ctx context.Context, reach func() (*store.Store, error)) []string {
	var found []string
	for _, p := range switchPorts(ctx, reach) {
		if p.Peer == "" || p.Outer() {
			found = append(found, p.Name)
		}
	}
	return found
}

// hostPorts returns the names of the ports that a host may be plugged into that has
// workloads of its own.
func hostPorts(ctx context.Context, reach func() (*store.Store, error)) []string {
	var found []string
	for _, p := range switchPorts(ctx, reach) {
		if checkHost(p) == nil && p.Owner == "" && p.Pool == "" {
			found = append(found, p.Name)
		}
	}
	return found
}

// roads returns the addresses of edges: what routers have in switches that lead to
// the physical network.
func roads(ctx context.Context, reach func() (*store.Store, error)) []string {
	ports := switchPorts(ctx, reach)
	outside := map[string]bool{}
	for _, p := range ports {
		outside[p.Switch] = outside[p.Switch] || p.Outer()
	}
	var found []string
	for _, p := range ports {
		if outside[p.Switch] && p.Peer != "" && !p.Outer() {
			found = append(found, p.IP.String())
		}
	}
	return found
}

func switchPorts(ctx context.Context, reach func() (*store.Store, error)) []topology.SwitchPort {
	st, err := reach()
	if err != nil {
		return nil
	}
	defer st.Close()
	list, _, err := st.List(ctx, topology.KindSwitchPort, "")
	if err != nil {
		return nil
	}
	ports := make([]topology.SwitchPort, len(list))
	for i, e := range list {
		ports[i] = e.(topology.SwitchPort) // as the kind says
	}
	return ports
}
