package embedded

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Access says where a running etcd is and how to reach it.
type Access struct {
	Endpoints []string // HOST:PORT, http(s)://HOST:PORT or unix:///PATH; one member is asked, the first that answers

	CAFile            string // PEM, the authorities that etcd's certificate is judged by; empty: the system's
	CertFile, KeyFile string // PEM, our own certificate, if etcd wants one
	Username          string // where etcd has users: one with its role root
	Password          string
}

// Admin does to a running etcd what its operator does: it takes backups and
// changes the cluster's members. Its methods are for one goroutine.
type Admin struct {
	client *clientv3.Client
	access Access
	at     string // its endpoints, for messages
}

// answerPatience is how long an etcd may take to answer.
const answerPatience = 5 * time.Second

// Connect looks for a member that answers.
func Connect(ctx context.Context, access Access) (*Admin, error) {
	a := &Admin{access: access, at: strings.Join(access.Endpoints, ", ")}
	config := clientv3.Config{
		Context: ctx, DialTimeout: answerPatience, Logger: zap.NewNop(),
		Username: access.Username, Password: access.Password,
	}
	if access.CAFile != "" || access.CertFile != "" || access.KeyFile != "" {
		tls, err := transport.TLSInfo{TrustedCAFile: access.CAFile, CertFile: access.CertFile, KeyFile: access.KeyFile}.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("TLS for etcd: %w", err)
		}
		config.TLS = tls
	}
	why := errors.New("no endpoint was given")
	for _, endpoint := range access.Endpoints {
		config.Endpoints = []string{endpoint}
		if a.client, why = dial(ctx, config); why == nil {
			a.at = endpoint
			return a, nil
		}
	}
	return nil, a.failed("connecting", why)
}

// dial returns a client of a member that answers. One that has lost the others
// answers this, too: its data can be saved.
func dial(ctx context.Context, config clientv3.Config) (*clientv3.Client, error) {
	username := config.Username
	config.Username = "" // with it the client logs in when it is made, and does not tell why it cannot
	client, err := clientv3.New(config)
	if err != nil {
		return nil, err
	}
	_, err = state(ctx, client)
	if err == nil && username == "" {
		return client, nil
	}
	client.Close()
	if code := status.Code(err); username == "" || code == codes.Unavailable || code == codes.DeadlineExceeded {
		return nil, err
	}
	config.Username = username // it is there, and refuses whom it does not know
	return clientv3.New(config)
}

// state asks a member how it is, once: the client's own method would ask again and
// again.
func state(ctx context.Context, client *clientv3.Client) (*etcdserverpb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	return etcdserverpb.NewMaintenanceClient(client.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{})
}

// Close ends the connection.
func (a *Admin) Close() error { return a.client.Close() }
