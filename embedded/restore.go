package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
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
// that is started with the same cfg serves: what the backup holds, as a member of a
// new cluster. Each of cfg.InitialCluster's members has to be restored so, from the
// same backup. Members of the cluster that the backup is of do not know these, nor
// these them, even at the same addresses.
//
// What fails leaves the directory empty.
func Restore(file string, cfg Config) (Backup, error) {
	if cfg.DataDir == "" {
		return Backup{}, errors.New("etcd needs a data directory")
	}
	b, err := ReadBackup(file)
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
		return Backup{}, fmt.Errorf("restore %s: %w", file, err)
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
	})
	if err == nil {
		err = os.Rename(filepath.Join(made, "member"), filepath.Join(cfg.DataDir, "member"))
	}
	if err == nil {
		err = syncDir(cfg.DataDir)
	}
	if err != nil {
		return Backup{}, fmt.Errorf("restore %s into %s: %w", file, cfg.DataDir, err)
	}
	return b, nil
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
