package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	procSys    = "/proc/sys"
	// containerMark is there when systemd runs in a container, as in the lab's machines.
	containerMark = "/run/systemd/container"
)

// forwarding must be on for pods to reach each other; these belong to the machine's own network namespace.
var networkSettings = map[string]string{
	"net/ipv4/ip_forward":                 "1",
	"net/ipv4/conf/all/forwarding":        "1",
	"net/bridge/bridge-nf-call-iptables":  "1",
	"net/bridge/bridge-nf-call-ip6tables": "1",
}

// kernelDefaults are what the kubelet wants of the kernel. Source: k8s.io/component-helpers/node/util/sysctl.
var kernelDefaults = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// prepareMachine sets what pods need of the kernel, and says what it could not set.
func prepareMachine(protectKernelDefaults bool) {
	for name, value := range networkSettings {
		if err := setKernel(name, value); err != nil {
			log.Printf("kernel setting %s stays as it is: %v", name, err)
		}
	}
	if _, err := os.Stat(containerMark); err == nil {
		shadowKernelDefaults(protectKernelDefaults)
	}
	// Volumes that a pod mounts must show in the machine, and the other way round.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		log.Printf("the root mount is not shared: %v", err)
	}
}

func setKernel(name, value string) error {
	path := filepath.Join(procSys, name)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if strings.TrimSpace(string(content)) == value {
		return nil
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

// shadowKernelDefaults keeps the kubelet from setting what all machines of one kernel share: each setting that differs is
// covered by a file that holds the wanted value. Where the kubelet is told to refuse (protect-kernel-defaults) and the
// machine could set them itself, nothing is covered and the kubelet refuses, as on a machine of its own.
func shadowKernelDefaults(protect bool) {
	for name, value := range kernelDefaults {
		path := filepath.Join(procSys, name)
		content, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(content)) == value {
			continue
		}
		if protect && unix.Access(path, unix.W_OK) == nil {
			continue
		}
		cover := filepath.Join(layout.RunDir, "kernel", strings.ReplaceAll(name, "/", "."))
		if err := layout.WriteFile(cover, []byte(value+"\n"), 0o644); err == nil {
			err = unix.Mount(cover, path, "", unix.MS_BIND, "")
		}
		if err != nil {
			log.Printf("kernel setting %s: %v", name, err)
			continue
		}
		log.Printf("kernel setting %s is %s; shown to this machine as %s, as the kernel is shared", name, strings.TrimSpace(string(content)), value)
	}
}

// ensureCgroup makes the cgroup under which the kubelet keeps this node's pods, and returns its path in the hierarchy.
// Machines that share one kernel may see one hierarchy, so its name is made of the machine's id and the node's name.
func ensureCgroup(nodeName string) (string, error) {
	machine, _ := os.ReadFile("/etc/machine-id")
	sum := sha256.Sum256([]byte(strings.TrimSpace(string(machine)) + "/" + nodeName))
	name := "/k3s-" + hex.EncodeToString(sum[:6])
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return name, enableControllers(name)
	}
	controllers, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return "", err
	}
	for _, controller := range controllers {
		mount := filepath.Join(cgroupRoot, controller.Name())
		if !controller.IsDir() || controller.Name() == "unified" {
			continue
		}
		if err := os.MkdirAll(mount+name, 0o755); errors.Is(err, unix.EROFS) {
			// systemd-nspawn hands the controllers of cgroup v1 over read-only.
			if err := unix.Mount("", mount, "", unix.MS_BIND|unix.MS_REMOUNT, ""); err != nil {
				return "", fmt.Errorf("make %s writable: %w", mount, err)
			}
			err = os.MkdirAll(mount+name, 0o755)
			if err != nil {
				return "", err
			}
		} else if err != nil {
			return "", err
		}
		if err := fillCpuset(mount, name); err != nil {
			return "", err
		}
	}
	return name, nil
}

// fillCpuset gives a new cpuset what its parent has; until then no process can enter it.
func fillCpuset(mount, name string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(mount+name, file))
		if err != nil || strings.TrimSpace(string(own)) != "" {
			continue
		}
		parents, err := os.ReadFile(filepath.Join(mount, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(mount+name, file), parents, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// enableControllers does the same with cgroup v2, where the root must pass its controllers down.
func enableControllers(name string) error {
	content, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(content)) {
		if err := os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			log.Printf("cgroup controller %s is not passed down: %v", controller, err)
		}
	}
	return os.MkdirAll(cgroupRoot+name, 0o755)
}
