package runtimes

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// image is the name of the one image that the tests run: busybox, and nothing
// else. Nobody is asked for it: it is loaded from an archive.
const image = "tuplenet.test/busybox:1"

// applets are what busybox is called as in the image.
var applets = []string{"cat", "ip", "ls", "nslookup", "ping", "sh", "sleep", "timeout", "wget"}

// archive returns the image in the format of `docker save`, which podman and
// containerd load. A container of it does nothing until it is killed, so it
// serves as that which holds a pod's namespaces, too.
func archive(t *testing.T) []byte {
	t.Helper()
	need(t, "busybox")
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root := []*tar.Header{{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))}}
	for _, dir := range []string{"dev/", "etc/", "proc/", "sys/", "tmp/"} {
		root = append(root, &tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755})
	}
	for _, applet := range applets {
		root = append(root, &tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777})
	}
	layer := pack(t, root, map[string][]byte{"bin/busybox": busybox})

	type object = map[string]any
	config, err := json.Marshal(object{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       object{"Env": []string{"PATH=/bin"}, "Cmd": []string{"/bin/sleep", "1000000"}},
		"rootfs":       object{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]object{{"Config": "config.json", "RepoTags": []string{image}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"manifest.json": manifest, "config.json": config, "layer.tar": layer}
	var headers []*tar.Header
	for _, name := range []string{"manifest.json", "config.json", "layer.tar"} {
		headers = append(headers, &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))})
	}
	return pack(t, headers, files)
}

// pack makes a tar file.
func pack(t *testing.T, headers []*tar.Header, content map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
