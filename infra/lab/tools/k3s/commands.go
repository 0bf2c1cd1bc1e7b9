package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"k8s.io/component-base/version"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

const administratorKubeconfig = layout.Kubeconfig

const usage = `NAME:
   k3s - Kubernetes, in the lab's own build

USAGE:
   k3s COMMAND [OPTIONS]

COMMANDS:
   server    Run the control plane and a node
   agent     Run a node
   kubectl   Run kubectl
   ctr       Run ctr on K3s' containerd
   crictl    Run crictl on K3s' containerd, where it is installed
   token     Show the join token (token list) or a new secret (token generate)
   help      Shows this, or with a command its options

OPTIONS:
   --help, -h     show help
   --version, -v  print the version
`

func dispatch(arguments []string) error {
	if len(arguments) == 0 {
		fmt.Print(usage)
		return nil
	}
	command, rest := arguments[0], arguments[1:]
	if command == "help" && len(rest) > 0 {
		command, rest = rest[0], []string{"--help"}
	}
	switch command {
	case "server", "agent":
		role := settings.Role(command)
		for _, argument := range rest {
			if argument == "--help" || argument == "-h" {
				fmt.Printf("USAGE:\n   k3s %s [OPTIONS]\n\nOPTIONS:\n%s", command, settings.Usage(role))
				return nil
			}
		}
		s, err := settings.Parse(role, rest)
		if err != nil {
			return err
		}
		if os.Geteuid() != 0 {
			return fmt.Errorf("k3s %s must run as root", command)
		}
		return run(s)
	case "kubectl":
		os.Args = append([]string{"kubectl"}, rest...)
		runKubectl()
		return nil
	case "ctr", "crictl":
		return runTool(command, rest)
	case "token":
		return runToken(rest)
	case "--version", "-v", "version":
		fmt.Printf("k3s version %s (lab)\ngo version %s\n", version.Get().GitVersion, runtime.Version())
		return nil
	case "help", "--help", "-h":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("no command %q: see k3s help", command)
	}
}

// runTool becomes the machine's own ctr or crictl, pointed at K3s' containerd.
func runTool(name string, arguments []string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("%s is not part of the lab's k3s and not installed on this machine", name)
	}
	if self, err := os.Executable(); err == nil && sameFile(self, path) {
		return fmt.Errorf("%s is not part of the lab's k3s, and the %s on this machine is k3s itself", name, name)
	}
	environment := append(os.Environ(), "CONTAINERD_ADDRESS="+layout.ContainerdSocket, "CONTAINER_RUNTIME_ENDPOINT=unix://"+layout.ContainerdSocket)
	if os.Getenv("CONTAINERD_NAMESPACE") == "" {
		environment = append(environment, "CONTAINERD_NAMESPACE=k8s.io")
	}
	return syscall.Exec(path, append([]string{name}, arguments...), environment)
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

func runToken(arguments []string) error {
	if len(arguments) == 1 && arguments[0] == "generate" {
		return printNewSecret()
	}
	if len(arguments) > 0 && arguments[0] != "list" {
		return errors.New("token takes `list` or `generate`")
	}
	path := layout.Layout{DataDir: layout.DataDir}.Server("token")
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("no token of a server on this machine: %w", err)
	}
	fmt.Println(strings.TrimSpace(string(content)))
	return nil
}
