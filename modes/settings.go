package modes

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/config"
	"tuplenet/internal/store"
)

// settingFlags returns the flags of settings.
func settingFlags(settings []config.Setting) []cli.Flag {
	flags := make([]cli.Flag, len(settings))
	for i, s := range settings {
		usage := s.Usage
		if s.Switch && s.Default == "true" {
			usage += "; --" + s.Flag + "=false switches it off"
		}
		if s.Switch {
			flags[i] = switchFlag{&cli.BoolFlag{Name: s.Flag, Aliases: s.Aliases, Usage: usage, Value: s.Default == "true"}, s.Env}
			continue
		}
		text := &cli.StringFlag{Name: s.Flag, Aliases: s.Aliases, Usage: usage, DefaultText: s.Default}
		switch {
		case s.Instead != "":
			text.DefaultText = s.Instead
		case s.From != "":
			text.DefaultText = "that of " + s.From
		}
		flags[i] = textFlag{text, s.Env}
	}
	return flags
}

// textFlag is the flag of a setting that takes a value. Of the environment it tells
// people, but leaves it to who resolves settings: the library would not say which of
// the two a value comes from.
type textFlag struct {
	*cli.StringFlag
	env string
}

func (f textFlag) GetEnvVars() []string { return variables(f.env) }
func (f textFlag) String() string       { return cli.FlagStringer(f) }

// switchFlag is a textFlag of a Switch, whose default is in what help says of it.
type switchFlag struct {
	*cli.BoolFlag
	env string
}

func (f switchFlag) GetEnvVars() []string   { return variables(f.env) }
func (f switchFlag) GetDefaultText() string { return "" }
func (f switchFlag) String() string         { return cli.FlagStringer(f) }

func variables(env string) []string {
	if env == "" {
		return nil
	}
	return []string{env}
}

// given returns what the command line says of the setting with a flag.
func given(c *cli.Context) func(flag string) (text string, is bool) {
	return func(flag string) (string, bool) {
		if !c.IsSet(flag) {
			return "", false
		}
		switch v := c.Value(flag).(type) {
		case bool:
			return strconv.FormatBool(v), true
		default:
			return c.String(flag), true
		}
	}
}

// configFlag names the file of an agent's settings, in place of config.AgentFile.
func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", EnvVars: []string{"TUPLENET_CONFIG"}, DefaultText: config.AgentFile + " if it exists",
		Usage: "YAML `FILE` with the settings of this host's agent; flags and the environment count before it"}
}

// settingsOf resolves settings by flags, the environment, and the file that configFlag
// names or, if it names none, the one at initial.
func settingsOf(c *cli.Context, initial string, settings []config.Setting) (*config.Resolved, error) {
	return resolve(config.Sources{Flag: given(c), Env: os.Getenv}, c.String("config"), initial, settings)
}

// resolve resolves settings by sources and a file, as config.ReadFile reads it. What it
// could find out it returns also with an error.
func resolve(sources config.Sources, path, initial string, settings []config.Setting) (*config.Resolved, error) {
	file, unread := config.ReadFile(path, initial)
	sources.File = file
	resolved, err := sources.Resolve(settings)
	return resolved, config.Join(unread, err)
}

// etcdFlags returns the flags of a tool that talks to etcd. Its flag for the
// endpoints has the name and the alias given.
func etcdFlags(endpoints, alias string) []cli.Flag {
	return append([]cli.Flag{&cli.StringFlag{Name: "config", EnvVars: []string{"TUPLENET_CONFIG"}, DefaultText: config.ClientFile + " if it exists",
		Usage: "YAML `FILE` with the settings of etcd: endpoints, prefix, cacert, cert, key, user, password"}},
		settingFlags(config.Etcd(endpoints, alias))...)
}

// etcdConfig resolves the settings of a tool that has etcdFlags as -e, --endpoints, and
// says what is worth knowing of them.
func etcdConfig(c *cli.Context, say io.Writer) (store.Config, error) {
	resolved, err := settingsOf(c, config.ClientFile, config.Etcd("endpoints", "e"))
	for _, note := range resolved.Notes() {
		fmt.Fprintln(say, "note:", note)
	}
	return resolved.Etcd, err
}

// hostFlags say where an agent and its Open vSwitch have their files.
func hostFlags() []cli.Flag { return settingFlags(config.Host()) }

// hostConfig resolves the settings of hostFlags, and more, for a tool that works on
// what the agent of this host has: so it finds them where the agent does. What is
// wrong with Open vSwitch it will say itself.
func hostConfig(c *cli.Context, more ...config.Setting) (config.Config, error) {
	resolved, err := settingsOf(c, config.AgentFile, append(config.Host(), more...))
	resolved.OVS.Log = slog.New(slog.DiscardHandler)
	return resolved.Config, err
}
