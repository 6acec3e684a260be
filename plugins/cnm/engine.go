package cnm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// How long the engine may take for one answer, and how large that may be: of a
// network with 65,000 containers it has 20 MB.
const (
	enginePatience = 10 * time.Second
	maxAnswer      = 32 << 20
	maxEvent       = 1 << 20
)

// engine is the Docker Engine of this host, asked by its API: what the plugin's
// protocol does not tell, and what there is while nobody asks the plugin for
// anything. Paths are without a version, which means the engine's newest.
type engine struct {
	socket string
	client *http.Client
	limit  int64 // of an answer, bytes

	mu    sync.Mutex
	known engineInfo // as it was told last
}

// engineInfo is what /info says of an engine.
type engineInfo struct {
	ID            string // cloned machines may have the same
	ServerVersion string
	ClusterStore  string // URL of the store that engines share; those since 23.0 have none
	Swarm         struct {
		LocalNodeState string // active: it is in a swarm
	}
}

// nullDriver is the driver of Docker's own network none, which an engine makes
// when it finds no networks, and keeps where the local ones are.
const nullDriver = "null"

// dockerNetwork is a network as the engine knows it.
type dockerNetwork struct {
	ID     string `json:"Id"`
	Name   string
	Driver string // see nullDriver
	Scope  string
	IPAM   struct {
		Config []struct {
			Subnet             string
			AuxiliaryAddresses map[string]string
		}
	}
	// Containers are the endpoints on this engine, also those without a container.
	// It is told by network, not by networks.
	Containers map[string]struct {
		EndpointID  string
		IPv4Address string // with the length of the subnet
	}
}

// newEngine returns the engine whose API is at a socket. It connects when it is
// asked for something.
func newEngine(socket string) *engine {
	socket = strings.TrimPrefix(socket, "unix://")
	var dialer net.Dialer
	return &engine{socket: socket, limit: maxAnswer, client: &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", socket)
			},
			ResponseHeaderTimeout:  enginePatience,
			MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns:           1,
			IdleConnTimeout:        time.Minute,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// errGone is the engine's word that it does not have what it was asked for.
var errGone = errors.New("not found in Docker")

// info asks who the engine is, and remembers it.
func (e *engine) info(ctx context.Context) (i engineInfo, err error) {
	if err = e.get(ctx, "/info", &i); err == nil && i.ID == "" {
		err = e.failed("/info", errors.New("the answer has no ID: is this the socket of a Docker Engine?"))
	}
	if err != nil {
		return i, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = i
	return i, nil
}

// last returns what the engine told when it was last asked who it is.
func (e *engine) last() engineInfo {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known
}

// networks returns all networks that the engine knows, without their containers.
func (e *engine) networks(ctx context.Context) (all []dockerNetwork, err error) {
	return all, e.get(ctx, "/networks", &all)
}

// network returns one network, or errGone.
func (e *engine) network(ctx context.Context, id string) (n dockerNetwork, err error) {
	if err = e.get(ctx, "/networks/"+url.PathEscape(id), &n); err == nil && n.ID != id {
		err = errGone // it is another's name, or the beginning of another's id
	}
	return n, err
}

// get asks for what path names and reads the answer into answer.
func (e *engine) get(ctx context.Context, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, enginePatience)
	defer cancel()
	body, err := e.open(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: e.limit}
	if err = json.NewDecoder(limited).Decode(answer); err != nil && limited.N == 0 {
		err = fmt.Errorf("the answer is larger than %d MB", e.limit>>20)
	}
	if err != nil {
		return e.failed(path, err)
	}
	return nil
}

// events calls heard once the engine tells of what happens to its networks, and
// then whenever one was made or removed, until it stops telling. What was missed
// before is not told.
func (e *engine) events(ctx context.Context, heard func()) error {
	filters := `{"type":["network"],"event":["create","destroy","remove"]}`
	path := "/events?filters=" + url.QueryEscape(filters)
	body, err := e.open(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	heard()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) > 0 {
			heard()
		}
	}
	err = lines.Err()
	if err == nil {
		err = errors.New("it has ended the connection")
	}
	return e.failed("/events", err)
}

// open asks for what path names and returns the answer, which ends with ctx.
func (e *engine) open(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker"+path, nil)
	if err != nil {
		return nil, e.failed(path, err)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		var wrapped *url.Error // it would name an address that there is not
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in time: is it starting, or does it hang? (%w)", ctx.Err())
		}
		return nil, e.failed(path, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound:
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %w", path, errGone)
	}
	defer resp.Body.Close()
	var said struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, 4<<10)).Decode(&said)
	return nil, e.failed(path, fmt.Errorf("it answers %s %q", resp.Status, said.Message))
}

// failed says what the engine was being asked when that failed.
func (e *engine) failed(path string, err error) error {
	path, _, _ = strings.Cut(path, "?")
	return fmt.Errorf("ask the Docker Engine at %s for %s: %w", e.socket, path, err)
}
