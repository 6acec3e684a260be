package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// certificate makes a certificate that counts from and until some time from now, and
// its key, in two files.
func certificate(t *testing.T, from, until time.Duration) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", secret)
}

// A certificate that does not count is bad, and one that soon does not is worth a note.
func TestCertificates(t *testing.T) {
	goodCert, goodKey := certificate(t, -day, 365*day)
	for name, tt := range map[string]struct {
		from, until time.Duration
		mode        os.FileMode
		cert, ca    string // what is said of it as either: BAD or note, then words
	}{
		"good":           {-day, 365 * day, 0o600, "", ""},
		"expired":        {-2 * day, -day, 0o600, "BAD expired at ", "BAD expired at "},
		"yet to come":    {day, 2 * day, 0o600, "BAD counts only from ", "BAD counts only from "},
		"near its end":   {-day, 29*day + time.Hour, 0o600, "note , in 29 days", "note , in 29 days"},
		"key for anyone": {-day, 365 * day, 0o644, "note everybody on this host can read it", ""},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := certificate(t, tt.from, tt.until)
			if err := os.Chmod(key, tt.mode); err != nil {
				t.Fatal(err)
			}
			check := func(want, ca, cert, key string) {
				t.Helper()
				env := map[string]string{"TUPLENET_CACERT": ca, "TUPLENET_CERT": cert, "TUPLENET_KEY": key}
				r, err := Sources{Env: func(name string) string { return env[name] }}.Resolve(Agent())
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if err := r.CheckFiles(); err != nil {
					got = "BAD " + err.Error()
				}
				for _, n := range r.Notes() {
					got += "note " + n
				}
				verdict, words, _ := strings.Cut(want, " ")
				if (got == "") != (want == "") || !strings.HasPrefix(got, verdict) || !strings.Contains(got, words) {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			check(tt.cert, goodCert, cert, key)
			check(tt.ca, cert, goodCert, goodKey)
		})
	}
}

// Of several authorities one that is good is enough.
func TestCertificatesOfAuthorities(t *testing.T) {
	old, _ := certificate(t, -2*day, -day)
	fresh, _ := certificate(t, -day, 365*day)
	var both []byte
	for _, path := range []string{old, fresh} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, text...)
	}
	if err := os.WriteFile(old, both, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Sources{Env: func(name string) string { return map[string]string{"TUPLENET_CACERT": old}[name] }}.Resolve(Agent())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.CheckFiles(); err != nil || len(r.Notes()) > 0 {
		t.Errorf("%v, %v", err, r.Notes())
	}
}
