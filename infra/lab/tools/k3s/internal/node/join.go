package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"gorkheavy.dev/lab/k3s/internal/gateway"
	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/pki"
	"gorkheavy.dev/lab/k3s/internal/token"
)

const (
	retryInterval  = time.Second
	requestTimeout = 15 * time.Second
	// reportEvery is how often an unreachable server is named in the log.
	reportEvery = 15 * time.Second
	largestBody = 1 << 20
)

// refusal is an answer that trying again cannot change.
type refusal struct{ text string }

func (r refusal) Error() string { return r.text }

// supervisor is the server that a node joins.
type supervisor struct {
	url    string
	token  token.Token
	client *http.Client
	self   Identity
}

// Join fetches the cluster's configuration and this node's certificates. It waits for a server that is not there yet,
// and gives up at once when the server refuses the token, or the node's name.
func Join(ctx context.Context, dir layout.Layout, url, joinToken string, self Identity) (gateway.ClusterConfig, error) {
	parsed, err := token.Parse(joinToken, "node")
	if err != nil {
		return gateway.ClusterConfig{}, err
	}
	if parsed.CAHash == "" {
		log.Printf("the token names no CA: the certificate of %s is trusted unseen", url)
	}
	server := &supervisor{url: strings.TrimSuffix(url, "/"), token: parsed, self: self}
	reported := time.Time{}
	for {
		config, err := server.join(ctx, dir)
		var refused refusal
		if err == nil || errors.As(err, &refused) {
			return config, err
		}
		if time.Since(reported) > reportEvery {
			log.Printf("waiting for the server %s: %v", url, err)
			reported = time.Now()
		}
		select {
		case <-ctx.Done():
			return gateway.ClusterConfig{}, ctx.Err()
		case <-time.After(retryInterval):
		}
	}
}

func (s *supervisor) join(ctx context.Context, dir layout.Layout) (gateway.ClusterConfig, error) {
	var config gateway.ClusterConfig
	// The first answer cannot be verified by its connection; the token's hash verifies its content.
	s.client = newClient(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	bundle, err := s.call(ctx, http.MethodGet, "/cacerts", nil, false)
	if err != nil {
		return config, err
	}
	if err := s.token.VerifyCA(bundle); err != nil {
		return config, refusal{err.Error()}
	}
	pool, err := pki.Pool(bundle)
	if err != nil {
		return config, err
	}
	s.client = newClient(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	raw, err := s.call(ctx, http.MethodGet, "/v1-k3s/config", nil, true)
	if err != nil {
		return config, err
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return config, err
	}
	clientCA, err := s.call(ctx, http.MethodGet, "/v1-k3s/client-ca.crt", nil, true)
	if err != nil {
		return config, err
	}
	if err := layout.WriteFile(dir.Agent("client-ca.crt"), clientCA, 0o644); err != nil {
		return config, err
	}
	if err := layout.WriteFile(dir.Agent("server-ca.crt"), bundle, 0o644); err != nil {
		return config, err
	}
	for _, name := range []string{"client-kubelet", "serving-kubelet", "client-kube-proxy", "client-k3s-controller"} {
		if err := s.certify(ctx, dir, name); err != nil {
			return config, fmt.Errorf("certificate %s: %w", name, err)
		}
	}
	return config, nil
}

func (s *supervisor) certify(ctx context.Context, dir layout.Layout, name string) error {
	request, err := pki.NewRequest(dir.Agent(name + ".key"))
	if err != nil {
		return err
	}
	certificate, err := s.call(ctx, http.MethodPost, "/v1-k3s/"+name+".crt", request, true)
	if err != nil {
		return err
	}
	return layout.WriteFile(dir.Agent(name+".crt"), certificate, 0o644)
}

func (s *supervisor) call(ctx context.Context, method, path string, body []byte, withToken bool) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if withToken {
		request.SetBasicAuth(s.token.User, s.token.Secret)
		request.Header.Set(gateway.HeaderNodeName, s.self.Name)
		request.Header.Set(gateway.HeaderNodePassword, s.self.Password)
		request.Header.Set(gateway.HeaderNodeIP, strings.Join(s.self.Addresses, ","))
	}
	response, err := s.client.Do(request)
	if err != nil {
		var unknown *tls.CertificateVerificationError
		if errors.As(err, &unknown) && !errors.As(unknown.Err, new(x509.HostnameError)) {
			return nil, refusal{"the server's certificate is not signed by the CA it gives out: " + unknown.Err.Error()}
		}
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, largestBody))
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s: %s: %s", s.url+path, response.Status, strings.TrimSpace(string(answer)))
	switch response.StatusCode {
	case http.StatusOK:
		return answer, nil
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return nil, refusal{text}
	default:
		return nil, errors.New(text)
	}
}

func newClient(config *tls.Config) *http.Client {
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: config}}
}

// writeKubeconfigs writes those of the node's parts; api is where they reach the API server.
func writeKubeconfigs(dir layout.Layout, api string) error {
	for name, certificate := range map[string]string{"kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy", "k3scontroller": "client-k3s-controller"} {
		content := layout.FileKubeconfig(api, dir.Agent("server-ca.crt"), dir.Agent(certificate+".crt"), dir.Agent(certificate+".key"))
		if err := layout.WriteFile(dir.Agent(name+".kubeconfig"), content, os.FileMode(0o600)); err != nil {
			return err
		}
	}
	return nil
}
