package node

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/process"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

// Place says where a node joins and where its parts reach the API server; on a server the second is the shorter way.
type Place struct{ SupervisorURL, APIServerURL, Token string }

// Start joins the cluster, starts the node's parts in group and returns when the node is registered.
func Start(ctx context.Context, group *process.Group, s settings.Settings, self Identity, at Place) error {
	dir := s.Layout()
	if err := os.MkdirAll(dir.Agent("images"), 0o755); err != nil {
		return err
	}
	prepareMachine(s.ProtectKernelDefaults)
	cgroup, err := ensureCgroup(self.Name)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	runtime, err := containerd(dir, s.PauseImage)
	if err != nil {
		return err
	}
	group.Keep(runtime)
	// Images are unpacked while the server may still be on its way up.
	imported := make(chan error, 1)
	importer := newImageImporter(dir)
	go func() {
		err := waitForContainerd(ctx)
		if err == nil {
			importer.Scan(ctx)
		}
		imported <- err
		importer.Watch(ctx)
	}()
	cluster, err := Join(ctx, dir, at.SupervisorURL, at.Token, self)
	if err != nil {
		return err
	}
	if err := writeKubeconfigs(dir, at.APIServerURL); err != nil {
		return err
	}
	if err := <-imported; err != nil {
		return err
	}
	kubeletProcess, err := kubelet(s, self, cluster, cgroup)
	if err != nil {
		return err
	}
	group.Keep(kubeletProcess)
	group.Keep(kubeProxy(s, self, cluster))
	if cluster.FlannelBackend == "none" {
		log.Print("flannel-backend is none: no pod starts until a CNI configuration is put into " + cniConfigDir(dir))
	} else if err := startNetwork(ctx, group, s, self, cluster); err != nil {
		return err
	}
	return waitForNode(ctx, dir, self.Name)
}

// waitForNode returns when the API server knows the node.
func waitForNode(ctx context.Context, dir layout.Layout, name string) error {
	config, err := clientcmd.BuildConfigFromFlags("", dir.Agent("kubelet.kubeconfig"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for {
		if _, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); err == nil {
			log.Printf("node %s is registered", name)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}
