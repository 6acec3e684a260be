package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
)

// Root is etcd's name for the user, and for the role, that may do everything.
// Nobody else may change users and roles.
const Root = "root"

// authRequests bounds how many questions about users and roles are asked at the
// same time. Each goes through etcd's log.
const authRequests = 16

// User is a user of etcd.
type User struct {
	Name    string
	Root    bool
	Parties []Party  // of this store, sorted
	Others  []string // roles that are none of this store's
	Writes  []Grant  // what the roles of its parties let it write, as etcd says
}

// Is reports whether the user is a party.
func (u User) Is(p Party) bool { return slices.Contains(u.Parties, p) }

// refusals are what etcd says to who is nobody for it, in our words.
var refusals = []struct {
	err error
	why string
}{
	{rpctypes.ErrUserEmpty, "it wants to know who asks; set user and password, or cert and key"},
	{rpctypes.ErrAuthFailed, "it knows no such user with that password"},
	{rpctypes.ErrPermissionDenied, "permission denied"},
}

// noPassword is what etcd says to who shows a password of a user that has none. It
// has no code.
const noPassword = "password was given for no password user"

// Refused reports whether err is etcd's answer to who may not do something, or is
// nobody for it.
func Refused(err error) bool {
	_, is := refusal(err)
	return is
}

func refusal(err error) (why string, is bool) {
	for _, r := range refusals {
		if errors.Is(err, r.err) || errors.Is(rpctypes.Error(err), r.err) {
			return r.why, true
		}
	}
	if err != nil && strings.HasSuffix(plain(err), noPassword) {
		return "that user has no password, only a certificate speaks for it", true
	}
	return "", false
}

// Users returns the users of etcd, by name, and the parties whose roles are not what
// AddParty makes of them. If etcd authenticates, only root may ask (ErrDenied).
func (s *Store) Users(ctx context.Context) (users []User, odd []Party, err error) {
	const doing = "reading the users of etcd"
	list, err := s.client.UserList(ctx)
	if err != nil {
		return nil, nil, s.failed(doing, err)
	}
	users = make([]User, len(list.Users))
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(authRequests)
	for i, name := range list.Users {
		group.Go(func() (err error) {
			users[i], err = s.userNamed(each, name)
			return err
		})
	}
	err = group.Wait()
	// Who has been deleted meanwhile is left out.
	users = slices.DeleteFunc(users, func(u User) bool { return u.Name == "" })
	if err == nil {
		odd, err = s.fillIn(ctx, users)
	}
	if err != nil {
		return nil, nil, s.failed(doing, err)
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
	return users, odd, nil
}

func (s *Store) userNamed(ctx context.Context, name string) (User, error) {
	resp, err := s.client.UserGet(ctx, name)
	if errors.Is(err, rpctypes.ErrUserNotFound) {
		return User{}, nil
	}
	if err != nil {
		return User{}, err
	}
	u := User{Name: name}
	for _, role := range resp.Roles {
		if p, ok := s.layout.party(role); ok {
			u.Parties = append(u.Parties, p)
		} else if role == Root {
			u.Root = true
		} else {
			u.Others = append(u.Others, role)
		}
	}
	slices.SortFunc(u.Parties, Party.compare)
	return u, nil
}

func (p Party) compare(o Party) int { return strings.Compare(p.String(), o.String()) }

// fillIn looks up what the parties of users may write, and returns those whose
// roles are odd.
func (s *Store) fillIn(ctx context.Context, users []User) ([]Party, error) {
	var parties []Party
	for _, u := range users {
		parties = append(parties, u.Parties...)
	}
	slices.SortFunc(parties, Party.compare)
	parties = slices.Compact(parties)
	granted := make([][]*authpb.Permission, len(parties))
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(authRequests)
	for i, p := range parties {
		group.Go(func() error {
			resp, err := s.client.RoleGet(each, s.layout.role(p))
			if err == nil {
				granted[i] = resp.Perm
			}
			if errors.Is(err, rpctypes.ErrRoleNotFound) {
				err = nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var odd []Party
	writes := map[Party][]Grant{}
	for i, p := range parties {
		if more, less := s.layout.differences(p, granted[i]); len(more)+len(less) > 0 {
			odd = append(odd, p)
		}
		for _, perm := range granted[i] {
			if g := grantOf(perm); g.Write {
				writes[p] = append(writes[p], g)
			}
		}
	}
	for i := range users {
		for _, p := range users[i].Parties {
			users[i].Writes = append(users[i].Writes, writes[p]...)
		}
	}
	return odd, nil
}

// differences returns what a party's role lacks, and what it has too much.
func (l layout) differences(p Party, has []*authpb.Permission) (lacks, surplus []*authpb.Permission) {
	var want []*authpb.Permission
	for _, g := range l.grants(p) {
		want = append(want, g.permission())
	}
	for _, w := range want {
		i := slices.IndexFunc(has, func(h *authpb.Permission) bool { return sameRange(h, w) })
		if i < 0 || has[i].PermType != w.PermType {
			lacks = append(lacks, w)
		}
	}
	for _, h := range has {
		if !slices.ContainsFunc(want, func(w *authpb.Permission) bool { return sameRange(h, w) }) {
			surplus = append(surplus, h)
		}
	}
	return lacks, surplus
}

// AddParty sees to it that there is a role for a party, and that it has exactly
// the rights that the party needs. There is no transaction for it: what has failed
// can be done again.
func (s *Store) AddParty(ctx context.Context, p Party) error {
	if err := p.Check(); err != nil {
		return err
	}
	doing, role := "making the role of "+p.String(), s.layout.role(p)
	if _, err := s.client.RoleAdd(ctx, role); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
		return s.failed(doing, err)
	}
	resp, err := s.client.RoleGet(ctx, role)
	if err != nil {
		return s.failed(doing, err)
	}
	lacks, surplus := s.layout.differences(p, resp.Perm)
	for _, perm := range lacks { // first, so that nobody is in want in between
		if _, err := s.client.RoleGrantPermission(ctx, role, string(perm.Key), string(perm.RangeEnd), clientv3.PermissionType(perm.PermType)); err != nil {
			return s.failed(doing, err)
		}
	}
	for _, perm := range surplus {
		if _, err := s.client.RoleRevokePermission(ctx, role, string(perm.Key), string(perm.RangeEnd)); err != nil && !errors.Is(err, rpctypes.ErrPermissionNotGranted) {
			return s.failed(doing, err)
		}
	}
	return nil
}

// AddUser makes a user, who may do nothing yet. Without a password nobody logs in
// as that user but by a certificate whose common name is the user's. ErrExists:
// there is one.
func (s *Store) AddUser(ctx context.Context, name, password string) error {
	_, err := s.client.UserAddWithOptions(ctx, name, password, &clientv3.UserAddOptions{NoPassword: password == ""})
	switch {
	case errors.Is(err, rpctypes.ErrUserAlreadyExist):
		return fmt.Errorf("user %s %w", name, ErrExists)
	case err != nil:
		return s.failed("adding user "+name, err)
	}
	return nil
}

// AddRoot makes the user root, unless there is one, and sees to it that it may do
// everything. It returns false if there was one; its password stays then.
func (s *Store) AddRoot(ctx context.Context, password string) (made bool, err error) {
	err = s.AddUser(ctx, Root, password)
	if made = err == nil; !made && !errors.Is(err, ErrExists) {
		return false, err
	}
	return made, s.GrantRoot(ctx, Root)
}

// GrantRoot lets a user do everything.
func (s *Store) GrantRoot(ctx context.Context, user string) error {
	doing := "making " + user + " root"
	if _, err := s.client.RoleAdd(ctx, Root); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
		return s.failed(doing, err)
	}
	if _, err := s.client.UserGrantRole(ctx, user, Root); err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// Grant gives a user the role of a party, which AddParty has made.
func (s *Store) Grant(ctx context.Context, user string, p Party) error {
	if _, err := s.client.UserGrantRole(ctx, user, s.layout.role(p)); err != nil {
		return s.failed(fmt.Sprintf("letting user %s be %s", user, p), err)
	}
	return nil
}

// Revoke takes the role of a party from a user, and deletes it if nobody has it any
// more. ErrNotFound: the user does not have it.
func (s *Store) Revoke(ctx context.Context, user string, p Party) error {
	_, err := s.client.UserRevokeRole(ctx, user, s.layout.role(p))
	switch {
	case errors.Is(err, rpctypes.ErrUserNotFound):
		return fmt.Errorf("user %s %w", user, ErrNotFound)
	case errors.Is(err, rpctypes.ErrRoleNotGranted):
		return fmt.Errorf("user %s is not %s: role %w", user, p, ErrNotFound)
	case err != nil:
		return s.failed(fmt.Sprintf("taking from user %s to be %s", user, p), err)
	}
	return s.dropRoles(ctx, []Party{p})
}

// HasPassword reports whether a user has a password, as far as etcd tells: while it
// does not authenticate, everybody has.
func (s *Store) HasPassword(ctx context.Context, user string) bool {
	_, err := s.client.Authenticate(ctx, user, "any")
	return err == nil || !strings.HasSuffix(plain(err), noPassword)
}

// SetPassword changes a user's password; one that has none gets none. Connections
// that it has open stay, but may ask for nothing any more. ErrNotFound: there is no
// such user.
func (s *Store) SetPassword(ctx context.Context, user, password string) error {
	_, err := s.client.UserChangePassword(ctx, user, password)
	switch {
	case errors.Is(err, rpctypes.ErrUserNotFound):
		return fmt.Errorf("user %s %w", user, ErrNotFound)
	case err != nil:
		return s.failed("changing the password of user "+user, err)
	}
	return nil
}

// DeleteUser deletes a user of etcd, then the roles of its parties that nobody else
// is. ErrNotFound: there is no such user.
func (s *Store) DeleteUser(ctx context.Context, name string) error {
	doing := "deleting user " + name
	u, err := s.userNamed(ctx, name)
	if err != nil {
		return s.failed(doing, err)
	}
	_, err = s.client.UserDelete(ctx, name)
	switch {
	case errors.Is(err, rpctypes.ErrUserNotFound):
		return fmt.Errorf("user %s %w", name, ErrNotFound)
	case err != nil:
		return s.failed(doing, err)
	}
	return s.dropRoles(ctx, u.Parties)
}

// dropRoles deletes the roles of those parties that nobody is.
func (s *Store) dropRoles(ctx context.Context, parties []Party) error {
	if len(parties) == 0 {
		return nil
	}
	users, _, err := s.Users(ctx)
	if err != nil {
		return err
	}
	for _, p := range parties {
		if slices.ContainsFunc(users, func(u User) bool { return u.Is(p) }) {
			continue
		}
		if _, err := s.client.RoleDelete(ctx, s.layout.role(p)); err != nil && !errors.Is(err, rpctypes.ErrRoleNotFound) {
			return s.failed("deleting the role of "+p.String(), err)
		}
	}
	return nil
}

// Authenticates reports whether etcd asks who it is that asks.
func (s *Store) Authenticates(ctx context.Context) (bool, error) {
	resp, err := s.client.AuthStatus(ctx)
	if err != nil {
		return false, s.failed("asking etcd whether it authenticates", err)
	}
	return resp.Enabled, nil
}

// EnableAuth makes etcd refuse who is no user, and what its users may not do. There
// has to be a user root.
func (s *Store) EnableAuth(ctx context.Context) error {
	if _, err := s.client.AuthEnable(ctx); err != nil {
		return s.failed("enabling authentication", err)
	}
	return nil
}

// DisableAuth lets everybody do everything. Users and roles stay.
func (s *Store) DisableAuth(ctx context.Context) error {
	if _, err := s.client.AuthDisable(ctx); err != nil {
		return s.failed("disabling authentication", err)
	}
	return nil
}

// MayBe reports whether etcd lets the store write what a party may write, which it
// asks without writing anything: the reason that it does not is an ErrDenied.
func (s *Store) MayBe(ctx context.Context, p Party) error {
	// etcd judges all that a transaction could do, also what it is not to do now.
	never := clientv3.Compare(clientv3.CreateRevision(s.layout.version()), "<", 0)
	var writes []clientv3.Op
	for _, g := range s.layout.grants(p) {
		if g.Write {
			writes = append(writes, clientv3.OpDelete(g.From, clientv3.WithRange(g.End)))
		}
	}
	if _, err := s.client.Txn(ctx).If(never).Then(writes...).Commit(); err != nil {
		return s.failed("asking whether "+s.Who()+" may be "+p.String(), err)
	}
	return nil
}

// Administers reports whether the store may change users and roles: as root, or as
// anybody while etcd does not authenticate.
func (s *Store) Administers(ctx context.Context) (bool, error) {
	_, err := s.client.UserList(ctx)
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		return false, nil
	case err != nil:
		return false, s.failed("reading the users of etcd", err)
	}
	return true, nil
}
