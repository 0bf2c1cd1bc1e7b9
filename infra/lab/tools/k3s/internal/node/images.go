package node

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

const imageScanInterval = 2 * time.Second

// imageImporter brings the image archives of a folder into containerd, also those that appear later.
type imageImporter struct {
	folder string
	// record lies in containerd's own root: without that root nothing counts as imported.
	record string
	done   map[string]string
}

func newImageImporter(dir layout.Layout) *imageImporter {
	importer := &imageImporter{folder: dir.Agent("images"), record: dir.Agent("containerd", "imported.json"), done: map[string]string{}}
	if content, err := os.ReadFile(importer.record); err == nil {
		if json.Unmarshal(content, &importer.done) != nil {
			importer.done = map[string]string{}
		}
	}
	return importer
}

// Scan imports what is new. One archive that fails does not keep back the others; it is tried again when it changes.
func (i *imageImporter) Scan(ctx context.Context) {
	entries, err := os.ReadDir(i.folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name := entry.Name()
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || !isArchive(name) {
			continue
		}
		version := fmt.Sprint(info.ModTime().UnixNano(), "/", info.Size())
		if i.done[name] == version {
			continue
		}
		began := time.Now()
		if err := importArchive(ctx, filepath.Join(i.folder, name)); err != nil {
			if ctx.Err() == nil {
				log.Printf("images of %s: %v", name, err)
			}
			i.done[name] = version
			continue
		}
		log.Printf("images of %s imported in %.1f s", name, time.Since(began).Seconds())
		i.done[name] = version
		if content, err := json.Marshal(i.done); err == nil {
			if err := layout.WriteFile(i.record, content, 0o600); err != nil {
				log.Printf("record of imported images: %v", err)
			}
		}
	}
}

// Watch scans until ctx ends.
func (i *imageImporter) Watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(imageScanInterval):
			i.Scan(ctx)
		}
	}
}

func isArchive(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	for _, ending := range []string{".tar", ".tar.gz", ".tgz", ".tar.zst"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// importArchive feeds one archive to containerd, unpacked where it is packed.
func importArchive(ctx context.Context, path string) error {
	if strings.HasSuffix(path, ".tar") {
		_, err := ctr(ctx, "images", "import", path)
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var plain io.Reader = file
	if strings.HasSuffix(path, ".zst") {
		unpack := exec.CommandContext(ctx, "zstd", "-dc")
		unpack.Stdin = file
		pipe, err := unpack.StdoutPipe()
		if err != nil {
			return err
		}
		if err := unpack.Start(); err != nil {
			return fmt.Errorf("the machine's zstd unpacks .zst archives: %w", err)
		}
		defer unpack.Wait()
		plain = pipe
	} else if plain, err = gzip.NewReader(file); err != nil {
		return err
	}
	load := exec.CommandContext(ctx, "ctr", "--address", layout.ContainerdSocket, "--namespace", "k8s.io", "images", "import", "-")
	load.Stdin = plain
	if output, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("ctr images import: %w: %s", err, output)
	}
	return nil
}
