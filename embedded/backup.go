package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Backup is what a file holds that Admin.Backup has written: all of etcd, with
// what other programs keep there, its users and their roles. etcdctl's "snapshot
// save" makes the same.
type Backup struct {
	Size     int64 // of the file, in bytes
	Revision int64 // of the store
	Keys     int

	sum []byte // over its content, SHA-256
}

// Backup writes all that etcd holds at one moment into a file. The file appears
// under its name once it is whole and on the disk; one that was there is kept
// until then. Where the name is a link to a file it replaces that file, and what is
// no file it refuses. Only its owner can read it. After each piece progress, if it is not
// nil, is told how many bytes there are, and about how many there will be.
func (a *Admin) Backup(ctx context.Context, file string, progress func(bytes, of int64)) (Backup, error) {
	file, err := target(file)
	if err != nil {
		return Backup{}, err
	}
	part, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.part")
	if err != nil {
		return Backup{}, fmt.Errorf("backup to %s: %w", file, err)
	}
	defer os.Remove(part.Name()) // there is none any more if all went well
	defer part.Close()
	if err := a.save(ctx, part, progress); err != nil {
		return Backup{}, err
	}
	b, err := ReadBackup(part.Name())
	if err != nil {
		return Backup{}, fmt.Errorf("what etcd at %s has sent cannot be used: %w", a.at, err)
	}
	if err := os.Rename(part.Name(), file); err != nil {
		return Backup{}, fmt.Errorf("backup to %s: %w", file, err)
	}
	if err := syncDir(filepath.Dir(file)); err != nil {
		return Backup{}, fmt.Errorf("backup to %s: %w", file, err)
	}
	return b, nil
}

// target returns the file that a backup is to be, behind links.
func target(name string) (string, error) {
	refuse := func(why string) (string, error) { return "", fmt.Errorf("backup to %s: %s", name, why) }
	if dir := filepath.Dir(name); !isDir(dir) {
		return refuse("there is no directory " + dir + " (mkdir makes it)")
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(name); err == nil {
			return refuse("that is a link to a file that does not exist; remove the link, or name a file")
		}
		return name, nil
	case err != nil:
		return "", fmt.Errorf("backup: %w", err)
	case info.IsDir():
		return refuse("that is a directory; name a file in it")
	case !info.Mode().IsRegular():
		return refuse("that is a device, a pipe or a socket; name a file that is new, or a backup that is to be replaced")
	}
	return filepath.EvalSymlinks(name)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// save has a file hold on the disk what etcd sends.
func (a *Admin) save(ctx context.Context, file *os.File, progress func(bytes, of int64)) error {
	const doing = "taking a backup"
	now, err := state(ctx, a.client)
	if err != nil {
		return a.failed(doing, err)
	}
	sent, err := a.client.SnapshotWithVersion(ctx)
	if err != nil {
		return a.failed(doing, err)
	}
	defer sent.Snapshot.Close()
	count := &counter{tell: progress, of: now.DbSize}
	if _, err := io.Copy(io.MultiWriter(file, count), sent.Snapshot); err != nil {
		if errors.As(err, new(*os.PathError)) {
			return fmt.Errorf("%s: %w", doing, err)
		}
		return a.failed(doing, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// counter tells how much was written to it.
type counter struct {
	bytes, of int64
	tell      func(bytes, of int64) // or nil
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	c.bytes += int64(len(b))
	if c.tell != nil {
		c.tell(c.bytes, c.of)
	}
	return len(b), nil
}

// ReadBackup checks that a file is a whole backup, and tells what is in it.
func ReadBackup(file string) (Backup, error) {
	sum, size, err := checkSum(file)
	if err != nil {
		return Backup{}, err
	}
	return readDatabase(file, sum, size)
}

// readDatabase checks etcd's database in a file.
func readDatabase(file string, sum []byte, size int64) (Backup, error) {
	state, err := snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil {
		return Backup{}, fmt.Errorf("%s is no backup of etcd: %w", file, err)
	}
	return Backup{Size: size, Revision: state.Revision, Keys: state.TotalKey, sum: sum}, nil
}

// checkSum compares the sum behind a backup's content with the content. etcd
// appends it to a database, which consists of whole pages.
func checkSum(file string) (sum []byte, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, fmt.Errorf("read a backup: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, fmt.Errorf("read a backup: %w", err)
	}
	const page = 512 // or a multiple of it
	size = info.Size()
	switch {
	case info.IsDir():
		return nil, 0, fmt.Errorf("%s is a directory, and neither a backup nor a data directory of etcd", file)
	case size > page && size%page == 0:
		return nil, 0, fmt.Errorf("%s may be a copy of etcd's own file: nobody can tell whether it is whole; take backups with tuplenet etcd backup, or restore from the data directory of an etcd that is stopped", file)
	case size < page || size%page != sha256.Size:
		return nil, 0, fmt.Errorf("%s is no backup of etcd, or only the beginning of one: its size is %d bytes", file, size)
	}
	content := sha256.New()
	if _, err := io.CopyN(content, f, size-sha256.Size); err != nil {
		return nil, 0, fmt.Errorf("read a backup: %w", err)
	}
	said, err := io.ReadAll(f)
	if err != nil {
		return nil, 0, fmt.Errorf("read a backup: %w", err)
	}
	if sum = content.Sum(nil); !bytes.Equal(sum, said) {
		return nil, 0, fmt.Errorf("%s is damaged, or no backup of etcd: its checksum is wrong", file)
	}
	return sum, size, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
