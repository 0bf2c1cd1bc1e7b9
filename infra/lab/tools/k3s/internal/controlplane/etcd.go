package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
)

const (
	etcdPeerURL = "https://127.0.0.1:2380"
	etcdName    = "k3s"
	// slowRequest is from when on a request is worth a line in the log; a lab's disk is shared.
	slowRequest = 2 * time.Second
	// unsafeNoSync is the variable by which a test may trade crash safety for speed.
	unsafeNoSync = "K3S_LAB_ETCD_UNSAFE_NO_FSYNC"
)

// RunEtcd is the etcd process. It returns when ctx ends or etcd fails.
func RunEtcd(ctx context.Context, arguments []string) error {
	set := pflag.NewFlagSet("etcd", pflag.ContinueOnError)
	dataDir := set.String("data-dir", "", "folder of the database")
	tlsDir := set.String("tls-dir", "", "folder of the certificates")
	quota := set.Int64("quota-backend-bytes", 0, "largest size of the database, bytes; 0 for etcd's own default")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	if err := os.MkdirAll(*dataDir, 0o700); err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Name = etcdName
	config.Dir = *dataDir
	config.LogLevel = "warn"
	config.WarningUnaryRequestDuration = slowRequest
	config.QuotaBackendBytes = *quota
	config.UnsafeNoFsync = os.Getenv(unsafeNoSync) == "true"
	config.AutoCompactionMode, config.AutoCompactionRetention = "periodic", "1h"
	client, peer := parse(etcdURL), parse(etcdPeerURL)
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = fmt.Sprintf("%s=%s", etcdName, etcdPeerURL)
	in := func(name string) string { return filepath.Join(*tlsDir, name) }
	config.ClientTLSInfo.CertFile, config.ClientTLSInfo.KeyFile = in("server-client.crt"), in("server-client.key")
	config.ClientTLSInfo.TrustedCAFile, config.ClientTLSInfo.ClientCertAuth = in("server-ca.crt"), true
	config.PeerTLSInfo.CertFile, config.PeerTLSInfo.KeyFile = in("peer-server-client.crt"), in("peer-server-client.key")
	config.PeerTLSInfo.TrustedCAFile, config.PeerTLSInfo.ClientCertAuth = in("peer-ca.crt"), true

	server, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer server.Close()
	select {
	case <-ctx.Done():
		return nil
	case <-server.Server.StopNotify():
		return errors.New("etcd stopped by itself")
	case err := <-server.Err():
		return err
	}
}

func parse(text string) url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		panic(err) // the texts are constants of this file
	}
	return *parsed
}
