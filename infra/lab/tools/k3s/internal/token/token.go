// Package token reads and writes the tokens by which nodes join, in K3s' form: K10<sha256 of the CA bundle>::<user>:<secret>.
package token

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const prefix = "K10"

// Token is a parsed join token. CAHash is empty for a bare secret, which then vouches for no CA.
type Token struct {
	CAHash string
	User   string
	Secret string
}

// String gives the full form when the CA is known, else the bare secret.
func (t Token) String() string {
	if t.CAHash == "" {
		return t.Secret
	}
	return prefix + t.CAHash + "::" + t.User + ":" + t.Secret
}

// Parse accepts the full form, `user:secret`, or a bare secret (whose user is then defaultUser).
// Its errors never contain the token.
func Parse(text, defaultUser string) (Token, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Token{}, errors.New("token is empty")
	}
	if !strings.HasPrefix(text, prefix) {
		return Token{User: defaultUser, Secret: text}, nil
	}
	hash, credentials, found := strings.Cut(strings.TrimPrefix(text, prefix), "::")
	if !found {
		return Token{}, errors.New("token starts with K10 but has no `::` between the CA hash and the credentials")
	}
	if raw, err := hex.DecodeString(hash); err != nil || len(raw) != sha256.Size {
		return Token{}, fmt.Errorf("token starts with K10, but its CA hash is not %d hexadecimal digits", 2*sha256.Size)
	}
	user, secret, found := strings.Cut(credentials, ":")
	if !found || user == "" || secret == "" {
		return Token{}, errors.New("token has no `user:secret` after `::`")
	}
	return Token{CAHash: hash, User: user, Secret: secret}, nil
}

// HashCA is the hash of a CA bundle's PEM bytes, as the token carries it.
func HashCA(bundle []byte) string {
	sum := sha256.Sum256(bundle)
	return hex.EncodeToString(sum[:])
}

// VerifyCA checks that bundle is the one the token vouches for. A bare secret vouches for any.
func (t Token) VerifyCA(bundle []byte) error {
	if t.CAHash == "" {
		return nil
	}
	if got := HashCA(bundle); got != t.CAHash {
		return fmt.Errorf("the server's CA has hash %s, but the token was made for %s: wrong server, or a token of an earlier cluster", got, t.CAHash)
	}
	return nil
}

// NewSecret makes 128 random bits, in hexadecimal.
func NewSecret() (string, error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}
