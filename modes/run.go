package modes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/suggest"
)

// commands are the modes of this build, in the order in which help lists them.
func commands() []*cli.Command {
	return []*cli.Command{
		agentCommand(),
		gatewayCommand(),
		ctlCommand(),
		etcdCommand(),
		labCommand(),
		doctorCommand(),
		cleanupCommand(),
		cniCommand(),
		cnmCommand(),
		versionCommand(),
		completionCommand(),
		manCommand(),
	}
}

// rootUsage says what the binary as a whole is.
const rootUsage = "distributed virtual switches and routers on Open vSwitch"

// Run carries out argv, as main received it, in the mode that Dispatch picks,
// and returns the exit status of the process: 0, 1 for an error, or what the
// mode asks for by returning a cli.ExitCoder.
func Run(argv []string, cniCommand string, stdin io.Reader, stdout, stderr io.Writer) int {
	if completes(argv, stdout) {
		return 0
	}
	mode, argv := Dispatch(argv, cniCommand)
	if mode == ModePlugin {
		return runPlugin()
	}
	app, err := newApp(mode, argv)
	if err == nil {
		app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr
		if mode == ModeCtl || mode == ModeLab || mode == ModeEtcd {
			argv = permute(app, argv)
		}
		err = app.RunContext(context.Background(), argv)
	}
	return finish(err, stdout, stderr)
}

// newApp makes the application of a mode, named by argv[0]. Every mode is an
// application of its own, so that tpctl and "tuplenet ctl" differ in what their
// help calls them and in nothing else.
func newApp(mode Mode, argv []string) (*cli.App, error) {
	all := commands()
	root := &cli.Command{
		Usage:       rootUsage,
		UsageText:   "tuplenet [agent options]\ntuplenet MODE [options] [arguments]",
		Description: rootDescription(all),
		Subcommands: all,
	}
	cmd := root
	if mode != ModeRoot {
		i := slices.IndexFunc(all, func(c *cli.Command) bool { return c.Name == string(mode) })
		switch {
		case mode == ModeUnknown:
			return nil, unknown("mode", argv[1], names(all))
		case i < 0:
			return nil, fmt.Errorf("this build of tuplenet has no mode %q (its modes: %s)", mode, strings.Join(names(all), ", "))
		}
		cmd = all[i]
	}
	prepare(cmd)
	usage := cmd.UsageText
	if usage == "" {
		usage = strings.TrimSpace(argv[0] + " [options] " + cmd.ArgsUsage)
	}
	return &cli.App{
		Name:            argv[0],
		Version:         version(),
		Usage:           cmd.Usage,
		UsageText:       usage,
		Description:     cmd.Description,
		Commands:        cmd.Subcommands,
		Flags:           cmd.Flags,
		Before:          cmd.Before,
		After:           cmd.After,
		Action:          cmd.Action,
		OnUsageError:    cmd.OnUsageError,
		SkipFlagParsing: cmd.SkipFlagParsing,
		HideHelpCommand: len(cmd.Subcommands) == 0,
		ExitErrHandler:  func(*cli.Context, error) {}, // Run reports errors, and ends nothing
	}, nil
}

// prepare gives cmd and what is below it the behaviour that all commands
// share: errors are returned and name what was wrong, and a group without an
// action of its own lists its commands or refuses a word that is none.
func prepare(cmd *cli.Command) {
	if cmd.OnUsageError == nil {
		cmd.OnUsageError = usageError
	}
	if len(cmd.Subcommands) > 0 && cmd.Action == nil {
		cmd.Action = groupAction
	}
	for _, sub := range cmd.Subcommands {
		// "help" is an argument like any other: a switch may have that name.
		sub.HideHelpCommand = true
		prepare(sub)
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	const undefined = "flag provided but not defined: -"
	const noValue = "flag needs an argument: -"
	if flag, ok := strings.CutPrefix(err.Error(), noValue); ok {
		if len(flag) > 1 {
			flag = "-" + flag
		}
		return fmt.Errorf("%s: flag -%s needs a value (see %[1]s --help)", c.Command.HelpName, flag)
	}
	flag, ok := strings.CutPrefix(err.Error(), undefined)
	if !ok {
		return fmt.Errorf("%s: %w (see %[1]s --help)", c.Command.HelpName, err)
	}
	var known []string
	for _, level := range c.Lineage() {
		if level.Command != nil {
			for _, f := range level.Command.Flags {
				known = append(known, f.Names()...)
			}
		}
	}
	return fmt.Errorf("%s: unknown flag -%s%s (see %[1]s --help; an argument that begins with - goes behind --)",
		c.Command.HelpName, flag, suggest.DidYouMean(flag, known))
}

func groupAction(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%s: %w", c.Command.HelpName, unknown("command", c.Args().First(), names(c.Command.Subcommands)))
	}
	if c.Command.HelpName == c.App.HelpName {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

// finish reports how a mode ended and returns the exit status.
func finish(err error, stdout, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	if err.Error() != "" && !(errors.As(err, new(printed)) && sameFile(stdout, stderr)) {
		fmt.Fprintln(stderr, err)
	}
	if coder := cli.ExitCoder(nil); errors.As(err, &coder) {
		return coder.ExitCode()
	}
	return 1
}

// printed is an error that standard output has been told of already.
type printed struct{ error }

func (p printed) Unwrap() error { return p.error }

// sameFile reports whether what is written to a and b ends in one place, as on
// a terminal.
func sameFile(a, b io.Writer) bool {
	fa, ok := a.(*os.File)
	fb, ok2 := b.(*os.File)
	if !ok || !ok2 {
		return false
	}
	sa, err := fa.Stat()
	sb, err2 := fb.Stat()
	return err == nil && err2 == nil && os.SameFile(sa, sb)
}
