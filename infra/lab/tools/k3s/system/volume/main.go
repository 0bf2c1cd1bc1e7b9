// Command volume makes and removes the folder of a local volume, in the place of local-path-provisioner's shell scripts,
// so that no image needs a shell. It is called as `volume-create` or `volume-delete`.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// folderVariable is where the provisioner says which folder it means.
const folderVariable = "VOL_DIR"

func main() {
	folder := os.Getenv(folderVariable)
	if !filepath.IsAbs(folder) || filepath.Clean(folder) == "/" {
		fail(fmt.Errorf("%s is %q, but must be an absolute path below the root", folderVariable, folder))
	}
	switch name := filepath.Base(os.Args[0]); name {
	case "volume-create":
		fail(create(folder))
	case "volume-delete":
		fail(os.RemoveAll(folder))
	default:
		fail(fmt.Errorf("called as %q, but does volume-create and volume-delete only", name))
	}
}

// create makes the folder open to every user of the pod, and its parent closed to those of the machine.
func create(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(folder, 0o777); err != nil {
		return err
	}
	return os.Chmod(filepath.Dir(folder), 0o700)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "volume:", err)
		os.Exit(1)
	}
}
