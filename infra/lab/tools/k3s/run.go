package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"gorkheavy.dev/lab/k3s/internal/controlplane"
	"gorkheavy.dev/lab/k3s/internal/deploy"
	"gorkheavy.dev/lab/k3s/internal/gateway"
	"gorkheavy.dev/lab/k3s/internal/node"
	"gorkheavy.dev/lab/k3s/internal/process"
	"gorkheavy.dev/lab/k3s/internal/settings"
	"gorkheavy.dev/lab/k3s/internal/token"
)

const readyInterval = 200 * time.Millisecond

// secretVariables must not reach the parts' environment; settings has read them.
var secretVariables = []string{"K3S_TOKEN", "K3S_AGENT_TOKEN"}

// run is the whole life of `k3s server` and `k3s agent`.
func run(s settings.Settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	began := time.Now()
	log.SetFlags(0)
	// systemd hears from this process alone.
	notify := os.Getenv("NOTIFY_SOCKET")
	for _, name := range append(secretVariables, "NOTIFY_SOCKET") {
		os.Unsetenv(name)
	}
	self, err := node.Identify(s)
	if err != nil {
		return err
	}
	log.Printf("starting k3s %s as node %s", s.Role, self.Name)
	group := &process.Group{}
	defer group.Stop()
	place := node.Place{SupervisorURL: s.ServerURL, APIServerURL: s.ServerURL, Token: s.Token}
	if s.Role == settings.Server {
		door, joinToken, err := startServer(ctx, group, s, self)
		if err != nil {
			return err
		}
		defer door.Stop()
		place = node.Place{SupervisorURL: controlplane.SupervisorURL(s), APIServerURL: controlplane.APIServerURL, Token: joinToken}
	}
	if err := node.Start(ctx, group, s, self, place); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	log.Printf("k3s is up after %.1f s", time.Since(began).Seconds())
	if notify != "" {
		os.Setenv("NOTIFY_SOCKET", notify)
		if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
			log.Printf("systemd cannot be told: %v", err)
		}
	}
	<-ctx.Done()
	log.Print("stopping")
	return nil
}

// startServer brings the control plane up and returns when it is ready, with the token by which the server's own node joins.
func startServer(ctx context.Context, group *process.Group, s settings.Settings, self node.Identity) (*gateway.Gateway, string, error) {
	authorities, err := controlplane.EnsurePKI(s, self.Name, self.Addresses[0])
	if err != nil {
		return nil, "", err
	}
	tokens, err := controlplane.EnsureTokens(s, authorities.Server.CertPEM)
	if err != nil {
		return nil, "", err
	}
	for _, step := range []func(settings.Settings) error{controlplane.EnsureEncryption, controlplane.WriteKubeconfigs, deploy.WritePackaged} {
		if err := step(s); err != nil {
			return nil, "", err
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", controlplane.KubeconfigFor(s.Layout(), "supervisor"))
	if err != nil {
		return nil, "", err
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, "", err
	}
	passwords := deploy.Passwords{Client: client}
	door, err := gateway.Start(s, authorities, tokens, passwords)
	if err != nil {
		return nil, "", err
	}
	for _, part := range controlplane.Foundation(s, self.Addresses[0]) {
		group.Keep(part)
	}
	if err := waitReady(ctx, client); err != nil {
		door.Stop()
		return nil, "", err
	}
	log.Print("the API server is ready")
	for _, part := range controlplane.Controllers(s) {
		group.Keep(part)
	}
	applier, err := deploy.NewApplier(config, s.Layout().Server("manifests"))
	if err != nil {
		door.Stop()
		return nil, "", err
	}
	if err := passwords.FreeNames(ctx); err != nil {
		door.Stop()
		return nil, "", err
	}
	address := self.Addresses[0]
	if s.AdvertiseAddress != "" {
		address = s.AdvertiseAddress
	}
	if net.ParseIP(address) == nil {
		door.Stop()
		return nil, "", fmt.Errorf("advertise-address is %q, but must be an IP address", address)
	}
	go applier.Run(ctx)
	go deploy.Duties{Client: client, NodeName: self.Name, Address: address, Port: int32(s.HTTPSPort)}.Run(ctx)
	own := token.Token{CAHash: token.HashCA(authorities.Server.CertPEM), User: "server", Secret: tokens.Server}
	return door, own.String(), nil
}

func waitReady(ctx context.Context, client kubernetes.Interface) error {
	for {
		if err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readyInterval):
		}
	}
}

func printNewSecret() error {
	secret, err := token.NewSecret()
	if err != nil {
		return err
	}
	fmt.Println(secret)
	return nil
}
