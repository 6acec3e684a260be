package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tuplenet/embedded"
	"tuplenet/internal/topology"
)

// certificates makes an authority, and certificates of 127.0.0.1 for a server
// and a client, in files.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, leafKey.Public(), authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", authorityDER), write("cert.pem", "CERTIFICATE", leafDER), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	ca, cert, key := certificates(t)
	server := startEtcd(t, embedded.Config{
		ClientURLs: []string{"https://127.0.0.1:0"},
		ClientTLS:  embedded.TLS{CertFile: cert, KeyFile: key, TrustedCAFile: ca, ClientCertAuth: true},
	})
	cfg := Config{Endpoints: server.Endpoints(), CAFile: ca, CertFile: cert, KeyFile: key, Log: quiet}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCreate(t, s, topology.Switch{Name: "S"})
	if u := <-s.Watch(t.Context()); len(u.Changes) != 1 {
		t.Errorf("got %+v", u)
	}

	stranger, _, _ := certificates(t)
	cfg.DialTimeout = 300 * time.Millisecond
	cfg.CAFile = stranger
	_, err = Open(t.Context(), cfg)
	wantError(t, err, nil, "does not answer", "certificate signed by unknown authority")
	cfg.CAFile, cfg.CertFile, cfg.KeyFile = ca, "", ""
	_, err = Open(t.Context(), cfg)
	wantError(t, err, nil, "does not answer")
	cfg.CAFile = filepath.Join(t.TempDir(), "none")
	_, err = Open(t.Context(), cfg)
	wantError(t, err, nil, "TLS for etcd", "no such file")
	cfg.CAFile, cfg.CertFile = "", cert
	_, err = Open(t.Context(), cfg)
	wantError(t, err, nil, "TLS for etcd")
}

func TestUserAndPassword(t *testing.T) {
	server := startEtcd(t, embedded.Config{})
	s := open(t, server)
	auth := s.client.Auth
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := auth.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := auth.RoleAdd(ctx, "root"); return err },
		func() error { _, err := auth.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := auth.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{Endpoints: server.Endpoints(), Username: "root", Password: "secret", Log: quiet}
	known, err := Open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer known.Close()
	mustCreate(t, known, topology.Switch{Name: "S"})
	updates := known.Watch(ctx)
	if u := <-updates; len(u.Changes) != 1 {
		t.Errorf("got %+v", u)
	}
	mustCreate(t, known, topology.Switch{Name: "T"})
	if u := <-updates; len(u.Changes) != 1 {
		t.Errorf("got %+v", u)
	}

	cfg.Password = "wrong"
	_, err = Open(ctx, cfg)
	wantError(t, err, nil, "knows no such user with that password")
	cfg.Username = ""
	_, err = Open(ctx, cfg)
	wantError(t, err, nil, "wants to know who asks")
}
