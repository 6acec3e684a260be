package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tuplenet/internal/topology"
)

// What a change or a look-up can come to. The errors that methods return wrap
// one of these and name the object: errors.Is tells the case, the text is for
// people and for scripts that look for its words.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("already exists")
	ErrConflict = errors.New("conflict with other IP")
	ErrNotEmpty = errors.New("not empty")
	ErrFull     = errors.New("no free address")
	ErrVersion  = errors.New("db accessed by higher version")
	ErrDenied   = errors.New("permission denied")
)

// NotFound returns the error that there is no such object, as Get does.
func NotFound(key topology.Key) error { return fmt.Errorf("%s %w", describe(key), ErrNotFound) }

// describe names an entity in the words of tpctl: "switch LS-A port lsp-alice".
func describe(key topology.Key) string {
	switch key.Kind {
	case topology.KindSwitchPort:
		return fmt.Sprintf("switch %s port %s", key.Parent, key.Name)
	case topology.KindRouterPort:
		return fmt.Sprintf("router %s port %s", key.Parent, key.Name)
	case topology.KindStaticRoute:
		return fmt.Sprintf("router %s static route %s", key.Parent, key.Name)
	case topology.KindNAT:
		return fmt.Sprintf("router %s NAT %s", key.Parent, key.Name)
	}
	return key.String()
}

// etcdError is what etcd, or the way to it, answered.
type etcdError struct {
	doing     string
	endpoints []string
	cause     error
	why       string
}

func (e *etcdError) Error() string {
	return fmt.Sprintf("%s: etcd at %s: %s", e.doing, strings.Join(e.endpoints, ", "), e.why)
}

func (e *etcdError) Unwrap() error { return e.cause }

// Is makes what etcd's authorization refuses an ErrDenied.
func (e *etcdError) Is(target error) bool {
	return target == ErrDenied && errors.Is(e.cause, rpctypes.ErrPermissionDenied)
}

// failed says what was being done when etcd failed with err.
func (s *Store) failed(doing string, err error) error {
	e := &etcdError{doing, s.endpoints, err, reason(err)}
	if errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded {
		why := s.unreachable(err)
		if e.why = "no answer in time"; why != reason(err) {
			e.why += ": " + why
		}
	}
	return e
}

// plain returns err's text without gRPC's wrapping.
func plain(err error) string {
	if st, ok := status.FromError(err); ok {
		return st.Message()
	}
	return err.Error()
}

// passing reports whether err may be gone the next time, without anybody
// changing anything here: etcd is away, has no leader, or answers too late.
func passing(err error) bool {
	code := status.Code(err)
	var fromEtcd rpctypes.EtcdError
	if errors.As(err, &fromEtcd) {
		code = fromEtcd.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.Internal:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}
