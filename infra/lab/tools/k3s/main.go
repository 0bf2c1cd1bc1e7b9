// Command k3s is the lab's own K3s: the same command line, files and token over upstream Kubernetes, for places where
// K3s' releases cannot be downloaded. One binary is all parts; the name it is called by chooses which.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"gorkheavy.dev/lab/k3s/internal/controlplane"
	"gorkheavy.dev/lab/k3s/internal/kubelet"
	"gorkheavy.dev/lab/k3s/internal/overlay"
)

func main() {
	switch filepath.Base(os.Args[0]) {
	case "etcd":
		runPart(controlplane.RunEtcd)
	case "flanneld":
		runPart(overlay.Run)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kube-controller-manager":
		os.Exit(cli.Run(controllers.NewControllerManagerCommand()))
	case "kube-scheduler":
		os.Exit(cli.Run(scheduler.NewSchedulerCommand()))
	case "kube-proxy":
		os.Exit(cli.Run(proxy.NewProxyCommand()))
	case "kubelet":
		runPart(kubelet.Run)
	case "kubectl":
		runKubectl()
	case "ctr", "crictl":
		exitOn(runTool(filepath.Base(os.Args[0]), os.Args[1:]))
	default:
		exitOn(dispatch(os.Args[1:]))
	}
}

// runPart runs one of our own parts until it is told to stop.
func runPart(run func(context.Context, []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log.SetFlags(0)
	exitOn(run(ctx, os.Args[1:]))
}

func runKubectl() {
	if os.Getenv("KUBECONFIG") == "" {
		if _, err := os.Stat(administratorKubeconfig); err == nil {
			os.Setenv("KUBECONFIG", administratorKubeconfig)
		}
	}
	os.Exit(cli.Run(kubectl.NewDefaultKubectlCommand()))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "k3s: %v\n", err)
		os.Exit(1)
	}
}
