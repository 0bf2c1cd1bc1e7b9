package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"gorkheavy.dev/lab/k3s/internal/controlplane"
	"gorkheavy.dev/lab/k3s/internal/pki"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

const (
	headerTimeout = 30 * time.Second
	stopTimeout   = 3 * time.Second
	// streams one node may have open at once on a connection; a kubelet watches each Secret and ConfigMap of its pods.
	streamsPerConnection = 1000
)

// Gateway is the listening door.
type Gateway struct{ server *http.Server }

// Start listens and serves until Stop.
func Start(s settings.Settings, authorities controlplane.Authorities, tokens controlplane.Tokens, passwords NodePasswords) (*Gateway, error) {
	dir := s.Layout()
	serving, err := tls.LoadX509KeyPair(dir.TLS("serving-kube-apiserver.crt"), dir.TLS("serving-kube-apiserver.key"))
	if err != nil {
		return nil, err
	}
	proof, err := tls.LoadX509KeyPair(dir.TLS("client-auth-proxy.crt"), dir.TLS("client-auth-proxy.key"))
	if err != nil {
		return nil, err
	}
	serverPool, err := pki.Pool(authorities.Server.CertPEM)
	if err != nil {
		return nil, err
	}
	clientPool, err := pki.Pool(authorities.Client.CertPEM)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(controlplane.APIServerURL)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	joinAPI{
		config: ClusterConfig{ClusterCIDR: s.ClusterCIDR, ServiceCIDR: s.ServiceCIDR, ClusterDNS: s.ClusterDNS,
			ClusterDomain: s.ClusterDomain, FlannelBackend: s.FlannelBackend},
		authorities: authorities, tokens: tokens, passwords: passwords,
	}.routes(mux)
	api := newAPIProxy(target, serverPool, clientPool, proof)
	// Not through the mux: it would redirect and clean paths that Kubernetes takes as they are.
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if _, pattern := mux.Handler(request); pattern != "" {
			mux.ServeHTTP(w, request)
			return
		}
		api.ServeHTTP(w, request)
	})
	listener, err := net.Listen("tcp", net.JoinHostPort(s.BindAddress, strconv.Itoa(s.HTTPSPort)))
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // handshakes that fail are the callers' business
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{serving}, ClientAuth: tls.RequestClientCert, ClientCAs: clientPool, MinVersion: tls.VersionTLS12},
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streamsPerConnection},
	}
	go func() {
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			stdlog.Printf("gateway ended: %v", err)
		}
	}()
	return &Gateway{server: server}, nil
}

// Stop closes the door; open watches are cut after a moment.
func (g *Gateway) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if g.server.Shutdown(ctx) != nil {
		g.server.Close()
	}
}
