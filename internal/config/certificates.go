package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// expiryNotice is how long before its end a certificate is worth a note.
const expiryNotice = 30 * 24 * time.Hour

// CheckFiles reads the certificates that settings name, and says what is wrong with
// them; what is not wrong yet becomes the note of its setting. Its error is Problems.
func (r *Resolved) CheckFiles() error {
	var problems Problems
	fail := func(key string, err error) {
		v := r.Value(key)
		problems = append(problems, Problem{Key: key, Where: v.Origin.String(), Text: fmt.Sprintf("%s: %s: %v", v.Origin, key, err)})
	}
	say := func(key, text string) {
		if v := r.value(key); v != nil && text != "" {
			v.Note = fmt.Sprintf("%s: %s: %s", v.Origin, key, text)
		}
	}
	now := time.Now()
	if ca := r.Etcd.CAFile; ca != "" {
		note, err := checkAuthority(ca, now)
		say("cacert", note)
		if err != nil {
			fail("cacert", err)
		}
	}
	if r.Etcd.CertFile != "" && r.Etcd.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(r.Etcd.CertFile, r.Etcd.KeyFile)
		if err != nil {
			fail("cert", err)
			return problems.err()
		}
		note, err := checkTimes(r.Etcd.CertFile, pair.Leaf, now)
		say("cert", note)
		if err != nil {
			fail("cert", err)
		}
		if info, err := os.Stat(r.Etcd.KeyFile); err == nil && info.Mode()&0o004 != 0 {
			say("key", fmt.Sprintf("everybody on this host can read it: chmod o-r %s", r.Etcd.KeyFile))
		}
	}
	return problems.err()
}

// checkAuthority judges the certificates of authorities in a file. One of them that is
// good is enough.
func checkAuthority(path string, now time.Time) (note string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	err = fmt.Errorf("%s holds no certificate in PEM", path)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, wrong := x509.ParseCertificate(block.Bytes)
		if wrong != nil {
			continue
		}
		one, wrong := checkTimes(path, cert, now)
		if wrong == nil && one == "" {
			return "", nil
		}
		if err != nil {
			note, err = one, wrong
		}
	}
	return note, err
}

// checkTimes judges when a certificate counts.
func checkTimes(path string, cert *x509.Certificate, now time.Time) (note string, err error) {
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.After(cert.NotAfter):
		return "", fmt.Errorf("%s expired at %s; put another one in its place", path, end)
	case now.Before(cert.NotBefore):
		return "", fmt.Errorf("%s counts only from %s; see the clock of this host", path, cert.NotBefore.UTC().Format(time.RFC3339))
	case cert.NotAfter.Sub(now) < expiryNotice:
		return fmt.Sprintf("%s expires at %s, in %d days; put another one in its place", path, end, int(cert.NotAfter.Sub(now).Hours())/24), nil
	}
	return "", nil
}
