package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"

	"gorkheavy.dev/lab/k3s/internal/controlplane"
	"gorkheavy.dev/lab/k3s/internal/pki"
)

// memory is a NodePasswords without a cluster.
type memory map[string]string

func (m memory) Ensure(_ context.Context, name, password string) error {
	if known, ok := m[name]; ok && known != password {
		return ErrNameTaken
	}
	m[name] = password
	return nil
}

func newAuthority(t *testing.T, dir, name string) *pki.Authority {
	t.Helper()
	made, err := pki.EnsureAuthority(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"), name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func newJoin(t *testing.T) (*http.ServeMux, controlplane.Authorities) {
	t.Helper()
	dir := t.TempDir()
	authorities := controlplane.Authorities{Server: newAuthority(t, dir, "server"), Client: newAuthority(t, dir, "client")}
	mux := http.NewServeMux()
	joinAPI{config: ClusterConfig{ClusterDNS: "10.43.0.10"}, authorities: authorities,
		tokens: controlplane.Tokens{Server: "server-secret", Agent: "agent-secret"}, passwords: memory{}}.routes(mux)
	return mux, authorities
}

type ask struct{ path, user, secret, node, password string }

func (a ask) of(t *testing.T, mux *http.ServeMux) *httptest.ResponseRecorder {
	t.Helper()
	method, body := http.MethodGet, []byte(nil)
	if a.node != "" {
		request, err := pki.NewRequest(filepath.Join(t.TempDir(), "node.key"))
		if err != nil {
			t.Fatal(err)
		}
		method, body = http.MethodPost, request
	}
	request := httptest.NewRequest(method, a.path, bytes.NewReader(body))
	if a.user != "" {
		request.SetBasicAuth(a.user, a.secret)
	}
	request.Header.Set(HeaderNodeName, a.node)
	request.Header.Set(HeaderNodePassword, a.password)
	request.Header.Set(HeaderNodeIP, "192.168.1.202")
	recorder := httptest.NewRecorder()
	mux.ServeHTTP(recorder, request)
	return recorder
}

func TestJoinNeedsTheToken(t *testing.T) {
	mux, _ := newJoin(t)
	for _, c := range []struct {
		ask  ask
		code int
	}{
		{ask{path: "/ping"}, 200},
		{ask{path: "/cacerts"}, 200},
		{ask{path: "/v1-k3s/config"}, 401},
		{ask{path: "/v1-k3s/config", user: "server", secret: "server-secret"}, 200},
		{ask{path: "/v1-k3s/config", user: "node", secret: "agent-secret"}, 200},
		{ask{path: "/v1-k3s/config", user: "node", secret: "server-secret"}, 401},
		{ask{path: "/v1-k3s/config", user: "other", secret: ""}, 401},
		{ask{path: "/v1-k3s/unknown", user: "node", secret: "agent-secret"}, 404},
		{ask{path: "/v1-k3s/client-kubelet.crt", node: "a", password: "p"}, 401},
		{ask{path: "/v1-k3s/client-kubelet.crt", user: "node", secret: "agent-secret", node: "A_b", password: "p"}, 400},
		{ask{path: "/v1-k3s/client-kubelet.crt", user: "node", secret: "agent-secret", node: "a"}, 400},
	} {
		if got := c.ask.of(t, mux); got.Code != c.code {
			t.Errorf("%+v: %d %s, want %d", c.ask, got.Code, got.Body, c.code)
		}
	}
}

func TestNodeNameBelongsToItsFirstMachine(t *testing.T) {
	mux, authorities := newJoin(t)
	mine := ask{path: "/v1-k3s/client-kubelet.crt", user: "node", secret: "agent-secret", node: "worker", password: "mine"}
	answer := mine.of(t, mux)
	certificate, err := pki.ParseCert(answer.Body.Bytes())
	if err != nil {
		t.Fatalf("%d: %v", answer.Code, err)
	}
	if certificate.Subject.CommonName != "system:node:worker" || certificate.Subject.Organization[0] != "system:nodes" {
		t.Errorf("subject %s", certificate.Subject)
	}
	if err := certificate.CheckSignatureFrom(authorities.Client.Certificate); err != nil {
		t.Error(err)
	}
	thief := mine
	thief.password = "theirs"
	if got := thief.of(t, mux); got.Code != http.StatusForbidden {
		t.Errorf("another machine took the name: %d", got.Code)
	}
	serving := mine
	serving.path = "/v1-k3s/serving-kubelet.crt"
	certificate, err = pki.ParseCert(serving.of(t, mux).Body.Bytes())
	if err != nil || certificate.VerifyHostname("192.168.1.202") != nil || certificate.VerifyHostname("192.168.1.203") == nil {
		t.Errorf("serving certificate: %v, %v", certificate, err)
	}
}

// proxied sets an API proxy between a client and a server that tells what it was told.
func proxied(t *testing.T) (door *httptest.Server, client *pki.Authority, dir string) {
	t.Helper()
	dir = t.TempDir()
	client = newAuthority(t, dir, "client")
	front := newAuthority(t, dir, "front")
	if err := front.EnsureLeaf(filepath.Join(dir, "proof.crt"), filepath.Join(dir, "proof.key"), pki.Leaf{CommonName: "system:auth-proxy", Client: true}); err != nil {
		t.Fatal(err)
	}
	proof, err := tls.LoadX509KeyPair(filepath.Join(dir, "proof.crt"), filepath.Join(dir, "proof.key"))
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		trusted := len(request.TLS.PeerCertificates) > 0
		io.WriteString(w, request.Header.Get("X-Remote-User")+"|"+request.Header.Get("X-Remote-Group")+"|"+request.Header.Get("X-Remote-Extra-Scopes")+"|"+request.Header.Get("Authorization"))
		if trusted {
			io.WriteString(w, "|trusted")
		}
	}))
	api.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	api.EnableHTTP2 = true
	api.StartTLS()
	t.Cleanup(api.Close)
	target, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	server, err := pki.Pool(encode(api))
	if err != nil {
		t.Fatal(err)
	}
	clients, err := pki.Pool(client.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	door = httptest.NewUnstartedServer(newAPIProxy(target, server, clients, proof))
	door.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	door.StartTLS()
	t.Cleanup(door.Close)
	return door, client, dir
}

func TestProxyTellsOnlyWhatACertificateProves(t *testing.T) {
	door, client, dir := proxied(t)
	stranger := newAuthority(t, dir, "stranger")
	for name, by := range map[string]*pki.Authority{"mine": client, "strange": stranger} {
		if err := by.EnsureLeaf(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"), pki.Leaf{CommonName: "alice", Organizations: []string{"devs"}, Client: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		certificate, want string
		code              int
	}{
		{"mine", "alice|devs|||trusted", 200},
		{"", "|||Bearer abc", 200},
		{"strange", "the client certificate is not of this cluster\n", 401},
	} {
		config := door.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		if c.certificate != "" {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, c.certificate+".crt"), filepath.Join(dir, c.certificate+".key"))
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		request, err := http.NewRequest(http.MethodGet, door.URL+"/api/v1/secrets", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"X-Remote-User": "system:admin", "X-Remote-Group": "system:masters", "x-remote-extra-scopes": "all", "Authorization": "Bearer abc"} {
			request.Header.Set(name, value)
		}
		response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != c.code || string(body) != c.want {
			t.Errorf("certificate %q: %d %q, %v; want %d %q", c.certificate, response.StatusCode, body, err, c.code, c.want)
		}
	}
}

func encode(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
