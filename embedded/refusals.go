package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrNotServing is in the error of who finds nobody where etcd should be, or an etcd
// that does not answer.
var ErrNotServing = errors.New("nobody serves there")

// adminError has the text for people, and what was the matter.
type adminError struct {
	text  string
	cause error
}

func (e *adminError) Error() string { return e.text }

func (e *adminError) Unwrap() error { return e.cause }

// Is makes an ErrNotServing also of what the system says of an address without a
// listener.
func (e *adminError) Is(target error) bool {
	return target == ErrNotServing && slices.ContainsFunc([]string{noAnswer, "connection refused", "no such file or directory"},
		func(end string) bool { return strings.HasSuffix(e.text, end) })
}

// failed says what was being done when etcd failed with err, in one line.
func (a *Admin) failed(doing string, err error) error {
	return &adminError{fmt.Sprintf("%s: etcd at %s: %s", doing, a.at, a.reason(err)), err}
}

const (
	noAnswer = "it does not answer (it does not either where most of its cluster's members were away when it started)"

	asRoot = "as etcd's user root: by its certificate (--cert, --key) or its password (--user root, TUPLENET_PASSWORD), or a file with either (--config)"
	health = "too few of its members are healthy for that (tpctl status tells which): start what is away, or take out what is lost while most members live (tuplenet etcd remove-member); " + newCluster

	newCluster = "if most do not come back: tuplenet etcd backup works here, and tuplenet etcd restore makes a new cluster of that"
)

// refusals are what etcd answers to who may not do something now, and what to do.
var refusals = []struct {
	err error
	why string
}{
	{rpctypes.ErrUserEmpty, "it has users, and wants to know who asks; run this " + asRoot},
	{rpctypes.ErrPermissionDenied, "permission denied: this takes etcd's root; run it " + asRoot},
	{rpctypes.ErrAuthFailed, "authentication failed: it knows no such user with that password"},
	{rpctypes.ErrUnhealthy, health},
	{rpctypes.ErrMemberNotEnoughStarted, health},
}

// mismatches are what the way to etcd says when one side wants TLS, or a certificate,
// that the other has not; the first whose words are there counts.
var mismatches = []struct{ words, why string }{
	{"tls: certificate required", "it wants a certificate of who asks: --cert and --key"},
	{"remote error: tls: ", "it does not take the certificate of --cert: is it of the authority that etcd believes, and still valid?"},
	{"signed by unknown authority", "its certificate is of an authority that is not known here: name that with --cacert"},
	{"handshake failed: EOF", noTLS},
	{"first record does not look like a TLS handshake", noTLS},
	{"reading server preface: EOF", "it takes connections and does not answer: it may want TLS (https:// in front of the address, --cacert)"},
}

const noTLS = "it does not speak TLS there, it seems: try http:// in front of the address, and no --cacert"

// reason says why etcd, or the way to it, has failed.
func (a *Admin) reason(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.err) || errors.Is(rpctypes.Error(err), r.err) {
			return r.why
		}
	}
	why := err.Error()
	if st, ok := status.FromError(err); ok {
		why = st.Message()
	}
	for _, m := range mismatches {
		if strings.Contains(why, m.words) {
			return m.why
		}
	}
	// Whether why it does so is heard of before that is by chance.
	if a.access.CAFile != "" && (strings.HasSuffix(why, "broken pipe") || strings.HasSuffix(why, "connection reset by peer")) {
		return "it ends the connection: it may want a certificate of who asks, or another one (--cert, --key)"
	}
	if _, cause, ok := strings.Cut(why, "transport: Error while dialing: "); ok {
		return strings.TrimSuffix(cause, `"`)
	}
	if _, cause, ok := strings.Cut(why, "transport: authentication handshake failed: "); ok {
		return "TLS handshake failed: " + strings.TrimSuffix(cause, `"`)
	}
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		return noAnswer
	}
	return why
}
