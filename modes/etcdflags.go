package modes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"

	"tuplenet/internal/store"
)

// clientFile is read when it exists and no other file is named.
const clientFile = "/etc/tuplenet/client.yaml"

// etcdSetting is one thing to know about etcd. A flag comes before the
// environment, that before the file, and that before the default.
type etcdSetting struct {
	key     string // in the file; the flag's name too, where a mode has no other for it
	alias   string // of the flag
	env     string
	initial string
	usage   string
}

var etcdSettings = []etcdSetting{
	{"endpoints", "e", "TUPLENET_ENDPOINTS", "localhost:2379", "`HOST:PORT` of etcd, or a URL; several are separated by commas"},
	{"prefix", "p", "TUPLENET_PREFIX", "/tuplenet", "`PREFIX` of TupleNet's keys in etcd"},
	{"cacert", "", "TUPLENET_CACERT", "", "PEM `FILE` with the authority that etcd's certificate is verified by; turns TLS on"},
	{"cert", "", "TUPLENET_CERT", "", "PEM `FILE` with the certificate to show to etcd"},
	{"key", "", "TUPLENET_KEY", "", "PEM `FILE` with the key of --cert"},
	{"user", "", "TUPLENET_USER", "", "`NAME[:PASSWORD]` of etcd's user"},
	{"password", "", "TUPLENET_PASSWORD", "", "`PASSWORD` of --user; better kept in the environment or the file, as others see a command line"},
}

// etcdFlags returns the flags of a mode that talks to etcd. Its flag for the
// endpoints has the name and the alias given: the agent's is --host, -a.
func etcdFlags(endpoints, alias string) []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "config", EnvVars: []string{"TUPLENET_CONFIG"}, DefaultText: clientFile + " if it exists",
		Usage: "YAML `FILE` with the settings of etcd: endpoints, prefix, cacert, cert, key, user, password"}}
	for _, s := range etcdSettings {
		f := &cli.StringFlag{Name: s.flag(endpoints), EnvVars: []string{s.env}, Usage: s.usage, DefaultText: s.initial}
		if s.alias != "" {
			f.Aliases = []string{s.alias}
		}
		if s.key == "endpoints" {
			f.Aliases = []string{alias}
		}
		flags = append(flags, f)
	}
	return flags
}

// etcdConfig resolves the settings of a mode that has etcdFlags under the same
// name for the endpoints.
func etcdConfig(c *cli.Context, endpoints string) (store.Config, error) {
	fromFile, err := readClientFile(c.String("config"))
	if err != nil {
		return store.Config{}, err
	}
	return parseEtcd(func(s etcdSetting) string {
		// Flag and environment are one for the library, the flag first.
		return cmp.Or(c.String(s.flag(endpoints)), fromFile[s.key], s.initial)
	})
}

// flag returns the name of the flag of a mode whose flag for the endpoints has
// the name given.
func (s etcdSetting) flag(endpoints string) string {
	if s.key == "endpoints" {
		return endpoints
	}
	return s.key
}

// parseEtcd makes a configuration of what the settings are found to be.
func parseEtcd(find func(etcdSetting) string) (store.Config, error) {
	get := make(map[string]string, len(etcdSettings))
	for _, s := range etcdSettings {
		get[s.key] = find(s)
	}
	cfg := store.Config{
		Prefix: get["prefix"],
		CAFile: get["cacert"], CertFile: get["cert"], KeyFile: get["key"],
		Password: get["password"],
	}
	for e := range strings.SplitSeq(get["endpoints"], ",") {
		if e = strings.TrimSpace(e); e == "" {
			continue
		}
		if err := checkEndpoint(e); err != nil {
			return cfg, err
		}
		cfg.Endpoints = append(cfg.Endpoints, e)
	}
	user, password, given := strings.Cut(get["user"], ":")
	cfg.Username = user
	if given && cfg.Password == "" {
		cfg.Password = password
	}
	switch {
	case (cfg.CertFile == "") != (cfg.KeyFile == ""):
		return cfg, errors.New("etcd's settings cert and key belong together: give both or none")
	case (cfg.Username == "") != (cfg.Password == ""):
		return cfg, errors.New("etcd's settings user and password belong together: give both or none, for example in TUPLENET_USER and TUPLENET_PASSWORD")
	}
	return cfg, nil
}

// checkEndpoint says what is wrong with an endpoint, before anybody waits for
// an answer from it.
func checkEndpoint(s string) error {
	scheme, rest, isURL := strings.Cut(s, "://")
	if isURL && scheme == "unix" && strings.HasPrefix(rest, "/") {
		return nil
	}
	if !isURL {
		rest = s
	}
	host, port, err := net.SplitHostPort(strings.TrimSuffix(rest, "/"))
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || host == "" || isURL && scheme != "http" && scheme != "https" {
		return fmt.Errorf("invalid endpoint %q, want HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH", s)
	}
	return nil
}

// readClientFile returns the settings in the YAML file at path, or in
// clientFile if path is empty.
func readClientFile(path string) (map[string]string, error) {
	named := path != ""
	if !named {
		path = clientFile
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the settings of etcd: %w", err)
	}
	settings, err := parseClientFile(data)
	if err != nil {
		return nil, fmt.Errorf("read the settings of etcd in %s: %w", path, err)
	}
	return settings, nil
}

func parseClientFile(data []byte) (map[string]string, error) {
	var values map[string]yaml.Node
	if err := yaml.Unmarshal(data, &values); err != nil {
		return nil, err
	}
	known := make([]string, len(etcdSettings))
	for i, s := range etcdSettings {
		known[i] = s.key
	}
	settings := make(map[string]string, len(values))
	for key, node := range values {
		list := []string{""}
		switch {
		case !slices.Contains(known, key):
			return nil, fmt.Errorf("line %d: %w", node.Line, unknown("key", key, known))
		case key == "endpoints" && node.Kind == yaml.SequenceNode:
			if err := node.Decode(&list); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		default:
			if err := node.Decode(&list[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		settings[key] = strings.Join(list, ",")
	}
	return settings, nil
}
