package modes

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/ctl"
	"tuplenet/internal/lab"
	"tuplenet/internal/store"
)

// labNames returns what begins with prefix and may be the next argument of a
// command of the lab, as the command's help names its arguments.
func labNames(words []string, l line, prefix string) []string {
	if l.command == nil || l.ended {
		return nil
	}
	var found []string
	// The command's flags say which lab it is.
	settings := &cli.App{
		Flags: l.command.Flags, Writer: io.Discard, ErrWriter: io.Discard, HideHelp: true, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			up, err := lab.Open(c.String("name"), nil)
			if err != nil {
				return err
			}
			for usage := range strings.SplitSeq(l.command.ArgsUsage, ", or ") {
				if args := strings.Fields(usage); len(l.rest) < len(args) {
					for one := range strings.SplitSeq(strings.Trim(args[len(l.rest)], "[]"), "|") {
						found = append(found, labArgument(up, l.command.Name, one)...)
					}
				}
			}
			return nil
		},
	}
	if err := settings.Run(append(words[:1:1], l.local...)); err != nil {
		return nil // what is wrong is told when the command is run
	}
	slices.Sort(found)
	return slices.Compact(beginning(found, prefix))
}

// labArgument returns what an argument of that name may be. What is written in
// small letters stands for itself.
func labArgument(l *lab.Lab, command, name string) []string {
	var hosts, outside, ports []string
	for _, h := range l.Spec.Hosts {
		hosts = append(hosts, h.Name)
	}
	for _, o := range l.Spec.Outside {
		outside = append(outside, o.Name)
	}
	workloads, _ := l.Workloads() // none, if nobody can tell
	for _, w := range workloads {
		ports = append(ports, w.Port)
	}
	switch {
	case name == "HOST":
		return hosts
	case name == "OUTSIDE":
		return outside
	case name == "PORT" && command == "plug":
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		free := ctl.Ports(ctx, func() (*store.Store, error) {
			return store.New(store.Config{Endpoints: strings.Split(l.Endpoints(), ","), ReadOnly: true})
		})
		return slices.DeleteFunc(free, func(p string) bool { return slices.Contains(ports, p) })
	case name == "PORT":
		return ports
	case name == "FROM" || name == "TO":
		return slices.Concat(hosts, outside, ports)
	case name == "NIC":
		return []string{"eth0", "eth1"}
	case name == strings.ToLower(name):
		return []string{name}
	}
	return nil
}
