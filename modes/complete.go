package modes

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/ctl"
	"tuplenet/internal/store"
)

// completionFlag is what a completion script appends to the words typed so far,
// of which the last is the one to complete, empty if it has not begun. Nothing
// is run: what may stand there is printed, a line each.
const completionFlag = "--generate-bash-completion"

// completionTimeout is how long the names in etcd may take: a person waits.
const completionTimeout = 300 * time.Millisecond

// completes prints what may stand in the place of the last word, if a shell
// asks for it.
func completes(argv []string, out io.Writer) bool {
	n := len(argv) - 1
	if n < 1 || argv[n] != completionFlag {
		return false
	}
	current := argv[n-1]
	if n == 1 { // a script that leaves out a word that has not begun
		n, current = 2, ""
	}
	typed := argv[:n-1]
	mode, words := Dispatch(typed, "")
	bare := mode == ModeAgent && len(typed) == 1
	if bare { // the agent needs no name, but nobody has said that it is wanted
		mode = ModeRoot
	}
	app, err := newApp(mode, words)
	if err != nil {
		return true
	}
	if bare {
		app.Flags = agentCommand().Flags
	}
	for _, word := range candidates(app, mode, words, current) {
		fmt.Fprintln(out, word)
	}
	return true
}

// candidates returns what may stand behind words, and begins with current.
func candidates(app *cli.App, mode Mode, words []string, current string) []string {
	l := read(app, words[1:])
	flag, value, assigned := strings.Cut(current, "=")
	dashed := strings.HasPrefix(current, "-") && !l.ended
	switch {
	case l.help != "":
		return nil
	case l.open != nil:
		return values(app, mode, words, l, l.open, current)
	case dashed && assigned:
		f := findFlag(slices.Concat(l.flags, app.Flags), strings.TrimLeft(flag, "-"))
		if f == nil {
			return nil
		}
		found := values(app, mode, words, l, f, value)
		for i := range found {
			found[i] = flag + "=" + found[i]
		}
		return found
	case dashed:
		return flagNames(slices.Concat(l.flags, app.Flags), current)
	case len(l.commands) > 0 && len(l.rest) == 0 && !l.ended:
		var found []string
		for _, c := range l.commands {
			if !c.Hidden && strings.HasPrefix(c.Name, current) {
				found = append(found, c.Name)
			}
		}
		return found
	}
	return values(app, mode, words, l, nil, current)
}

// values returns what may be the value of a flag or, if that is nil, the next
// argument.
func values(app *cli.App, mode Mode, words []string, l line, flag cli.Flag, prefix string) []string {
	switch {
	case mode == ModeCtl:
		return objectNames(app, words, l, flag, prefix)
	case mode == ModeLab && flag == nil:
		return labNames(words, l, prefix)
	case mode == ModeCNI && flag != nil:
		return networkNames(words, l, flag, prefix)
	case mode == ModeDoctor && flag != nil && flag.Names()[0] == "only":
		return beginning(checkNames(), prefix)
	}
	return nil
}

// beginning returns those of words that begin with prefix.
func beginning(words []string, prefix string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, prefix) })
}

// flagNames returns the flags that begin with prefix, by their long names.
func flagNames(flags []cli.Flag, prefix string) []string {
	var found []string
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		for _, name := range f.Names() {
			if dashed := "--" + name; len(name) > 1 && strings.HasPrefix(dashed, prefix) && !slices.Contains(found, dashed) {
				found = append(found, dashed)
			}
		}
	}
	return found
}

// objectNames returns the names in etcd, and other words, that begin with
// prefix and may be the next argument of a command of tpctl, or the value of a
// flag of it.
func objectNames(app *cli.App, words []string, l line, flag cli.Flag, prefix string) []string {
	if len(l.path) == 0 {
		return nil
	}
	verb := ""
	if len(l.path) > 1 {
		verb = l.path[1]
	}
	all := ctl.All()
	i := slices.IndexFunc(all, func(c ctl.Command) bool {
		return c.Object == l.path[0] && (c.Verb == verb || verb != "" && c.Alias == verb)
	})
	if i < 0 {
		return nil
	}
	name := ""
	if flag != nil {
		name = flag.Names()[0]
	}
	// The application's flags say where etcd is.
	var found []string
	settings := &cli.App{
		Flags: app.Flags, Writer: io.Discard, ErrWriter: io.Discard, HideHelp: true, HideVersion: true,
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
			defer cancel()
			reach := func() (*store.Store, error) {
				cfg, err := ctlConfig(c, true, io.Discard)
				if err != nil {
					return nil, err
				}
				return store.New(cfg)
			}
			found = all[i].Complete(ctx, reach, name, l.rest, prefix)
			return nil
		},
	}
	if err := settings.Run(append(words[:1:1], l.global...)); err != nil {
		return nil // what is wrong is told when the command is run
	}
	return found
}
