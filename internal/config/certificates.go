package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// CheckFiles reads the certificates that settings name, and says what is wrong with
// them. Its error is Problems.
func (r *Resolved) CheckFiles() error {
	var problems Problems
	fail := func(key string, err error) {
		v := r.Value(key)
		problems = append(problems, Problem{Key: key, Where: v.Origin.String(), Text: fmt.Sprintf("%s: %s: %v", v.Origin, key, err)})
	}
	if ca := r.Etcd.CAFile; ca != "" {
		if text, err := os.ReadFile(ca); err != nil {
			fail("cacert", err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
			fail("cacert", fmt.Errorf("%s holds no certificate in PEM", ca))
		}
	}
	if r.Etcd.CertFile != "" && r.Etcd.KeyFile != "" {
		if _, err := tls.LoadX509KeyPair(r.Etcd.CertFile, r.Etcd.KeyFile); err != nil {
			fail("cert", err)
		}
	}
	return problems.err()
}
