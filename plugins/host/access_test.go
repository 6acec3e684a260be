package host

import (
	"log/slog"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"

	"cni.tuplenet/attach"

	"tuplenet/embedded"
)

// A configuration may have an access to etcd of its own, by TLS for one: the
// agent takes that for what it does for it.
func TestOwnAccess(t *testing.T) {
	cert, err := transport.SelfCert(zap.NewNop(), filepath.Join(t.TempDir(), "tls"), []string{"127.0.0.1:0"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	m := b.machine("hv1", "10.1.0.1")
	b.etcd.Stop()
	server, err := embedded.Start(t.Context(), embedded.Config{DataDir: filepath.Join(b.dir, "etcd"), ClientURLs: []string{b.endpoint, "https://127.0.0.1:0"},
		PeerURLs: []string{"unix://" + filepath.Join(b.dir, "peer.sock")}, Log: slog.New(slog.DiscardHandler), Fast: true,
		ClientTLS: embedded.TLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	var secure string
	for _, e := range server.Endpoints() {
		if e != b.endpoint {
			secure = e
		}
	}
	by := func(e attach.Etcd) func(*attach.Request) {
		return func(r *attach.Request) { r.Etcd = &e }
	}
	m.mustAdd("c1", by(attach.Etcd{Endpoints: []string{secure}, Prefix: "/tuplenet", CAFile: cert.CertFile}))
	m.mustAdd("c2", by(attach.Etcd{Endpoints: []string{b.endpoint + "/"}, Prefix: "/tuplenet/"})) // the agent's own, written otherwise
	b.wantOwned("lsp-eth0-c1 10.0.0.2 cni:net/c1/eth0", "lsp-eth0-c2 10.0.0.3 cni:net/c2/eth0")
	b.wantError(m.add("c3", by(attach.Etcd{Endpoints: []string{secure}})), attach.CodeTryLater, secure)
	b.wantError(m.add("c3", by(attach.Etcd{Endpoints: []string{secure}, CAFile: "/nonexistent.pem"})), attach.CodeConfig, "/nonexistent.pem")
	r := request(attach.Release, "c1", by(attach.Etcd{Endpoints: []string{secure}, CAFile: cert.CertFile}))
	if a := m.ask(r); a.Error != nil || a.Pending {
		t.Errorf("DEL: %+v", a)
	}
	b.wantOwned("lsp-eth0-c2 10.0.0.3 cni:net/c2/eth0")
}
