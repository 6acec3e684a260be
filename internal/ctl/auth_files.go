package ctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tuplenet/internal/store"
)

// clientFile begins the names of files that tpctl reads as they are.
const clientFile = "client-"

// credentialsFile names the file for a user's password, by whom it is for.
func credentialsFile(user string, parties []store.Party) string {
	has := func(duty store.Duty) bool {
		return slices.ContainsFunc(parties, func(p store.Party) bool { return p.Duty == duty })
	}
	switch {
	case has(store.DutyNode):
		return "agent-" + user + ".yaml"
	case has(store.DutyDocker):
		return "cnm-" + user + ".json"
	case has(store.DutyPlugin):
		return "cni-" + user + ".json"
	}
	return clientFile + user + ".yaml"
}

// checkPlace refuses a directory that passwords cannot be written to, or that
// everybody may write to. It makes nothing: what is not there yet, its parent is
// asked for.
func checkPlace(directory string) error {
	at := directory
	info, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
		at = filepath.Dir(at)
		info, err = os.Stat(at)
	}
	switch {
	case err != nil:
	case !info.IsDir():
		err = fmt.Errorf("%s is no directory", at)
	case at == directory && info.Mode()&0o002 != 0:
		err = fmt.Errorf("everybody may write to %s, and put other files in the place of these: chmod o-w %[1]s, or name another directory", at)
	default:
		if err = unix.Access(at, unix.W_OK|unix.X_OK); err != nil {
			err = fmt.Errorf("write to %s: %w", at, err)
		}
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", directoryFlag.Name, err)
	}
	return nil
}

// writeCredentials writes a file with a user's name and password, as those read it
// whom it is for. tpctl's is complete: it says where etcd is, too.
func (s *session) writeCredentials(path, user, password string) error {
	var etcd store.Config
	if strings.HasPrefix(filepath.Base(path), clientFile) {
		var err error
		if etcd, err = s.Etcd(); err != nil {
			return err
		}
	}
	return writeCredentials(path, user, password, etcd)
}

func writeCredentials(path, user, password string, etcd store.Config) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the directory of passwords: %w", err)
	}
	text, err := credentials(filepath.Ext(path), user, password, etcd)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// A new file, as an old one may be open, or readable, to others.
	draft := path + ".new"
	if err := errors.Join(os.RemoveAll(draft), os.WriteFile(draft, text, 0o600), os.Rename(draft, path)); err != nil {
		return fmt.Errorf("write the password of user %s: %w", user, err)
	}
	return nil
}

// credentials returns the text of a file with a user's password, of one with an
// extension.
func credentials(extension, user, password string, etcd store.Config) ([]byte, error) {
	if extension == ".json" {
		text, err := json.MarshalIndent(map[string]string{"etcd_user": user + ":" + password}, "", "  ")
		return append(text, '\n'), err
	}
	var text bytes.Buffer
	var failed error
	line := func(key string, value any) {
		quoted, err := json.Marshal(value) // which is YAML
		failed = errors.Join(failed, err)
		fmt.Fprintf(&text, "%s: %s\n", key, quoted)
	}
	if len(etcd.Endpoints) > 0 {
		line("endpoints", etcd.Endpoints)
	}
	if etcd.Prefix != "" {
		line("prefix", etcd.Prefix)
	}
	if etcd.CAFile != "" {
		path, err := filepath.Abs(etcd.CAFile) // the file is read from anywhere
		failed = errors.Join(failed, err)
		line("cacert", path)
	}
	line("user", user)
	fmt.Fprintf(&text, "password: %s\n", password) // letters and digits
	return text.Bytes(), failed
}
