package embedded

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func mustConnect(t *testing.T, access Access) *Admin {
	t.Helper()
	a, err := Connect(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func mustPut(t *testing.T, c *clientv3.Client, key, value string) int64 {
	t.Helper()
	resp, err := c.Put(within(t), key, value)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func wantValue(t *testing.T, c *clientv3.Client, key, want string) {
	t.Helper()
	resp, err := c.Get(within(t), key)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if len(resp.Kvs) > 0 {
		got = string(resp.Kvs[0].Value)
	}
	if got != want {
		t.Errorf("%s is %q, want %q", key, got, want)
	}
}

// mustBackup returns the file of a backup, and what is in it.
func mustBackup(t *testing.T, s *Server) (string, Backup) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup")
	b, err := mustConnect(t, Access{Endpoints: s.Endpoints()}).Backup(within(t), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file, b
}

// What was there at the time of the backup is there after it was restored, and
// what came later is not. Who watches hears that the past is gone.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	cfg := local(t)
	s := mustStart(t, cfg)
	c := connect(t, s.Endpoints()...)
	mustPut(t, c, "kept", "1")
	mustPut(t, c, "gone", "x")
	if _, err := c.Delete(within(t), "gone"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	told := int64(0)
	b, err := mustConnect(t, Access{Endpoints: s.Endpoints()}).Backup(within(t), file, func(bytes, of int64) {
		if bytes <= told || of <= 0 {
			t.Errorf("progress goes from %d to %d of %d", told, bytes, of)
		}
		told = bytes
	})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 || info.Size() != b.Size || told != b.Size {
		t.Errorf("the file is %v (%v), the backup %+v, and %d bytes were told of", info, err, b, told)
	}
	if b.Keys != 1 || b.Revision != 4 {
		t.Errorf("the backup is %+v, want 1 key at revision 4", b)
	}
	mustPut(t, c, "kept", "2")
	seen := mustPut(t, c, "late", "y")
	s.Stop()

	restored := local(t)
	if b2, err := Restore(file, restored); err != nil || b2.Keys != b.Keys {
		t.Fatalf("got %+v, %v", b2, err)
	}
	s = mustStart(t, restored)
	c = connect(t, s.Endpoints()...)
	wantValue(t, c, "kept", "1")
	wantValue(t, c, "late", "")
	wantValue(t, c, "gone", "")
	resp := <-c.Watch(within(t), "kept", clientv3.WithRev(seen+1))
	if !errors.Is(resp.Err(), rpctypes.ErrCompacted) {
		t.Errorf("who has seen revision %d hears %v, want that it is compacted", seen, resp.Err())
	}
	if revision := mustPut(t, c, "kept", "3"); revision <= seen {
		t.Errorf("revision %d was there before", revision)
	}
	s.Stop()
	wantValue(t, connect(t, mustStart(t, restored).Endpoints()...), "kept", "3")
}

// A backup makes a cluster of several members, too, as which each is restored.
func TestRestoreAsCluster(t *testing.T) {
	t.Parallel()
	alone := mustStart(t, local(t))
	mustPut(t, connect(t, alone.Endpoints()...), "k", "v")
	file, _ := mustBackup(t, alone)
	alone.Stop()

	ports, cluster := freePorts(t, 3), []string{}
	cfgs := make([]Config, len(ports))
	for i, port := range ports {
		cfgs[i] = local(t)
		cfgs[i].Name, cfgs[i].PeerURLs = fmt.Sprint("m", i), []string{"http://" + port}
		cluster = append(cluster, cfgs[i].Name+"="+cfgs[i].PeerURLs[0])
	}
	started := make(chan *Server)
	for _, cfg := range cfgs {
		cfg.InitialCluster = strings.Join(cluster, ",")
		if _, err := Restore(file, cfg); err != nil {
			t.Fatal(err)
		}
		go func() {
			s, err := Start(within(t), cfg)
			if err != nil {
				t.Error(err)
			}
			started <- s
		}()
	}
	for range cfgs {
		s := <-started
		if s == nil {
			continue
		}
		t.Cleanup(s.Stop)
		wantValue(t, connect(t, s.Endpoints()...), "k", "v")
		if all, err := mustConnect(t, Access{Endpoints: s.Endpoints()}).Members(within(t)); err != nil || len(all) != 3 {
			t.Errorf("the members are %+v (%v)", all, err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	cfg := local(t)
	s := mustStart(t, cfg)
	mustPut(t, connect(t, s.Endpoints()...), "k", "v")
	file, _ := mustBackup(t, s)
	s.Stop()
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "backup")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	damaged := append([]byte(nil), whole...)
	damaged[len(damaged)/2]++

	_, err = Restore(file, Config{})
	wantError(t, err, "needs a data directory")
	for _, tt := range []struct{ file, want string }{
		{filepath.Join(t.TempDir(), "none"), "no such file"},
		{t.TempDir(), "is a directory"},
		{write(nil), "its size is 0 bytes"},
		{write(whole[:len(whole)/2+5]), "only the beginning"},
		{write(damaged), "checksum is wrong"},
		{filepath.Join(cfg.DataDir, "member", "snap", "db"), "a copy of etcd's own file"},
	} {
		to := local(t)
		_, err := Restore(tt.file, to)
		wantError(t, err, tt.file, tt.want)
		if left, _ := os.ReadDir(to.DataDir); len(left) > 0 {
			t.Errorf("%s: there is %s", tt.want, left[0])
		}
	}
	_, err = Restore(file, cfg)
	wantError(t, err, cfg.DataDir, "not empty")
	wantValue(t, connect(t, mustStart(t, cfg).Endpoints()...), "k", "v")

	stranger := local(t)
	stranger.Name, stranger.InitialCluster = "c", "a=http://192.0.2.1:2380,b=http://192.0.2.2:2380"
	_, err = Restore(file, stranger)
	wantError(t, err, stranger.DataDir, `"c"`, "initial cluster")
	if left, _ := os.ReadDir(stranger.DataDir); len(left) > 0 {
		t.Errorf("there is %s", left[0])
	}

	// What a restore has left that was killed is in nobody's way.
	again := local(t)
	if err := os.MkdirAll(filepath.Join(again.DataDir, restoring, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(file, again); err != nil {
		t.Error(err)
	}
}

// A backup that fails leaves the one that was there, and nothing else.
func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	s := mustStart(t, local(t))
	a := mustConnect(t, Access{Endpoints: s.Endpoints()})
	_, err := a.Backup(within(t), filepath.Join(t.TempDir(), "none", "backup"), nil)
	wantError(t, err, "none/backup", "there is no directory", "mkdir")

	dir := t.TempDir()
	file := filepath.Join(dir, "backup")
	if err := os.WriteFile(file, []byte("older"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = a.Backup(ctx, file, func(int64, int64) { cancel() })
	// A small one may have come as a whole before.
	if err != nil {
		wantError(t, err, "taking a backup")
		if content, _ := os.ReadFile(file); string(content) != "older" {
			t.Errorf("the older backup is %q", content)
		}
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("there are %v", all)
	}

	endpoints := s.Endpoints()
	s.Stop()
	_, err = Connect(within(t), Access{Endpoints: endpoints})
	wantError(t, err, "connecting", endpoints[0], "connection refused")
	if !errors.Is(err, ErrNotServing) {
		t.Errorf("of an etcd that does not run: %v", err)
	}
	_, err = a.Backup(within(t), file, nil)
	wantError(t, err, "taking a backup", endpoints[0])

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, err = Connect(within(t), Access{Endpoints: []string{silent.Addr().String()}})
	wantError(t, err, "does not answer", "away when it started")
	if !errors.Is(err, ErrNotServing) {
		t.Errorf("of an etcd that does not answer: %v", err)
	}
}

// A backup goes by a link to the file behind it, and takes the place of nothing but
// a file.
func TestBackupTarget(t *testing.T) {
	t.Parallel()
	s := mustStart(t, local(t))
	a := mustConnect(t, Access{Endpoints: s.Endpoints()})
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Symlink("real", in("latest")), os.WriteFile(in("real"), []byte("older"), 0o600),
		os.Symlink("none", in("dangling")), os.Mkdir(in("directory"), 0o700),
		syscall.Mkfifo(in("pipe"), 0o600), syscall.Mknod(in("full"), syscall.S_IFCHR|0o600, 1<<8|7),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := a.Backup(within(t), in("latest"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(in("latest")); err != nil || to != "real" {
		t.Errorf("the link leads to %s (%v)", to, err)
	}
	if b2, err := ReadBackup(in("real")); err != nil || b2.Revision != b.Revision {
		t.Errorf("behind the link is %+v (%v), want %+v", b2, err, b)
	}
	for _, tt := range []struct{ name, want string }{
		{"dangling", "a link to a file that does not exist"},
		{"directory", "a directory; name a file in it"},
		{"pipe", "a device, a pipe or a socket"},
		{"full", "a device, a pipe or a socket"},
	} {
		before, _ := os.Lstat(in(tt.name))
		_, err := a.Backup(within(t), in(tt.name), nil)
		wantError(t, err, in(tt.name), tt.want)
		if after, err := os.Lstat(in(tt.name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is another file now (%v)", tt.name, err)
		}
	}
	if all, _ := os.ReadDir(dir); len(all) != 6 {
		t.Errorf("there are %v", all)
	}
}

// The data directory of an etcd that is stopped is as good as a backup, also that of a
// member that does not start any more without the others.
func TestRestoreFromDataDirectory(t *testing.T) {
	t.Parallel()
	cfg := local(t)
	s := mustStart(t, cfg)
	mustPut(t, connect(t, s.Endpoints()...), "k", "v")
	_, err := Restore(cfg.DataDir, local(t))
	wantError(t, err, cfg.DataDir, "in use by another etcd", "take a backup of that, or stop it")
	s.Stop()
	to := local(t)
	b, err := Restore(cfg.DataDir, to)
	if err != nil || b.Keys != 1 || b.Revision != 2 {
		t.Fatalf("got %+v, %v", b, err)
	}
	c := connect(t, mustStart(t, to).Endpoints()...)
	wantValue(t, c, "k", "v")
	// What was not changed is as it was.
	wantValue(t, connect(t, mustStart(t, cfg).Endpoints()...), "k", "v")
}

// Who asks the wrong way is told which one may be right.
func TestMismatch(t *testing.T) {
	t.Parallel()
	pair := func() *transport.TLSInfo {
		cert, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1, x509.ExtKeyUsageClientAuth)
		if err != nil {
			t.Fatal(err)
		}
		return &cert
	}
	ours, other := pair(), pair()
	start := func(auth bool, url string) string {
		cfg := local(t)
		cfg.ClientURLs = []string{url}
		cfg.ClientTLS = TLS{CertFile: ours.CertFile, KeyFile: ours.KeyFile, TrustedCAFile: ours.CertFile, ClientCertAuth: auth}
		_, addr, _ := strings.Cut(mustStart(t, cfg).Endpoints()[0], "://")
		return addr
	}
	plain, tls, strict := start(false, "http://127.0.0.1:0"), start(false, "https://127.0.0.1:0"), start(true, "https://127.0.0.1:0")
	for _, tt := range []struct {
		access Access
		want   string
	}{
		{Access{Endpoints: []string{tls}}, "it may want TLS"},
		{Access{Endpoints: []string{"http://" + strict}}, "it may want TLS"},
		{Access{Endpoints: []string{"https://" + plain}}, "does not speak TLS"},
		{Access{Endpoints: []string{plain}, CAFile: ours.CertFile}, "does not speak TLS"},
		{Access{Endpoints: []string{"https://" + tls}}, "name that with --cacert"},
		{Access{Endpoints: []string{tls}, CAFile: other.CertFile}, "name that with --cacert"},
		{Access{Endpoints: []string{strict}, CAFile: ours.CertFile}, "want"}, // seen, or guessed
		{Access{Endpoints: []string{strict}, CAFile: ours.CertFile, CertFile: other.CertFile, KeyFile: other.KeyFile}, "certificate of"},
	} {
		_, err := Connect(within(t), tt.access)
		wantError(t, err, "connecting", tt.access.Endpoints[0], tt.want)
	}
}

// The first endpoint that answers is asked, over TLS where etcd wants it.
func TestAdminAccess(t *testing.T) {
	t.Parallel()
	cert, err := transport.SelfCert(zap.NewNop(), t.TempDir(), []string{"127.0.0.1:0"}, 1, x509.ExtKeyUsageClientAuth)
	if err != nil {
		t.Fatal(err)
	}
	cfg := local(t)
	cfg.ClientURLs = []string{"https://127.0.0.1:0"}
	cfg.ClientTLS = TLS{CertFile: cert.CertFile, KeyFile: cert.KeyFile, TrustedCAFile: cert.CertFile, ClientCertAuth: true}
	s := mustStart(t, cfg)
	access := Access{Endpoints: append([]string{"https://127.0.0.1:1"}, s.Endpoints()...), CAFile: cert.CertFile, CertFile: cert.CertFile, KeyFile: cert.KeyFile}
	if all, err := mustConnect(t, access).Members(within(t)); err != nil || len(all) != 1 {
		t.Errorf("got %v, %v", all, err)
	}
	_, err = Connect(t.Context(), Access{Endpoints: s.Endpoints(), CAFile: "/none"})
	wantError(t, err, "TLS for etcd", "/none")
	_, err = Connect(t.Context(), Access{})
	wantError(t, err, "no endpoint")
}

// Where etcd has users, it takes root to take a backup.
func TestAdminUsers(t *testing.T) {
	t.Parallel()
	s := mustStart(t, local(t))
	c := connect(t, s.Endpoints()...)
	for _, user := range []string{"root", "other"} {
		if _, err := c.UserAdd(within(t), user, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.UserGrantRole(within(t), "root", "root"); err != nil {
		t.Fatal(err)
	}
	mustPut(t, c, "k", "v")
	if _, err := c.AuthEnable(within(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	access := Access{Endpoints: s.Endpoints(), Username: "root", Password: "secret"}
	if _, err := mustConnect(t, access).Backup(within(t), file, nil); err != nil {
		t.Error(err)
	}
	access.Username = "other"
	_, err := mustConnect(t, access).Backup(within(t), file, nil)
	wantError(t, err, "permission denied", "etcd's root", "--cert", "TUPLENET_PASSWORD", "--config")
	wantError(t, mustConnect(t, access).RemoveMember(within(t), "default"), "permission denied", "etcd's root")
	nobody := Access{Endpoints: s.Endpoints()}
	_, err = Connect(within(t), nobody)
	wantError(t, err, "wants to know who asks", "etcd's user root", "--cert", "TUPLENET_PASSWORD", "--config")
	access.Password = "wrong"
	_, err = Connect(within(t), access)
	wantError(t, err, "authentication failed", "no such user with that password")

	// A restored copy has users as before, unless it is to be open.
	for _, restore := range []func(string, Config) (Backup, error){Restore, RestoreOpen} {
		copied := local(t)
		if _, err := restore(file, copied); err != nil {
			t.Fatal(err)
		}
		c := connect(t, mustStart(t, copied).Endpoints()...)
		state, err := c.AuthStatus(within(t))
		if err == nil && !state.Enabled {
			wantValue(t, c, "k", "v")
			if users, err := c.UserList(within(t)); err != nil || len(users.Users) != 2 {
				t.Errorf("the users are %v (%v)", users, err)
			}
			if _, err := c.AuthEnable(within(t)); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Get(within(t), "k"); !errors.Is(err, rpctypes.ErrUserEmpty) {
			t.Errorf("with authentication: %v", err)
		}
	}
}
