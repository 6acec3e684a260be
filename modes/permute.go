package modes

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart.
type line struct {
	global, path, local, rest []string // the application's flags; the commands' names; the last one's flags; its arguments

	command  *cli.Command   // the last of path; nil if there is none
	commands []*cli.Command // that may come behind path
	flags    []cli.Flag     // of command, without the application's
	open     cli.Flag       // stands last, and lacks its value; nil if none does
	help     string         // the flag that asks for help, if there is one
	ended    bool           // by "--"
}

// read takes the words behind the application's name apart. A flag may stand
// anywhere, as it may in most tools. What follows "--" is no flag.
func read(app *cli.App, args []string) line {
	l := line{commands: app.Commands, flags: []cli.Flag{cli.HelpFlag}}
	for len(args) > 0 && l.help == "" {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			l.ended = true
			l.rest = append(l.rest, args...)
			break
		}
		if !strings.HasPrefix(arg, "-") || arg == "-" {
			i := slices.IndexFunc(l.commands, func(c *cli.Command) bool { return c.HasName(arg) })
			if i < 0 || len(l.rest) > 0 {
				l.rest = append(l.rest, arg)
				continue
			}
			l.path = append(l.path, arg)
			l.command = l.commands[i]
			l.flags = append([]cli.Flag{cli.HelpFlag}, l.command.Flags...)
			l.commands = l.command.Subcommands
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		to := &l.local
		flag := findFlag(l.flags, name)
		if flag == nil {
			if flag = findFlag(append(app.Flags, cli.VersionFlag), name); flag != nil {
				to = &l.global
			}
		}
		if flag == cli.HelpFlag {
			l.help = arg
			break
		}
		*to = append(*to, arg)
		if takesValue(flag) && !hasValue {
			if len(args) == 0 {
				l.open = flag
				break
			}
			*to = append(*to, args[0])
			args = args[1:]
		}
	}
	return l
}

// permute returns argv with every flag where the library looks for it: the
// application's in front of the commands, a command's right behind its name.
func permute(app *cli.App, argv []string) []string {
	l := read(app, argv[1:])
	switch {
	case l.help != "":
		// With arguments the library would look for help on the first.
		return slices.Concat(argv[:1], l.path, []string{l.help})
	case l.open != nil:
		// For the library to miss the value, the flag stands last.
		if slices.Contains(app.Flags, l.open) {
			return slices.Concat(argv[:1], l.global)
		}
		return slices.Concat(argv[:1], l.global, l.path, l.local)
	}
	out := slices.Concat(argv[:1], l.global, l.path, l.local)
	if len(l.rest) > 0 {
		out = append(append(out, "--"), l.rest...)
	}
	return out
}

func takesValue(flag cli.Flag) bool {
	f, ok := flag.(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}

func findFlag(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}
