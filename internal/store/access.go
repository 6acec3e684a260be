package store

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// User returns the name that etcd is asked under: that of the user, else the common
// name of the certificate; empty if there is neither.
func (s *Store) User() string { return s.user }

// Who names the user in a sentence.
func (s *Store) Who() string {
	if s.user == "" {
		return "who is no user"
	}
	return "user " + s.user
}

func userOf(cfg Config) string {
	if cfg.Username != "" {
		return cfg.Username
	}
	if cert, err := certificateIn(cfg.CertFile); err == nil {
		return cert.Subject.CommonName
	}
	return ""
}

// CertificateEnd returns when the certificate expires that etcd is shown, which is
// read from its file anew for each connection; ok is false if there is none.
func (s *Store) CertificateEnd() (end time.Time, ok bool) {
	cert, err := certificateIn(s.certificate)
	if err != nil {
		return time.Time{}, false
	}
	return cert.NotAfter, true
}

// certificateIn returns the first certificate in a PEM file.
func certificateIn(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", path)
	}
	return x509.ParseCertificate(block.Bytes)
}
