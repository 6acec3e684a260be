package modes

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// permute returns argv with every flag where the library looks for it: the
// application's in front of the commands, a command's right behind its name.
// So a flag may stand anywhere, as it may in most tools. What follows "--" is
// no flag.
func permute(app *cli.App, argv []string) []string {
	args := argv[1:]
	if slices.Contains(args, completionFlag) {
		return argv
	}
	var global, path, local, rest []string
	commands, flags := app.Commands, []cli.Flag{cli.HelpFlag}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			rest = append(rest, args...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
			if i < 0 || len(rest) > 0 {
				rest = append(rest, arg)
				continue
			}
			path = append(path, arg)
			flags = append([]cli.Flag{cli.HelpFlag}, commands[i].Flags...)
			commands = commands[i].Subcommands
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		to := &local
		flag := findFlag(flags, name)
		if flag == nil {
			if flag = findFlag(append(app.Flags, cli.VersionFlag), name); flag != nil {
				to = &global
			}
		}
		if flag == cli.HelpFlag {
			// With arguments the library would look for help on the first.
			return slices.Concat(argv[:1], path, []string{arg})
		}
		*to = append(*to, arg)
		if f, ok := flag.(cli.DocGenerationFlag); ok && f.TakesValue() && !hasValue {
			if len(args) == 0 {
				return slices.Concat(argv[:1], global, local) // for the library to miss the value
			}
			*to = append(*to, args[0])
			args = args[1:]
		}
	}
	out := slices.Concat(argv[:1], global, path, local)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}
