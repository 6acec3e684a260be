package embedded

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
)

// revisionBump is what a restored store's revision is ahead of the backup's. Who
// watches has seen revisions that the backup does not know; with this it hears
// that they are gone, and reads all anew. Otherwise it would wait, and miss what
// happens, until the store has grown to where it was before. So it exceeds all
// that can have happened since the backup.
const revisionBump = 1_000_000_000

// restoring is where a data directory is made, in its place to be.
const restoring = ".restoring"

// Restore makes in cfg.DataDir, which has to be empty or missing, what a server
// that is started with the same cfg serves: what a backup holds, or the data
// directory of an etcd that is stopped, as a member of a new cluster. Each of
// cfg.InitialCluster's members has to be restored so, from the same backup. Members of
// the cluster that the backup is of do not know these, nor these them, even at the
// same addresses.
//
// What fails leaves the directory empty.
func Restore(from string, cfg Config) (Backup, error) { return restore(from, cfg, false) }

// RestoreOpen is Restore, and nobody is asked then who he is. Users and roles are
// there, for authentication to be switched on again. It is for who wants to look into
// a backup, or has lost root's password.
func RestoreOpen(from string, cfg Config) (Backup, error) { return restore(from, cfg, true) }

func restore(from string, cfg Config, open bool) (Backup, error) {
	if cfg.DataDir == "" {
		return Backup{}, errors.New("etcd needs a data directory")
	}
	file, b, err := readSource(from)
	if err != nil {
		return Backup{}, err
	}
	settings, err := cfg.settings(newLogCore(slog.New(slog.DiscardHandler)))
	if err != nil {
		return Backup{}, err
	}
	if err := checkEmpty(cfg.DataDir); err != nil {
		return Backup{}, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return Backup{}, fmt.Errorf("restore %s: %w", from, err)
	}
	made := filepath.Join(cfg.DataDir, restoring)
	defer os.RemoveAll(made)
	err = snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath:        file,
		OutputDataDir:       made,
		Name:                settings.Name,
		PeerURLs:            types.URLs(settings.AdvertisePeerUrls).StringSlice(),
		InitialCluster:      settings.InitialCluster,
		InitialClusterToken: fmt.Sprintf("restored-%x", b.sum[:8]),
		RevisionBump:        revisionBump,
		MarkCompacted:       true,
		SkipHashCheck:       file != from, // a data directory has no sum
	})
	if err == nil && open {
		dropAuthentication(filepath.Join(made, database))
	}
	if err == nil {
		err = os.Rename(filepath.Join(made, "member"), filepath.Join(cfg.DataDir, "member"))
	}
	if err == nil {
		err = syncDir(cfg.DataDir)
	}
	if err != nil {
		return Backup{}, fmt.Errorf("restore %s into %s: %w", from, cfg.DataDir, err)
	}
	return b, nil
}

// database is where a data directory has all that is not the cluster's log.
var database = filepath.Join("member", "snap", "db")

// readSource returns the file to restore, and what is in it: a backup, or the database
// of a data directory that nobody uses.
func readSource(from string) (file string, b Backup, err error) {
	file = filepath.Join(from, database)
	content, err := os.Open(file)
	if err != nil {
		b, err = ReadBackup(from)
		return from, b, err
	}
	defer content.Close()
	if err := checkUnlocked(from); err != nil {
		return "", Backup{}, fmt.Errorf("%w: take a backup of that, or stop it", err)
	}
	sum := sha256.New()
	size, err := io.Copy(sum, content)
	if err != nil {
		return "", Backup{}, fmt.Errorf("read %s: %w", file, err)
	}
	b, err = readDatabase(file, sum.Sum(nil), size)
	return file, b, err
}

// dropAuthentication has a database's etcd ask nobody who he is.
func dropAuthentication(file string) {
	db := backend.NewDefaultBackend(zap.NewNop(), file)
	defer db.Close()
	auth := schema.NewAuthBackend(zap.NewNop(), db)
	auth.CreateAuthBuckets()
	tx := auth.BatchTx()
	tx.Lock()
	defer tx.Unlock()
	tx.UnsafeSaveAuthEnabled(false)
}

// checkEmpty refuses a directory that holds anything but what a Restore left that
// was killed.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory of etcd: %w", err)
	}
	for _, e := range entries {
		if e.Name() != restoring {
			return fmt.Errorf("data directory %s is not empty: stop the etcd that uses it and move it away, or restore into another one", dir)
		}
	}
	return os.RemoveAll(filepath.Join(dir, restoring))
}
