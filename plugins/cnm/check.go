package cnm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/internal/suggest"
	"tuplenet/internal/topology"
)

// How long those may take to answer Check that the plugin works with. The agent
// says after two seconds that its etcd does not answer.
const (
	checkPatience = 2 * time.Second
	agentAnswers  = checkPatience + time.Second
)

// Finding is one thing that Check has looked at.
type Finding struct {
	Check   string // what was looked at
	Subject string // which one of several, such as an endpoint of etcd
	OK      bool
	Note    bool   // it is not bad, and worth knowing
	Text    string // what there is to say of it
	Remedy  string // what to do about what is bad, an imperative
}

func good(check, format string, a ...any) Finding {
	return Finding{Check: check, OK: true, Text: fmt.Sprintf(format, a...)}
}

func note(check, text, remedy string) Finding {
	return Finding{Check: check, OK: true, Note: true, Text: text, Remedy: remedy}
}

func bad(check, text, remedy string) Finding {
	return Finding{Check: check, Text: text, Remedy: remedy}
}

// Check asks all that a plugin with this configuration works with, at the same
// time: etcd, the agent of this host, and Docker, which has to find the plugin. It
// changes nothing, and takes a few seconds when something hangs.
func Check(ctx context.Context, cfg Config) []Finding {
	c := checker{cfg, newEngine(cfg.DockerSocket)}
	defer c.engine.client.CloseIdleConnections()
	questions := []func(context.Context) []Finding{c.etcd, c.agent, c.docker}
	found := make([][]Finding, len(questions))
	var all sync.WaitGroup
	for i, ask := range questions {
		all.Go(func() { found[i] = ask(ctx) })
	}
	all.Wait()
	return slices.Concat(found...)
}

// checker has what the questions of Check need.
type checker struct {
	cfg    Config
	engine *engine
}

// etcd asks each member of etcd, and what the plugin needs of what is in it.
func (c checker) etcd(ctx context.Context) []Finding {
	cfg := c.cfg.Store()
	cfg.ReadOnly = true
	st, err := store.New(cfg)
	if err != nil {
		return []Finding{bad("etcd", err.Error(), "mend what the configuration says of etcd")}
	}
	defer st.Close()
	var found []Finding
	answered := false
	for _, m := range st.Members(ctx, checkPatience) {
		f := good("etcd", "%s answers in %s", m.Version, m.Took.Round(100*time.Microsecond))
		switch {
		case m.Err != nil:
			f = bad("etcd", "does not answer: "+m.Err.Error(), "see whether it runs and can be reached from here, and what etcd_cluster says")
		case !m.Led:
			f = bad("etcd", "knows of no leader, and serves nobody", "see whether most of the cluster's members run")
		default:
			answered = true
		}
		f.Subject = m.Endpoint
		found = append(found, f)
	}
	if !answered {
		return found
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	found = append(found, c.topology(ctx, st))
	if c.cfg.EgressRouter != "" {
		found = append(found, c.router(ctx, st))
	}
	return found
}

// topology tells whether etcd holds one where the configuration says.
func (c checker) topology(ctx context.Context, st *store.Store) Finding {
	empty, err := st.IsEmpty(ctx)
	if err == nil && !empty {
		err = st.Init(ctx) // reads its version
	}
	switch {
	case errors.Is(err, store.ErrVersion):
		return bad("topology", err.Error(), "use the programs of one version")
	case err != nil:
		return bad("topology", err.Error(), "see what is bad of etcd, and its user's rights")
	case empty:
		return note("topology", "etcd has nothing under "+st.Prefix(), "if there should be something, see data_store_prefix")
	}
	return good("topology", "is in etcd under %s", st.Prefix())
}

// router tells whether the router is there that networks are linked to.
func (c checker) router(ctx context.Context, st *store.Store) Finding {
	name := c.cfg.EgressRouter
	_, err := st.Get(ctx, topology.Router{Name: name}.Key())
	switch {
	case errors.Is(err, store.ErrNotFound):
		known, _ := st.Names(ctx, topology.KindRouter, "", "") // only to suggest one
		return bad("router", fmt.Sprintf("egress_router_name is %s, and there is no such router, so that networks cannot be created%s", name, suggest.DidYouMean(name, known)),
			fmt.Sprintf("make it: tpctl lr add %s; or have the configuration name another one", name))
	case err != nil:
		return bad("router", err.Error(), "see what is bad of etcd")
	}
	role := store.Party{Duty: store.DutyDocker, Of: name}
	if err := st.MayBe(ctx, role); errors.Is(err, store.ErrDenied) {
		return bad("router", fmt.Sprintf("%s is there, and networks cannot be made: %v", name, err),
			fmt.Sprintf("let %s make them: tpctl auth add USER --docker %s", st.Who(), name))
	}
	return good("router", "%s is there, networks are linked to it", name)
}

// agent asks the agent of this host whether containers can be attached, and so
// what it finds of Open vSwitch, and then whether it is the one that the
// configuration means. How etcd is reached by the configuration is etcd's affair.
func (c checker) agent(context.Context) []Finding {
	client, err := attach.Dial(c.cfg.RunDir)
	if failed := (*attach.Error)(nil); errors.As(err, &failed) && failed.Code == attach.CodeIO {
		return []Finding{bad("agent", err.Error(), "run it as root")}
	} else if err != nil {
		return []Finding{bad("agent", "nobody answers at "+filepath.Join(c.cfg.RunDir, attach.SocketName)+", so that no container is attached",
			"start the agent on this host, or name its run directory by \"rundir\"")}
	}
	defer client.Close(0)
	answer, err := client.Ask(attach.Request{Op: attach.Status, Plugin: attach.CNM}, agentAnswers)
	if err != nil {
		return []Finding{bad("agent", "attaches no container now: "+err.Error(), "see tuplenet doctor")}
	}
	found := []Finding{good("agent", "attaches containers of host %s to %s", answer.Chassis, answer.Bridge)}
	_, err = askAgent(c.cfg.RunDir, attach.Request{Bridge: c.cfg.Bridge, Etcd: &attach.Etcd{Prefix: c.cfg.DataStorePrefix}})
	if failed := (*attach.Error)(nil); errors.As(err, &failed) && failed.Code == attach.CodeConfig {
		found = append(found, bad("configuration", failed.Msg, "have it name the agent's, or start the agent with that"))
	}
	return found
}

// askAgent asks the agent with that run directory whether it attaches containers.
func askAgent(runDir string, r attach.Request) (attach.Answer, error) {
	client, err := attach.Dial(runDir)
	if err != nil {
		return attach.Answer{}, err
	}
	defer client.Close(0)
	r.Op, r.Plugin = attach.Status, attach.CNM
	return client.Ask(r, agentAnswers)
}

// Bridge returns the bridge that the agent of this host works with; if it does not
// say, the one that the configuration names, or nothing.
func Bridge(cfg Config) string {
	answer, _ := askAgent(cfg.RunDir, attach.Request{}) // what is wrong Check says
	return cmp.Or(answer.Bridge, cfg.Bridge)
}

// managedPlugin is a plugin that Docker runs itself, of its /plugins.
type managedPlugin struct {
	Name    string
	Enabled bool
	Config  struct {
		Interface struct{ Socket string }
	}
}

// docker asks Docker, and whether it finds the plugin.
func (c checker) docker(ctx context.Context) []Finding {
	bounded, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	info, err := c.engine.info(bounded)
	if err != nil {
		remedy := "see whether Docker runs, and what docker_unix_sock says"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "run it as root"
		}
		return []Finding{bad("Docker", err.Error(), remedy), c.socket(ctx)}
	}
	found := []Finding{good("Docker", "%s answers at %s", info.ServerVersion, c.cfg.DockerSocket)}
	managed := c.managed(bounded)
	if managed != nil {
		found = append(found, runs(*managed))
	} else {
		found = append(found, c.socket(ctx))
	}
	return append(found, c.scope(info, managed != nil))
}

// managed returns the plugin as Docker runs it itself, nil if it does not.
func (c checker) managed(ctx context.Context) *managedPlugin {
	var all []managedPlugin
	if err := c.engine.get(ctx, "/plugins", &all); err != nil {
		return nil // some engines have none
	}
	i := slices.IndexFunc(all, func(p managedPlugin) bool { return p.Config.Interface.Socket == filepath.Base(c.cfg.Socket) })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// runs tells whether a managed plugin does.
func runs(p managedPlugin) Finding {
	if !p.Enabled {
		return bad("plugin", fmt.Sprintf("Docker has %s, which is disabled", p.Name), "enable it: docker plugin enable "+p.Name)
	}
	return good("plugin", "Docker runs it as %[1]s, which is its name as a driver: -d %[1]s", p.Name)
}

// socket asks the plugin itself, as Docker does.
func (c checker) socket(ctx context.Context) Finding {
	path := c.cfg.Socket
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	does, err := activate(ctx, path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return bad("plugin", "its socket is root's: "+path, "run it as root")
	case err != nil:
		return bad("plugin", "nobody answers at "+path, "start tpcnm, as a service: systemctl start tuplenet-cnm; its log says why if it ends")
	case !slices.Contains(does, "NetworkDriver"):
		return bad("plugin", fmt.Sprintf("at %s answers a plugin that is not for networks", path), "give this one another place by \"socket\"")
	}
	file := foundBy(path)
	if file == "" {
		return note("plugin", fmt.Sprintf("answers at %s, and Docker looks for plugins in %s", path, pluginDirs[0]), leadDocker(path))
	}
	return good("plugin", "Docker finds it by %s: -d %s", file, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
}

// Answer asks the plugin at a socket whether it is there.
func Answer(ctx context.Context, socket string) error {
	_, err := activate(ctx, socket)
	return err
}

// activate asks the plugin at a socket what it does, as Docker does first.
func activate(ctx context.Context, socket string) ([]string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/Plugin.Activate", nil)
	if err != nil {
		return nil, err
	}
	client := newEngine(socket).client
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ Implements []string }
	err = json.NewDecoder(io.LimitReader(response.Body, maxBody)).Decode(&answer)
	return answer.Implements, err
}

// scope tells who knows of the networks, and whether Docker can do that.
func (c checker) scope(info engineInfo, managed bool) Finding {
	inSwarm := info.Swarm.LocalNodeState == "active"
	scope := store.Scope(c.cfg.Scope)
	if scope == "" {
		scope = store.ScopeLocal
		if info.ClusterStore != "" {
			scope = store.ScopeGlobal
		}
	}
	switch {
	case scope == store.ScopeGlobal && managed && !inSwarm:
		return bad("scope", "is global, and this engine is in no swarm: it creates no network", "docker swarm init, or join; or set scope to local")
	case scope == store.ScopeGlobal && managed:
		return good("scope", "networks are those of the swarm")
	case scope == store.ScopeGlobal && info.ClusterStore == "":
		return bad("scope", "is global, and this engine has no cluster store: it creates no network",
			"leave scope out of the configuration, and share networks by -o switch=; for a swarm see make docker-plugin")
	case scope == store.ScopeGlobal:
		return good("scope", "networks are those of all engines with the cluster store %s", info.ClusterStore)
	case info.ClusterStore != "":
		return note("scope", "networks are this engine's alone, although it has a cluster store", "for networks of all its engines set scope to global")
	}
	return good("scope", "networks are this engine's; hosts share one by -o switch=")
}
