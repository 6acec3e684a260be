package modes

import (
	"context"
	"io"
	"slices"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/ctl"
	"tuplenet/internal/store"
)

// networkNames returns the names in etcd that begin with prefix and may be the
// value of a flag of tuplenet cni, as tpctl completes the same.
func networkNames(words []string, l line, flag cli.Flag, prefix string) []string {
	var object, verb, as string
	switch flag.Names()[0] {
	case "switch":
		object, verb = "ls", "show"
	case "node":
		object, verb, as = "lsp", "add", "parent"
	default:
		return nil
	}
	all := ctl.All()
	i := slices.IndexFunc(all, func(c ctl.Command) bool { return c.Object == object && c.Verb == verb })
	var found []string
	// The command's flags say where etcd is. Here the environment does, too,
	// also for hosts with an agent: their switches are in the same etcd as a rule.
	settings := &cli.App{
		Flags: l.command.Flags, Writer: io.Discard, ErrWriter: io.Discard, HideHelp: true, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			cfg, err := pluginEtcd(c, true)
			if err != nil {
				return err
			}
			cfg.ReadOnly = true
			ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
			defer cancel()
			found = all[i].Complete(ctx, func() (*store.Store, error) { return store.New(cfg) }, as, nil, prefix)
			return nil
		},
	}
	local := l.local
	if l.open != nil { // stands last, without its value
		local = local[:len(local)-1]
	}
	if err := settings.Run(append(words[:1:1], local...)); err != nil {
		return nil // what is wrong is told when the command is run
	}
	return found
}
