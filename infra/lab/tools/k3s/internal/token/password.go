package token

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"
)

// The cost of one hash, as K3s sets it: 2^15 blocks of 8, one lane.
const (
	scryptLogN = 15
	scryptR    = 8
	scryptP    = 1
	hashBytes  = 64
	saltBytes  = 8
)

// HashPassword gives a salted scrypt hash `$1:<salt>:15:8:1:<base64>`.
func HashPassword(password string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	key, err := scrypt.Key([]byte(password), salt, 1<<scryptLogN, scryptR, scryptP, hashBytes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("$1:%s:%d:%d:%d:%s", hex.EncodeToString(salt), scryptLogN, scryptR, scryptP, base64.RawStdEncoding.EncodeToString(key)), nil
}

// CheckPassword reports whether password made the hash. A hash of another form matches nothing.
func CheckPassword(hash, password string) bool {
	parts := strings.Split(hash, ":")
	if len(parts) != 6 || parts[0] != "$1" || strings.Join(parts[2:5], ":") != fmt.Sprintf("%d:%d:%d", scryptLogN, scryptR, scryptP) {
		return false
	}
	salt, err := hex.DecodeString(parts[1])
	if err != nil {
		return false
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return false
	}
	got, err := scrypt.Key([]byte(password), salt, 1<<scryptLogN, scryptR, scryptP, hashBytes)
	return err == nil && subtle.ConstantTimeCompare(got, want) == 1
}
