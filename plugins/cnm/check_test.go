package cnm

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tuplenet/internal/topology"
)

// String tells a finding as tuplenet doctor does, for tests.
func (f Finding) String() string {
	verdict := "BAD"
	switch {
	case f.Note:
		verdict = "note"
	case f.OK:
		verdict = "ok"
	}
	return fmt.Sprintf("%s %s: %s; %s", verdict, strings.TrimSpace(f.Check+" "+f.Subject), f.Text, f.Remedy)
}

// wantFindings runs Check, and compares the beginnings of what it finds.
func (b *bed) wantFindings(cfg Config, want ...string) {
	b.t.Helper()
	found := Check(b.t.Context(), cfg)
	if len(found) != len(want) {
		b.t.Fatalf("found %v, want %d", found, len(want))
	}
	for i, f := range found {
		if !strings.HasPrefix(f.String(), want[i]) {
			b.t.Errorf("found %q, want it to begin with %q", f, want[i])
		}
	}
}

// Check of a host on which one thing after another is away.
func TestCheck(t *testing.T) {
	b := newBed(t)
	b.create(topology.Router{Name: "LR-central"})
	docker := newFakeDocker(t, filepath.Join(b.dir, "docker.sock"))
	docker.info["ServerVersion"] = "20.10.24"
	docker.answer("/plugins", says(http.StatusOK, "[]"))
	cfg := b.plugin.cfg
	cfg.EgressRouter = "LR-central"

	etcd := "ok etcd " + b.endpoint + ": 3."
	const topo, router, agent = "ok topology: is in etcd under /tuplenet/", "ok router: LR-central is there", "ok agent: attaches containers of host hv1 to br-int"
	const engine, scope = "ok Docker: 20.10.24 answers at ", "ok scope: networks are this engine's"
	elsewhere := "note plugin: answers at " + cfg.Socket + ", and Docker looks for plugins in /run/docker/plugins; "
	b.wantFindings(cfg, etcd, topo, router, agent, engine, elsewhere, scope)

	wrong := cfg
	wrong.EgressRouter, wrong.DataStorePrefix, wrong.Bridge = "LR-Central", "/other", "br-other"
	b.wantFindings(wrong, etcd, "note topology: etcd has nothing under /other/; ",
		"BAD router: egress_router_name is LR-Central, and there is no such router, so that networks cannot be created; make it: tpctl lr add LR-Central; or ",
		agent, "BAD configuration: data_store_prefix is /other, but this host's agent works with /tuplenet; have it name the agent's, or start the agent with that", engine, elsewhere, scope)
	wrong.DataStorePrefix = cfg.DataStorePrefix
	b.wantFindings(wrong, etcd, topo, `BAD router: egress_router_name is LR-Central, and there is no such router, so that networks cannot be created; did you mean "LR-central"?; make it: `,
		agent, "BAD configuration: bridge is br-other, but this host's agent works with br-int; have it name the agent's, or start the agent with that", engine, elsewhere, scope)
	if bridge := Bridge(wrong); bridge != "br-int" {
		t.Errorf("the agent's bridge is %q", bridge)
	}

	// An etcd that does not answer is no fault of the agent's.
	dead := cfg
	dead.EtcdCluster = "127.0.0.1:1"
	b.wantFindings(dead, "BAD etcd 127.0.0.1:1: does not answer: ", agent, engine, elsewhere, scope)

	// Docker may run the plugin itself.
	managed := `[{"Name":"other:1","Enabled":true,"Config":{"Interface":{"Socket":"other.sock"}}},{"Name":"tuplenet:latest","Enabled":%t,"Config":{"Interface":{"Socket":"plugin.sock"}}}]`
	docker.answer("/plugins", says(http.StatusOK, fmt.Sprintf(managed, true)))
	b.wantFindings(cfg, etcd, topo, router, agent, engine, "ok plugin: Docker runs it as tuplenet:latest", scope)
	docker.answer("/plugins", says(http.StatusOK, fmt.Sprintf(managed, false)))
	b.wantFindings(cfg, etcd, topo, router, agent, engine, "BAD plugin: Docker has tuplenet:latest, which is disabled; enable it: docker plugin enable tuplenet:latest", scope)

	// Who hangs is waited for, but not for long, and not by the others.
	docker.answer("/info", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	begun := time.Now()
	b.wantFindings(cfg, etcd, topo, router, agent, "BAD Docker: ask the Docker Engine at "+cfg.DockerSocket+" for /info: no answer in time", elsewhere)
	if took := time.Since(begun); took > 2*checkPatience {
		t.Errorf("it took %s", took)
	}

	docker.stop()
	b.etcd.Stop()
	b.wantFindings(cfg, "BAD etcd "+b.endpoint+": does not answer: ", "BAD agent: attaches no container now: reading chassis hv1: etcd at unix://", "BAD Docker: ", elsewhere)
	b.stop()
	if bridge := Bridge(wrong); bridge != "br-other" {
		t.Errorf("without an agent the bridge is %q", bridge)
	}
	cfg.Socket = filepath.Join(b.dir, "none.sock")
	b.wantFindings(cfg, "BAD etcd "+b.endpoint+": does not answer: ", "BAD agent: nobody answers at "+b.runDir+"/attach.sock, so that no container is attached; start the agent",
		"BAD Docker: ask the Docker Engine at ", "BAD plugin: nobody answers at "+cfg.Socket+"; start tpcnm")
}

// What a plugin's socket is used for may be something else.
func TestCheckSocket(t *testing.T) {
	c := checker{cfg: Config{Socket: filepath.Join(t.TempDir(), "p.sock")}}
	docker := newFakeDocker(t, c.cfg.Socket)
	docker.answer("/Plugin.Activate", says(http.StatusOK, `{"Implements": ["VolumeDriver"]}`))
	if f := c.socket(t.Context()); !strings.HasPrefix(f.String(), "BAD plugin: at "+c.cfg.Socket+" answers a plugin that is not for networks; ") {
		t.Errorf("found %s", f)
	}
	docker.answer("/Plugin.Activate", says(http.StatusOK, `{"Implements": ["NetworkDriver", "IpamDriver"]}`))
	was := pluginDirs
	pluginDirs = []string{filepath.Dir(c.cfg.Socket)}
	defer func() { pluginDirs = was }()
	if f := c.socket(t.Context()); !strings.HasPrefix(f.String(), "ok plugin: Docker finds it by "+c.cfg.Socket+": -d p;") {
		t.Errorf("found %s", f)
	}
}

// Whether the networks' scope is one that the engine can have.
func TestCheckScope(t *testing.T) {
	for _, test := range []struct {
		scope, store, swarm string
		managed             bool
		want                string
	}{
		{want: "ok scope: networks are this engine's; hosts share one by -o switch="},
		{scope: "local", swarm: "active", managed: true, want: "ok scope: networks are this engine's; "},
		{store: "etcd://10.0.0.1:2379", want: "ok scope: networks are those of all engines with the cluster store etcd://10.0.0.1:2379"},
		{scope: "global", store: "etcd://10.0.0.1:2379", want: "ok scope: networks are those of all engines"},
		{scope: "local", store: "etcd://10.0.0.1:2379", want: "note scope: networks are this engine's alone, although it has a cluster store; "},
		{scope: "global", want: "BAD scope: is global, and this engine has no cluster store: it creates no network; leave scope out"},
		{scope: "global", swarm: "active", want: "BAD scope: is global, and this engine has no cluster store"},
		{scope: "global", swarm: "active", managed: true, want: "ok scope: networks are those of the swarm"},
		{scope: "global", swarm: "inactive", managed: true, want: "BAD scope: is global, and this engine is in no swarm: it creates no network; docker swarm init"},
	} {
		info := engineInfo{ClusterStore: test.store}
		info.Swarm.LocalNodeState = test.swarm
		if f := (checker{cfg: Config{Scope: test.scope}}).scope(info, test.managed); !strings.HasPrefix(f.String(), test.want) {
			t.Errorf("%+v: found %q", test, f)
		}
	}
}
